"""The files that are made from the shards and lie beside them: wids.json and the dataset card.

Both carry a stamp of the shards that they were made from. After a `retry` the stamp no longer fits, and the next run
writes them anew; a card that was edited by hand stays.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.untrusted import text

CARD_MARK = re.compile(
    r"\n<!-- factory ([0-9a-f]{24}) ([0-9a-f]{24}); edited, this page is left as it is -->\n\Z"
)  # the stamp, and a digest of the card
CARD_BYTES, LIST_BYTES = 1 << 24, 1 << 26  # at most; so long is the list of 400,000 shards
STAMP = "factory_stamp"  # in wids.json, whose readers ask for other fields


@dataclass(frozen=True)
class CardState:
    """What a card says of itself."""

    edited: bool  # by hand, or another program wrote it
    stamp: str = ""  # of the shards that it was made from, where it was not edited


def shards_stamp(index_hashes: Mapping[int, str], fingerprint: str) -> str:
    """A digest of all sealed shards and of the job: 24 hexadecimal digits. index_hashes: shard -> own_hash of its
    index, which holds the sha256 of its tar."""
    shards = [[shard, index_hashes[shard]] for shard in sorted(index_hashes)]
    return _digest(json.dumps([fingerprint, shards]))


def signed_card(card: str, stamp: str) -> str:
    """The card with its mark: the stamp of its shards, and a digest by which an edited card is recognised."""
    return f"{card}\n<!-- factory {stamp} {_digest(card)}; edited, this page is left as it is -->\n"


def card_state(card: bytes) -> CardState:
    """What a card that lies there says of itself."""
    if len(card) > CARD_BYTES:
        return CardState(edited=True)
    page = card.decode("utf-8", "replace")
    mark = CARD_MARK.search(page)
    if not mark or mark[2] != _digest(page[: mark.start()]):
        return CardState(edited=True)
    return CardState(edited=False, stamp=mark[1])


def encode_shard_list(name: str, shards: list[dict[str, Any]], stamp: str) -> bytes:
    """wids.json. Each shard has the fields url, md5sum, nsamples, filesize."""
    content = {
        "__kind__": "wids-shard-index-v1",
        "wids_version": 1,
        "name": name,
        STAMP: stamp,
        "shardlist": shards,
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def decode_shard_list(data: bytes) -> tuple[str, dict[str, dict[str, Any]]]:
    """(stamp, url -> the shard's entry) of a wids.json. ValueError where the data are none."""
    try:
        content = text.loads(data, LIST_BYTES)
        shards = {str(shard["url"]): shard for shard in content["shardlist"]}
        if len(shards) < len(content["shardlist"]):
            raise ValueError("a shard is listed twice")
        return str(content.get(STAMP, "")), shards
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a list of shards ({type(error).__name__})") from None


def _digest(content: str) -> str:
    return hashlib.blake2b(content.encode(), digest_size=12).hexdigest()
