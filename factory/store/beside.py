"""The files that are made from the shards and lie beside them: wids.json, and the dataset card unless it was edited.

Both carry a stamp of the shards that they were made from, so after a `retry` they are stale and the next run writes
them anew.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from factory.store.part import Head
from factory.untrusted import text

CARD, PREVIEW, SHARDS = "README.md", "preview.jpg", "wids.json"
MARK = re.compile(r"\n<!-- factory ([0-9a-f]{24}) ([0-9a-f]{24}); edited, this page is left as it is -->\n\Z")
CARD_MOST, SHARDS_MOST = 1 << 24, 1 << 26  # bytes; the list of 400,000 shards
STAMP = "factory_stamp"  # in wids.json, whose readers ask for other fields


def stamp(sealed: Mapping[int, Head], fingerprint: str) -> str:
    """A digest of the rows and samples of all sealed shards and of the job."""
    shards = [[shard, sealed[shard].own] for shard in sorted(sealed)]
    return _digest(json.dumps([fingerprint, shards]))


def signed(card: str, made_from: str) -> str:
    """The card with its mark: the stamp of its shards, and a digest by which an edited one is known."""
    return f"{card}\n<!-- factory {made_from} {_digest(card)}; edited, this page is left as it is -->\n"


def signature(card: bytes) -> str | None:
    """The stamp of the shards that the card was made from; None where it was edited, or `signed` did not write it."""
    if len(card) > CARD_MOST:
        return None
    page = card.decode("utf-8", "replace")
    mark = MARK.search(page)
    return mark[1] if mark and mark[2] == _digest(page[: mark.start()]) else None


def shard_list(name: str, listed: list[dict[str, Any]], made_from: str) -> bytes:
    """wids.json. Each listed shard: url, md5sum, nsamples, filesize."""
    content = {
        "__kind__": "wids-shard-index-v1",
        "wids_version": 1,
        "name": name,
        STAMP: made_from,
        "shardlist": listed,
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def listed_shards(data: bytes) -> tuple[str, dict[str, dict[str, Any]]]:
    """(stamp, url -> the shard's entry) of a wids.json. ValueError where the data are none."""
    try:
        content = text.loads(data, SHARDS_MOST)
        shards = {str(shard["url"]): shard for shard in content["shardlist"]}
        if len(shards) < len(content["shardlist"]):
            raise ValueError("a shard is listed twice")
        return str(content.get(STAMP, "")), shards
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a list of shards ({type(error).__name__})") from None


def _digest(content: str) -> str:
    return hashlib.blake2b(content.encode(), digest_size=12).hexdigest()
