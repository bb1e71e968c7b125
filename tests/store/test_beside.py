"""The files beside the shards, of strangers: what is none is refused before it fills the memory."""

from __future__ import annotations

import pytest

from factory.errors import UserError
from factory.store import beside
from factory.store.dataset import open_data

BOMBS = [b"[" * 100_000, b'{"shardlist": [' + b"[]," * 5_000_000 + b"[]]}", b" " * (1 << 26) + b"[]"]


@pytest.mark.parametrize("data", BOMBS, ids=["deep", "many", "long"])
def test_a_list_of_shards_that_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|more than 4,000,000 values|bytes of JSON"):
        beside.decode_shard_list(data)


def test_a_card_longer_than_any_was_edited() -> None:
    card = beside.signed_card("x" * 1000, "0" * 24).encode()
    assert beside.card_state(card) == beside.CardState(edited=False, stamp="0" * 24)
    assert beside.card_state(beside.signed_card("x" * (1 << 24), "0" * 24).encode()).edited


@pytest.mark.parametrize("data", BOMBS, ids=["deep", "many", "long"])
def test_a_job_that_is_none_is_refused(tmp_path, data: bytes) -> None:
    (tmp_path / "job.json").write_bytes(data)
    with pytest.raises(UserError, match="job.json: not a job this version can read"):
        open_data(tmp_path)
