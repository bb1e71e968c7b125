"""A private temporary folder for one run, and the removal of the folders that killed runs have left.

A folder is removed only if it holds a mark file of this program, lies where the mark says, belongs to this user, and if
its run is known to be dead. Everything else there stays, whatever its name is.
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
# Bytes that the path of the temporary folder may have: Ray's sockets lie deep below it, and the path of a socket has at
# most 107 bytes.
LONGEST = 107 - len(f"/{PREFIX}12345678/r/session_2000-01-01_00-00-00_000000_1234567/sockets/plasma_store")


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder with mode 0700, removed at the end of the context. UserError when none can be made."""
    sweep()
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_root()))
    except OSError as error:
        raise UserError(f"no temporary folder: {error}; set TMPDIR to one that this user may write to") from error
    try:
        # A folder without a mark is never removed: a run that is killed before the next line leaves an empty folder.
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
    """Whether the folder holds a mark of this program and the run that made it is dead. False when in doubt."""
    try:
        about = folder.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
            return False
        with open(os.open(folder / MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return False
            mark = json.loads(file.read(4096))
        if mark["folder"] != str(folder):
            return False  # the folder is a copy
        now = _owner(int(mark["pid"]))
        mark = {name: mark[name] for name in now}
    except (OSError, ValueError, TypeError, KeyError):
        return False
    if (mark["host"], mark["machine"]) != (now["host"], now["machine"]):
        return False  # another machine's run, in a temporary folder that machines share
    if mark["boot"] != now["boot"]:
        return True  # the machine was restarted after the run had begun
    return mark["namespace"] == now["namespace"] and mark["started"] != now["started"]


def _owner(pid: int) -> dict[str, str | int]:
    """What identifies a process across machines, containers and restarts, in which process ids recur."""
    return {
        "pid": pid,
        "host": socket.gethostname(),
        "machine": _read("/etc/machine-id"),
        "boot": _read("/proc/sys/kernel/random/boot_id"),
        "namespace": _link("/proc/self/ns/pid"),
        "started": _started(pid),
    }


def _started(pid: int) -> str:
    """When the process was started, in ticks since the machine's start; empty when there is no such process, or a
    zombie only."""
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
