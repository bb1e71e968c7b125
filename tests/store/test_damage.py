"""A damaged index is one line in every reader, whatever byte; so is what is taken away while a run goes on."""

from __future__ import annotations

import pickle
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

import factory
from factory.engine import inline
from factory.engine.run import run_job
from factory.errors import UserError
from factory.export.run import export
from factory.plan import plan
from factory.present import card, report, stats
from factory.store.dataset import open_data
from factory.store.index import SCHEMA, Damaged, index_bytes, index_table, tar_digest
from factory.store.ledger import open_ledger
from factory.store.reopen import retry
from factory.store.status import status
from factory.store.verify import repair, verify
from tests.support.files import tree
from tests.support.seeded_stages import STAGES, Depth

READERS = {
    "retry": retry,
    "inspect": lambda out: report.write_report(open_data(out), 2),
    "stats": lambda out: stats.collect(open_data(out)),
    "card": lambda out: card.write_card(open_data(out)),
    "export": lambda out: export(out, out + ".spin", "spin"),
    "status": status,
    "load": lambda out: next(iter(factory.load(out, crop=32, train=False))),
    "sample": lambda out: open_data(out).sample_files(
        {"shard": 1, "unit": 0, "key": "small-00000008", "offset": 1, "size": 9}
    ),
}
LENIENT = {"status", "card"}  # status counts what is sound; a card is left alone where nothing has changed


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_byte_in_an_index_is_one_line_in_every_reader(job, name, tmp_path):
    run_job(job, STAGES)
    path = Path(job.output, "small-000001.parquet")
    whole = path.read_bytes()
    randomly = random.Random(7)
    for _ in range(30):
        data = bytearray(whole)
        data[randomly.randrange(len(data))] ^= 1 << randomly.randrange(8)
        path.write_bytes(data)
        shutil.rmtree(job.output + ".spin", ignore_errors=True)
        if name in LENIENT:
            with suppress(Damaged):
                READERS[name](job.output)
            continue
        with pytest.raises(UserError, match="damaged|unreadable"):
            READERS[name](job.output)
            if name == "retry":  # it reads the rows of those shards alone that tell of failed records
                raise Damaged("x", "not looked at")


def test_the_line_says_where_and_how_to_mend_it(job):
    run_job(job, STAGES)
    path = Path(job.output, "small-000001.parquet")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match=r"out/small-000001.parquet: damaged \(.*mend it: factory verify OUT --repair"):
        _ = open_data(job.output).rows
    assert str(pickle.loads(pickle.dumps(Damaged("a", "b")))) == str(Damaged("a", "b"))  # workers send it
    repair(job.output)
    run_job(job, STAGES)
    assert verify(job.output).ok and open_data(job.output).rows.num_rows == 22


@pytest.mark.parametrize("texts", [[b"\xff\xfe"], [b"ok", b"\xc3"]])
def test_an_index_whose_texts_are_not_utf8_is_damaged(texts):
    """Even where its hash fits: somebody else may have written it."""
    rows = pa.Table.from_pylist([{"key": "k", "state": "ok", "reason": ""} for _ in texts], SCHEMA)
    broken = pa.Array.from_buffers(pa.string(), len(texts), pa.array(texts, pa.binary()).buffers())
    data = index_bytes(rows.set_column(SCHEMA.get_field_index("prompt"), "prompt", broken), tar_digest(b""))
    with pytest.raises(Damaged, match="UTF"):
        index_table(data)


class Foreign(Depth):
    """Fails with the bytes of a file name that is no UTF-8, as a plug-in may."""

    def process(self, records):
        raise OSError("no such file: \udcff\udcfe.png")


def test_an_error_that_is_not_utf8_is_a_failed_record(job):
    lenient = job.model_copy(update={"max_failed_fraction": 1})
    summary = run_job(lenient, [Foreign if stage is Depth else stage for stage in STAGES])
    assert summary.states == {"failed": 18, "rejected": 4}
    errors = {row["error"] for row in open_data(job.output).rows.to_pylist() if row["error"]}
    assert errors == {r"OSError: no such file: \udcff\udcfe.png"}
    assert verify(job.output).ok and retry(job.output).records == 18


def test_a_file_name_that_is_not_utf8_is_a_stray_like_any(job, factory):
    run_job(job, STAGES)
    Path(job.output, "a\udcff.txt").write_text("x")
    done = factory("verify", job.output)
    assert done.returncode == 1 and r"a\udcff.txt: does not belong here" in done.stdout and not done.stderr


@pytest.mark.parametrize("name", ["000001.tar", "000001.parquet"])
def test_a_part_that_is_taken_away_in_mid_run_ends_it_in_one_line(job, tmp_path, name):
    undisturbed = job.model_copy(update={"output": str(tmp_path / "undisturbed")})
    run_job(undisturbed, STAGES)
    with open_ledger(job, plan(job)) as ledger, pytest.raises(UserError, match="run again"):
        for shard, index, part in inline.compute(plan(job), STAGES, [(0, 0), (0, 1)]):
            ledger.commit(shard, index, part)
        Path(job.output, "parts/000000", name).unlink()
        ledger.seal(0)
    run_job(job, STAGES)
    assert tree(job.output) == tree(undisturbed.output)


def parts_of(job, ids) -> None:
    with open_ledger(job, plan(job)) as ledger:
        for shard, index, part in inline.compute(plan(job), STAGES, ids):
            ledger.commit(shard, index, part)


def test_parts_of_another_job_are_made_anew_and_told(job, tmp_path):
    """They are sound in themselves, with the same keys and seeds: only the strength differs."""
    stages = job.model_dump()["stages"]
    stages["refine"]["strength"] = 0.5
    other = type(job).model_validate({**job.model_dump(), "stages": stages, "output": str(tmp_path / "other")})
    parts_of(other, [(0, 0), (0, 1), (1, 0)])
    parts_of(job, [(1, 0)])
    shutil.copytree(Path(other.output, "parts"), Path(job.output, "parts"), dirs_exist_ok=True)
    assert "parts/000000/000001.parquet: belongs to another job" in verify(job.output).problems
    told = []
    summary = run_job(job, STAGES, lambda event: told.append(event.message))
    assert summary.units_found == 0
    assert any("3 units belong to another job, such as parts/000000/000000.parquet" in words for words in told)
    assert verify(job.output).ok


@pytest.mark.parametrize(("seed", "kept"), [(0, 2), (9, 0)])
def test_parts_of_an_earlier_version_are_kept_if_their_keys_and_seeds_fit(job, tmp_path, seed, kept):
    parts_of(job, [(0, 0), (1, 1)])
    if seed:
        other = job.model_copy(update={"seed": seed, "output": str(tmp_path / "other")})
        parts_of(other, [(0, 0), (1, 1)])
        shutil.copytree(Path(other.output, "parts"), Path(job.output, "parts"), dirs_exist_ok=True)
    for path in Path(job.output, "parts").rglob("*.parquet"):
        table, head = index_table(path.read_bytes())
        path.write_bytes(index_bytes(table, {"sha256": head.sha256, "bytes": str(head.bytes)}))
    told = []
    assert run_job(job, STAGES, lambda event: told.append(event.message)).units_found == kept
    assert any(("2 units are an earlier version's" if kept else "belong to another job") in words for words in told)
    assert verify(job.output).ok
