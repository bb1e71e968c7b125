"""What storage does to people: full, read-only, damaged; and what is taken back on purpose."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from factory.engine import inline
from factory.engine.run import run_job
from factory.errors import UserError
from factory.job import JobSpec
from factory.plan import plan
from factory.store import contents, lock
from factory.store.check_archive import Faults
from factory.store.fs import LocalFiles
from factory.store.layout import part_archive
from factory.store.ledger import open_ledger
from factory.store.reopen import retry
from factory.store.status import status
from factory.store.verify import repair, verify
from tests.support.command import ROOT
from tests.support.files import flip, folders, tree
from tests.support.seeded_stages import STAGES, Depth, Mended


@pytest.fixture
def whole(job) -> dict[str, bytes]:
    """The data set that an undisturbed run gives, made again where it lay."""
    run_job(job, STAGES)
    return tree(job.output)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 400 kB, less than the data set."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_line_and_loses_nothing(job, whole, small_disk):
    full = job.model_copy(update={"output": str(small_disk / "out")})
    with pytest.raises(UserError, match="GB free and the plan takes about"):
        run_job(full, STAGES)  # said before anything is made
    with open_ledger(full, plan(full)) as ledger, pytest.raises(UserError, match="no space is left"):  # it filled later
        for shard, index, part in inline.compute(plan(full), STAGES, plan(full).ids()):
            ledger.commit(shard, index, part)
            ledger.seal(shard)
    assert not list(small_disk.rglob("*.tmp"))
    assert status(full.output).units_done and verify(full.output).ok and status(full.output).live is None
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    run_job(full, STAGES)
    assert tree(full.output) == whole


def test_a_file_that_may_not_grow_is_one_line(job):
    code = (
        "import sys; from factory.engine.run import run_job; from factory.errors import UserError;"
        "from factory.job import JobSpec; from tests.support.seeded_stages import STAGES\n"
        "try: run_job(JobSpec.model_validate_json(sys.argv[1]), STAGES)\n"
        "except UserError as error: print(error)"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    command = [sys.executable, "-c", code, job.model_dump_json()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=limit)
    assert "lower samples_per_shard" in done.stdout, done.stderr
    assert not list(Path(job.output).rglob("*.tmp"))


@pytest.mark.parametrize(("number", "words"), [(errno.EDQUOT, "quota is used up"), (errno.EROFS, "is read-only")])
def test_a_disk_that_refuses_half_way_is_one_line_and_loses_nothing(job, whole, monkeypatch, number, words):
    """A quota; a disk that its machine makes read-only after an error."""
    other = job.model_copy(update={"output": job.output + "2"})
    left, sync = iter(range(20)), os.fsync

    def refuse(descriptor: int) -> None:
        if next(left, None) is None:
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    with monkeypatch.context() as patch, pytest.raises(UserError, match=words):
        patch.setattr(os, "fsync", refuse)
        run_job(other, STAGES)
    assert status(other.output).units_done and status(other.output).live is None
    assert verify(other.output).ok and not list(Path(other.output).rglob("*.tmp"))
    run_job(other, STAGES)
    assert tree(other.output) == whole


def test_a_read_only_output_is_one_line(job, tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder], capture_output=True).returncode:
        if os.getuid() == 0:
            pytest.skip("this machine lets nobody mount, and root may write everywhere else")
        folder.chmod(0o500)
    try:
        with pytest.raises(UserError, match="read-only|permission denied"):
            run_job(job.model_copy(update={"output": str(folder / "out")}), STAGES)
    finally:
        subprocess.run(["umount", folder], capture_output=True)


@pytest.mark.parametrize(
    ("spoil", "again"),
    [
        (lambda out: flip(out / "small-000001.tar", 600), {1: Faults({0})}),
        (lambda out: flip(out / "small-000001.tar", -600), {1: Faults()}),  # the zeros that end the archive
        (lambda out: flip(out / "small-000001.parquet", 40), {1: Faults(whole_file=True)}),
        (lambda out: flip(out / "small-000001.parquet", -20), {1: Faults(whole_file=True)}),
        (lambda out: os.truncate(out / "small-000001.tar", 1000), {1: Faults({0, 1})}),
        (lambda out: os.truncate(out / "small-000001.parquet", 500), {1: Faults(whole_file=True)}),
        (lambda out: (out / "small-000001.tar").unlink(), {1: Faults(whole_file=True)}),
    ],
)
def test_what_is_broken_is_taken_away_and_made_again(job, whole, spoil, again):
    spoil(Path(job.output))
    report = repair(job.output)
    assert report.broken == again and not report.strays
    after = verify(job.output)
    assert after.ok and not after.complete
    assert run_job(job, STAGES).units_done == (2 if again[1].whole_file else len(again[1].units))
    assert tree(job.output) == whole and not folders(job.output)


@pytest.mark.parametrize("name", ["small-000001.tar", "small-000001.parquet"])
def test_what_is_cut_short_is_made_again_without_being_asked(job, whole, name):
    os.truncate(Path(job.output, name), 500)
    assert not status(job.output).complete
    run_job(job, STAGES)
    assert tree(job.output) == whole


def test_repair_leaves_what_is_not_ours(job, whole):
    Path(job.output, "notes.txt").write_text("x")
    assert repair(job.output).strays == ["notes.txt"]
    assert Path(job.output, "notes.txt").read_text() == "x" and not repair(job.output).broken


def test_a_broken_part_is_taken_away(job):
    with open_ledger(job, plan(job)) as ledger:
        for shard, index, part in inline.compute(plan(job), STAGES, [(0, 0), (1, 1)]):
            ledger.commit(shard, index, part)
    flip(Path(job.output, "parts/000001/000001.tar"), 700)
    assert repair(job.output).broken_parts == [part_archive(1, 1)]
    assert verify(job.output).ok and status(job.output).units_done == 1


def test_failed_records_are_made_again_and_rejected_ones_stay(job, tmp_path):
    mended = [Mended if stage is Depth else stage for stage in STAGES]
    undisturbed = job.model_copy(update={"output": str(tmp_path / "undisturbed")})
    run_job(undisturbed, mended)
    run_job(job, STAGES)
    assert retry(job.output, "no such words").records == 0 and status(job.output).complete
    done = retry(job.output, "ARITHMETIC")
    assert (done.failed, done.records, done.units) == (1, 1, 1)
    assert verify(job.output).ok and status(job.output).states.get("failed", 0) == 0
    summary = run_job(job, mended)
    assert summary.units_done == 1 and summary.reasons == {"easy": 4}
    assert tree(job.output) == tree(undisturbed.output)
    assert retry(job.output).failed == 0


def test_failed_records_of_an_open_shard_are_made_again(job, whole):
    other = job.model_copy(update={"output": job.output + "2"})
    with open_ledger(other, plan(other)) as ledger:
        for shard, index, part in inline.compute(plan(other), STAGES, [(0, 1), (1, 0)]):
            ledger.commit(shard, index, part)
    assert retry(other.output).units == 1 and status(other.output).units_done == 1
    run_job(other, STAGES)
    assert tree(other.output) == whole


def test_a_retry_killed_on_the_way_loses_nothing(job, whole, monkeypatch):
    """Before its last step the shard is whole as it was."""
    monkeypatch.setattr(LocalFiles, "delete", lambda self, names: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        retry(job.output)
    monkeypatch.undo()
    assert verify(job.output).ok and status(job.output).complete
    assert run_job(job, STAGES).units_done == 0
    assert tree(job.output) == whole and not folders(job.output)


def test_a_running_data_set_is_not_taken_apart(job, whole):
    with open_ledger(job, plan(job)):
        for take in (retry, repair):
            with pytest.raises(UserError, match="in use by process"):
                take(job.output)
    assert lock.holder(LocalFiles(job.output)) is None


@pytest.mark.parametrize("field", ["model", "adapter"])
def test_other_weights_under_the_same_name_are_another_job(job, tmp_path, field):
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_bytes(b"one")
    stages = job.model_dump()["stages"]
    stages["refine"][field] = str(model)
    own = JobSpec.model_validate({**job.model_dump(), "stages": stages})
    run_job(own, STAGES)
    assert run_job(own, STAGES).units_done == 0
    (model / "weights").write_bytes(b"two")
    with pytest.raises(UserError, match=f"stages.refine.{field}: what it names has changed"):
        run_job(own, STAGES)
    (model / "weights").unlink()
    model.rmdir()
    assert run_job(own, STAGES).units_done == 0  # gone to another machine: nothing can be said


def test_large_files_are_told_apart_by_pieces(tmp_path):
    path = tmp_path / "large"
    size = contents.READ_WHOLE * 4
    with open(path, "wb") as file:
        file.truncate(size)
    first = contents.digest(path)
    with open(path, "r+b") as file:
        file.seek(size - 1)
        file.write(b"x")
    assert contents.digest(path) != first
    os.truncate(path, size - 1)
    assert contents.digest(path) != first
