"""Nothing is written or removed through a link inside a data set, and nothing that is somebody else's is touched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from factory.engine.run import run_job
from factory.errors import UserError
from factory.present import card, report
from factory.store.dataset import open_data
from factory.store.fs import open_files
from factory.store.reopen import retry
from factory.store.status import status
from factory.store.verify import repair, verify
from tests.support import small
from tests.support.files import tree
from tests.support.seeded_stages import STAGES


@pytest.fixture
def victim(tmp_path) -> Path:
    """Somebody's folder, where nothing may change."""
    folder = tmp_path / "victim"
    (folder / "empty").mkdir(parents=True)
    for name in ("a.txt", "000000.tar", "000000.parquet", ".x.tmp", ".lock"):
        (folder / name).write_text("mine")
    return folder


def look(folder: Path) -> dict[str, object]:
    """Of every file and folder below: its bytes or what it links to, and its time."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path)] = content, path.lstat().st_mtime_ns
    return found


LOCKS, PARTS = ("run", "repair", "retry"), ("run", "retry")
WRITERS = {
    "inspect": lambda job: report.write_report(open_data(job.output)),
    "card": lambda job: card.write_card(open_data(job.output)),
    "run": lambda job: run_job(job, STAGES),
    "repair": lambda job: repair(job.output),
    "retry": lambda job: retry(job.output),
}


@pytest.mark.parametrize(
    ("link", "target", "refused"),
    [
        (".lock", "a.txt", LOCKS),
        ("parts", ".", PARTS),
        ("parts/000000", ".", PARTS),
        ("report.html", "a.txt", ("inspect",)),
        ("README.md", "absent", ("card",)),
        ("wids.json", "a.txt", ("card",)),
        (".report.html.tmp", "a.txt", ()),
        (".job.json.tmp", "a.txt", ()),
    ],
)
def test_a_link_inside_a_data_set_is_refused_by_what_would_write_through_it(job, victim, link, target, refused):
    """A stranger's data set may hold such links: one line, or no harm."""
    job = job.model_copy(update={"records": 8})
    run_job(job, STAGES)
    whole = tree(job.output)
    if refused == PARTS:  # a run that has more to do
        os.remove(Path(job.output, "small-000000.parquet"))
        os.remove(Path(job.output, "small-000000.tar"))
    path = Path(job.output, link)
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(victim / target, target_is_directory=target == ".")
    before = look(victim)
    for name, write in WRITERS.items():
        if refused == PARTS and name == "retry":
            continue  # there is no shard to open
        if name in refused:
            with pytest.raises(UserError, match=f"{link} is a link") as error:
                write(job)
            assert "\n" not in str(error.value)
        elif name in ("run", "repair", "retry"):
            write(job)
        assert look(victim) == before, name
    path.unlink(missing_ok=True)  # retry and repair take a stale shard list away, be it a link
    run_job(job, STAGES)
    assert {name: data for name, data in tree(job.output).items() if name in whole} == whole
    assert look(victim) == before


def test_retry_of_a_shard_whose_parts_would_land_elsewhere_is_refused(job, victim):
    run_job(job, STAGES)
    Path(job.output, "parts").symlink_to(victim)
    before = look(victim), tree(job.output)
    with pytest.raises(UserError, match="parts is a link"):
        retry(job.output)
    assert (look(victim), tree(job.output)) == before and status(job.output).complete


def test_a_data_set_of_links_to_files_as_caches_keep_it_is_read(job, tmp_path):
    """As huggingface_hub and DVC do. Retry puts files in the place of links, and leaves the cache as it is."""
    run_job(job, STAGES)
    cache, out = tmp_path / "cache", Path(job.output)
    cache.mkdir()
    for path in [*out.glob("small-*"), out / "job.json"]:
        path.rename(cache / path.name)
        path.symlink_to(cache / path.name)
    before = look(cache)
    assert verify(job.output).ok and status(job.output).complete and run_job(job, STAGES).units_done == 0
    assert retry(job.output).records == 1
    run_job(job, STAGES)
    assert verify(job.output).complete and look(cache) == before


def test_the_output_itself_may_be_a_link_to_a_folder(job, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    Path(job.output).symlink_to("elsewhere")
    run_job(job, STAGES)
    assert Path(job.output).is_symlink() and verify(str(tmp_path / "elsewhere")).complete


@pytest.mark.parametrize("inner", ["", "/deep/inside"])
def test_an_output_that_is_a_dangling_link_is_one_line(job, tmp_path, inner):
    Path(job.output).symlink_to("nowhere")
    there = job.model_copy(update={"output": job.output + inner})
    with pytest.raises(UserError, match=r"out is a link that leads to no folder \(nowhere\)"):
        run_job(there, STAGES)
    with pytest.raises(UserError):
        status(there.output)
    assert not (tmp_path / "nowhere").exists()


def test_what_is_no_plain_file_is_not_waited_for(job):
    run_job(job, STAGES)
    os.remove(Path(job.output, "job.json"))
    os.mkfifo(Path(job.output, "job.json"))
    with pytest.raises(UserError, match="job.json is no plain file"):
        status(job.output)


def test_a_lock_file_of_somebody_else_is_left_alone(job):
    Path(job.output).mkdir()
    Path(job.output, ".lock").write_text("pid 7, of another tool\n")
    with pytest.raises(UserError, match="lock is somebody else's file"):
        run_job(job, STAGES)
    assert Path(job.output, ".lock").read_text() == "pid 7, of another tool\n"


def test_names_that_leave_the_data_set_are_refused(tmp_path):
    files = open_files(tmp_path / "out")
    for name in ("../x", "/x", "a/../x", "a//x", "", "."):
        with pytest.raises(UserError, match="is no name of a file below"):
            files.put(name, [b"x"])
    assert not list(tmp_path.rglob("x"))


def test_a_git_checkout_stays_one(job, tmp_path):
    """Its empty folders, its temporary files, and what lies beside the shards."""
    out = Path(job.output)
    out.mkdir()
    if subprocess.run(["git", "init", "-q", out], capture_output=True).returncode:
        pytest.skip("git is not here")
    (out / ".git" / ".a.tmp").write_text("git's")
    (out / ".git" / f".a.{'0' * 16}.tmp").write_text("git's")
    (out / ".git" / "refs" / "parts" / "000000").mkdir(parents=True)
    (out / ".cache" / "huggingface").mkdir(parents=True)
    (out / ".cache" / "huggingface" / "x.lock").write_text("theirs")
    (out / ".gitattributes").write_text("*.tar filter=lfs\n")
    (out / ".notes.tmp").write_text("mine")
    (out / "figures" / "later").mkdir(parents=True)
    (out / "lost+found").mkdir()
    theirs = [look(out)]

    def same() -> bool:
        now = look(out)
        return all(now[path][0] == content for path, (content, _) in theirs[0].items())  # type: ignore[index]

    run_job(job, STAGES)
    assert same() and verify(job.output).ok and verify(job.output).complete
    retry(job.output)
    assert same() and verify(job.output).ok
    (out / f".small-000000.tar.{'0' * 16}.tmp").write_text("of a killed run")
    next(out.glob("parts/0*")).joinpath(f".000000.tar.{'0' * 16}.tmp").write_text("of a killed run")
    (out / "parts" / "000009").mkdir()
    assert repair(job.output).ok and same()
    run_job(job, STAGES)
    assert same() and not list(out.rglob(f".*{'0' * 16}.tmp"))[1:] and not (out / "parts").exists()
    assert subprocess.run(["git", "-C", out, "status"], capture_output=True).returncode == 0


def test_two_reports_at_once_do_not_share_a_temporary_file(job_file):
    from factory import config

    job = config.load_job(job_file, ["image_size=64"])
    small.make(job)
    files = open_files(job.output)

    def chunks():
        yield b"first, "
        files.put("report.html", [b"second"])
        yield b"still whole"

    files.put("report.html", chunks())
    assert files.read("report.html") == b"first, still whole"
