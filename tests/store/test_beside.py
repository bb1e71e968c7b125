"""The files beside the shards, of strangers: what is none is refused before it fills the memory."""

from __future__ import annotations

import pytest

from factory.store import beside, layout
from factory.store.fs import LocalFiles

BOMBS = [b"[" * 100_000, b'{"shardlist": [' + b"[]," * 5_000_000 + b"[]]}", b" " * (1 << 26) + b"[]"]


@pytest.mark.parametrize("data", BOMBS, ids=["deep", "many", "long"])
def test_a_list_of_shards_that_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|more than 4,000,000 values|bytes of JSON"):
        beside.listed_shards(data)


def test_a_card_longer_than_any_was_edited() -> None:
    card = beside.signed("x" * 1000, "0" * 24).encode()
    assert beside.signature(card) == "0" * 24
    assert beside.signature(beside.signed("x" * (1 << 24), "0" * 24).encode()) is None


@pytest.mark.parametrize("data", BOMBS, ids=["deep", "many", "long"])
def test_a_job_that_is_none_identifies_nothing(tmp_path, data: bytes) -> None:
    (tmp_path / "job.json").write_bytes(data)
    assert layout.fingerprint(LocalFiles(tmp_path)) == ""
