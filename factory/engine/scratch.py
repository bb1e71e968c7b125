"""A private temporary folder for the length of a run, and the removal of those that killed runs have left.

A folder is removed only if it holds our mark file, lies where the mark says, belongs to this user, and its run is known
to be dead. Everything else in the temporary folder stays, whatever its name is.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from factory.errors import UserError

PREFIX = "factory-"
MARK = ".factory-scratch"
# Bytes that the name of the temporary folder may have: Ray's sockets lie far below it, and a socket's name has 107.
LONGEST = 107 - len(f"/{PREFIX}12345678/r/session_2000-01-01_00-00-00_000000_1234567/sockets/plasma_store")


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder with mode 0700, gone with the context. UserError where there is no place for one."""
    sweep()
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_root()))
    except OSError as error:
        raise UserError(f"no temporary folder: {error}; set TMPDIR to one that this user may write to") from error
    try:
        # A folder without a mark is never removed: a run that is killed before this line leaves it behind, empty.
        (folder / MARK).write_text(json.dumps({"folder": str(folder), **_owner(os.getpid())}))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Remove the folders of runs that were killed."""
    with contextlib.suppress(OSError):
        for folder in Path(_root()).glob(f"{PREFIX}*"):
            if _abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _root() -> str:
    root = tempfile.gettempdir()
    return root if len(os.fsencode(root)) <= LONGEST else "/tmp"


def _abandoned(folder: Path) -> bool:
    """Whether the folder has our mark and the run that made it is dead. False where that is not certain."""
    try:
        about = folder.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
            return False
        with open(os.open(folder / MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return False
            mark = json.loads(file.read(4096))
        if mark["folder"] != str(folder):
            return False  # a copy that somebody has made
        now = _owner(int(mark["pid"]))
        mark = {name: mark[name] for name in now}
    except (OSError, ValueError, TypeError, KeyError):
        return False
    if (mark["host"], mark["machine"]) != (now["host"], now["machine"]):
        return False  # a temporary folder that machines share
    if mark["boot"] != now["boot"]:
        return True  # this machine has started anew since
    return mark["namespace"] == now["namespace"] and mark["started"] != now["started"]


def _owner(pid: int) -> dict[str, str | int]:
    """What identifies a process. Its number does not: it is used again after a restart and in other containers."""
    return {
        "pid": pid,
        "host": socket.gethostname(),
        "machine": _read("/etc/machine-id"),
        "boot": _read("/proc/sys/kernel/random/boot_id"),
        "namespace": _link("/proc/self/ns/pid"),
        "started": _started(pid),
    }


def _started(pid: int) -> str:
    """When the process began, in ticks since the machine's start; empty where there is none, or a dead one whose parent
    has not asked after it yet."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()  # a name may hold blanks and brackets
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
