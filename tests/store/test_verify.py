from __future__ import annotations

import shutil

import pytest

from factory.engine import inline
from factory.plan import plan
from factory.store import object_file, sample
from factory.store.ledger import open_ledger
from factory.store.verify import Report, verify
from tests.support.forge import replaced, rewrite
from tests.support.seeded_stages import STAGES

pytestmark = pytest.mark.heavy(10)


def test_a_whole_data_set_is_sound(out):
    report = verify(str(out))
    assert report.ok and report.complete and (report.shards, report.samples) == (3, 17)
    assert report.bytes == sum(path.stat().st_size for path in out.glob("*.tar"))


def test_a_shard_too_large_for_memory_is_looked_at_in_blocks(out, monkeypatch):
    """All that lies in memory otherwise; in blocks of any size the same is found."""
    monkeypatch.setattr(object_file, "IN_MEMORY", 0)
    monkeypatch.setattr(object_file, "BUFFER", 1000)
    assert verify(str(out)) == Report(3, 17, sum(path.stat().st_size for path in out.glob("*.tar")), complete=True)
    rewrite(out, lambda rows, members: ([{**row, "offset": row["offset"] + 512} for row in rows], members))
    flip = bytearray((out / "small-000001.tar").read_bytes())
    flip[700] ^= 1
    (out / "small-000001.tar").write_bytes(flip)
    in_blocks = verify(str(out))
    monkeypatch.undo()
    assert in_blocks == verify(str(out)) and list(in_blocks.broken) == [0, 1]


def test_an_unfinished_one_is_sound_but_not_complete(job):
    with open_ledger(job, plan(job)) as ledger:
        for shard, index, part in inline.compute(plan(job), STAGES, [(0, 0), (0, 1), (1, 1)]):
            ledger.commit(shard, index, part)
            ledger.seal(shard)
    report = verify(job.output)
    assert report.ok and not report.complete and (report.shards, report.samples) == (1, 9)


@pytest.mark.parametrize("name", ["small-000001.tar", "small-000001.parquet"])
def test_every_flipped_byte_is_noticed(out, name):
    path = out / name
    data = path.read_bytes()
    for place in (0, *range(600, len(data), len(data) // 40), len(data) - 1):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        assert any(name in problem for problem in verify(str(out)).problems)
    path.write_bytes(data)
    assert verify(str(out)).ok


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda out: (out / "small-000001.tar").unlink(), "small-000001.tar: missing"),
        (lambda out: (out / "small-000001.parquet").write_bytes(b"PAR1"), "small-000001.parquet: unreadable"),
        (lambda out: shutil.copy(out / "small-000001.tar", out / "small-000009.tar"), "9.tar: does not belong"),
        (lambda out: (out / "notes.txt").write_text("x"), "notes.txt: does not belong"),
        (lambda out: shutil.copy(out / "small-000001.parquet", out / "small-000000.parquet"), "not those of the plan"),
    ],
)
def test_lost_and_stray_files_are_noticed(out, spoil, words):
    spoil(out)
    assert words in "\n".join(verify(str(out)).problems)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows, members: (rows[:-1], members), "keys are not those of the plan"),
        (lambda rows, members: ([rows[1], rows[0], *rows[2:]], members), "keys are not those of the plan"),
        (lambda rows, members: ([{**rows[0], "seed": 1}, *rows[1:]], members), "another unit or seed"),
        (lambda rows, members: ([{**rows[0], "state": "pending"}, *rows[1:]], members), "no final state"),
        (lambda rows, members: (rows, members[1:]), "members are not those"),
        (lambda rows, members: ([{**rows[0], "offset": 512}, *rows[1:]], members), "not at the offset"),
        (lambda rows, members: (rows, replaced(members, "jpg", b"no image")), "00000000.jpg: unreadable"),
        (lambda rows, members: (rows, replaced(members, "json", b"{}")), "00000000.json: unreadable"),
        (
            lambda rows, members: (rows, replaced(members, "smpl.npz", sample.npz_bytes({}))),
            "00000000.smpl.npz: unreadable (lacks",
        ),
        (lambda rows, members: (rows, replaced(members, "depth.npy", b"")), "00000000.depth.npy: unreadable"),
    ],
)
def test_what_contradicts_plan_index_or_format_is_noticed(out, change, words):
    """Even where the hash was made to fit."""
    rewrite(out, change)
    assert words in "\n".join(verify(str(out)).problems)
