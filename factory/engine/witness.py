"""Says why a run has ended where Ray ends the run's process before it can say so itself.

Without its raylet, Ray's C++ code in the driver calls _exit when it next reads an object: no Python runs any more, and
nothing is printed. The witness is a process beside the driver, this file run as a script. It prints the line in the
driver's place if the driver is gone and a process of Ray was seen dead while the driver still ran. In all other cases
it prints nothing: also if Ray ends the driver before the witness has looked, which takes milliseconds (Ray took 0.3 to
1.6 s). The exit code stays Ray's 1: nobody can change that of another process.

The witness stays in the driver's process group: a signal that the whole group gets (a terminal's Ctrl-C, SIGTERM from
Slurm, kill -9) ends it as well, and nothing is said of processes of Ray that died of the same signal.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

GONE = -1  # as `ended` returns it


class Witness:
    """In the driver: a context around the connection to Ray. Its end ends the witness."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Witness:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextmanager
    def watch(self, lines: dict[int, str]) -> Iterator[None]:
        """While the block runs, the witness waits for the end of this process and of its children `lines`: from the
        child's process id to what is printed when it has died, with {} for how. At the end of the block the witness
        leaves too, so that the children may be ended; but not where one has already died, because disconnecting from
        Ray may then end this process."""
        with contextlib.ExitStack() as stack:

            def opened(fd: int) -> int:
                stack.callback(os.close, fd)
                return fd

            # Ray's processes get SIGKILL when this thread ends, which may be long before the last thread does.
            driver = [opened(os.pidfd_open(os.getpid())), opened(os.open("/proc/thread-self/stat", os.O_RDONLY))]
            children, texts = [], []
            for child, line in lines.items():
                children += [opened(os.pidfd_open(child)), opened(os.open(f"/proc/{child}/stat", os.O_RDONLY))]
                texts.append(line)
            command = [sys.executable, "-I", "-S", os.path.abspath(__file__), *map(str, driver + children), *texts]
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the witness can take it
            try:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/", pass_fds=driver + children
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            try:
                yield
            finally:
                if not _ready(children[::2], 0):
                    self.__exit__()


def _ready(pidfds: list[int], timeout: int | None = None) -> set[int]:
    """Those whose process has ended, after at most timeout ms."""
    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    return {pidfd for pidfd, _ in poll.poll(timeout)}


def ended(stat: int) -> int | None:
    """How the task has ended whose /proc/.../stat is open as `stat`: its wait status, or GONE where it has been reaped
    and nobody can tell any more. None while it runs."""
    try:
        fields = os.pread(stat, 4096, 0).rpartition(b")")[2].split()  # a name may hold blanks and brackets
    except ProcessLookupError:
        return GONE
    return int(fields[49]) if fields[0] in b"ZX" else None


def witness(driver: int, thread: int, children: dict[int, tuple[int, str]]) -> str:
    """Wait for the end of the driver; the line to print, empty where there is nothing to say.

    driver: its pidfd. thread: the stat of its thread that started the children. children: pidfd to stat and line.
    """
    said = ""
    while True:
        ready = _ready([driver] if said else [driver, *children])
        for child in ready - {driver}:
            # A child that was killed because the thread has ended is never seen dead while the thread still runs.
            if ended(thread) is not None:
                return ""
            stat, line = children[child]
            said = said or line.replace("{}", _how(ended(stat)))
        if driver in ready:
            return said


def _how(status: int | None) -> str:
    if status is None or status == GONE:
        return "nobody knows how"
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def main(arguments: list[str]) -> None:
    """DRIVER THREAD, then PIDFD STAT of each child, then LINE of each."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it may be ignored, as in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    count = (len(arguments) - 2) // 3
    driver, thread, *fds = map(int, arguments[: 2 + 2 * count])
    stats_and_lines = zip(fds[1::2], arguments[2 + 2 * count :], strict=True)
    said = witness(driver, thread, dict(zip(fds[::2], stats_and_lines, strict=True)))
    if said:
        bar = os.isatty(2) and os.environ.get("TERM") not in (None, "dumb", "unknown")
        shown = "\x1b[?25h\n" if bar else ""  # the progress bar had hidden the cursor, which stands at its end
        with contextlib.suppress(OSError):
            os.write(2, f"{shown}{said}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
