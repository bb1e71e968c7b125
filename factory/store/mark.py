"""The mark that says which run holds an output: what stands in it, and what every kind of mark can do."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from factory.errors import UserError
from factory.untrusted import text

MARK_NAME, MARK_BYTES = ".lock", 4096  # bytes of it at most


@dataclass(frozen=True)
class Holder:
    """The run that holds a lock. `since` and `beat` are seconds since the epoch by its own clock."""

    pid: int
    host: str
    since: float
    beat: float
    beats: int = 0
    run: str = ""  # a name of its own for every run
    kernel: str = ""  # identifies the kernel and the pid namespace in which `pid` is valid
    locks: bool = True  # whether the kernel's lock lies on the mark, where it is a file

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else "another run"


UNKNOWN_HOLDER = Holder(0, "unknown", 0.0, 0.0)  # one whose mark cannot be read, or is not written yet


class Mark(Protocol):
    """The mark at its output."""

    def read(self) -> Holder | None:
        """The run that the mark names; None where it names none."""

    def check(self) -> bool:
        """Whether the mark is still ours, as far as that is known without a request to a store. UserError where it was
        removed or replaced."""

    def write(self, holder: Holder | None) -> bool:
        """Write the holder, or nothing for None. Returns whether it was written: it is not where another run has
        written since our last reading or writing."""

    def dead(self, holder: Holder) -> bool:
        """Whether the holder is known to be gone."""


def in_use(address: str, by: Holder | None) -> UserError:
    """What to raise where another run holds the output."""
    return UserError(f"output: {address} is in use by {by or 'another run'}; wait for it, stop it, or write elsewhere")


def gone(holder: Holder) -> bool:
    """Whether the holder's process is known to have ended."""
    return bool(holder.kernel) and holder.kernel == kernel() and not Path("/proc", str(holder.pid)).exists()


def kernel() -> str:
    """A text that is the same for two processes only if they see each other's pids."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")


def decode_holder(data: bytes) -> Holder | None:
    """The run that the bytes of a mark name; None where they name none."""
    try:
        return Holder(**text.loads(data, MARK_BYTES))
    except (ValueError, TypeError):
        return None


def encode_holder(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).ljust(512).encode()  # one length: never a mix of two
