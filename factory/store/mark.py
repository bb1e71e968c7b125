"""The mark that says which run holds a place: what stands in it, and what every kind of mark can do."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from factory.errors import UserError
from factory.untrusted import text

NAME, MOST = ".lock", 4096  # bytes of it


@dataclass(frozen=True)
class Holder:
    """Who holds a lock; since and beat are seconds since the epoch by its own clock."""

    pid: int
    host: str
    since: float
    beat: float
    beats: int = 0
    run: str = ""  # a name of its own for every run
    kernel: str = ""  # in which its pid means something
    locks: bool = True  # whether the kernel's lock lies on the mark, where it is a file

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else "another run"


UNKNOWN = Holder(0, "unknown", 0.0, 0.0)  # one whose mark cannot be read, or is not written yet


class Mark(Protocol):
    """The mark in its place."""

    def read(self) -> Holder | None: ...

    def check(self) -> bool:
        """Whether the mark is still ours, as far as that is known without asking afar. UserError where it is no longer
        in its place."""

    def write(self, holder: Holder | None) -> bool:
        """Whether it could be: not where somebody else has written since the last reading or writing."""

    def dead(self, holder: Holder) -> bool:
        """Whether the holder is known to be gone."""


def in_use(where: str, by: Holder | None) -> UserError:
    return UserError(f"output: {where} is in use by {by or 'another run'}; wait for it, stop it, or write elsewhere")


def gone(holder: Holder) -> bool:
    """Whether the holder's process is known to be no more."""
    return bool(holder.kernel) and holder.kernel == kernel() and not Path("/proc", str(holder.pid)).exists()


def kernel() -> str:
    """The same for two processes only if they see each other's pids."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")


def parse(data: bytes) -> Holder | None:
    try:
        return Holder(**text.loads(data, MOST))
    except (ValueError, TypeError):
        return None


def encode(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).ljust(512).encode()  # one length: never a mix of two
