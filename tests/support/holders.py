"""Holders of a lock that are not on this machine."""

from __future__ import annotations

import time

from factory.store import mark
from factory.store.fs import LocalFiles


def elsewhere(files: LocalFiles, age: float) -> mark.Holder:
    """The mark of a run on a machine whose locks we do not see, which last beat `age` seconds ago."""
    beat = time.time() - age
    holder = mark.Holder(7, "elsewhere", beat - 500, beat, 3, "abc", "another kernel")
    (files.root / mark.MARK_NAME).write_bytes(mark.encode_holder(holder))
    return holder
