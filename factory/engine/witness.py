"""Reports why a run has ended when Ray ends the run's process before Python can report it.

Without its raylet, Ray's C++ code in the driver calls _exit when it next reads an object: no Python runs any more, and
nothing is printed. The witness is a separate process: this file, run as a script. It prints the line instead of the
driver if the driver has ended and one of Ray's processes was seen dead while the driver still ran. In all other cases
it prints nothing, also if Ray ends the driver before the witness has seen the dead process; that takes milliseconds,
and Ray took 0.3 to 1.6 s. The exit code stays Ray's 1, because no process can change that of another one.

The witness stays in the driver's process group: a signal that the whole group gets (a terminal's Ctrl-C, SIGTERM from
Slurm, kill -9) ends it as well, and it does not report that Ray's processes died of the same signal.
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

GONE = -1  # returned by `ended`: the process was reaped, and its wait status is lost


class Witness:
    """The driver's side: a context manager around the connection to Ray. The witness ends with it."""

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
        """Let the witness watch this process and its children during the block. lines: process id of a child -> the
        line to print when it has died, in which {} stands for the signal or exit code.

        At the end of the block the witness ends too, because the children may then be stopped. It goes on if one of
        them has already died: disconnecting from Ray may then end this process.
        """
        with contextlib.ExitStack() as stack:

            def opened(fd: int) -> int:
                stack.callback(os.close, fd)
                return fd

            # Ray's processes get SIGKILL when this thread ends, which may be long before this process ends.
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
    """The pidfds whose process has ended. Waits until there is one, for at most `timeout` ms (None: without limit)."""
    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    return {pidfd for pidfd, _ in poll.poll(timeout)}


def ended(stat: int) -> int | None:
    """The wait status of a task that has ended, GONE when it was reaped, None while it runs. stat: a file descriptor of
    its /proc/.../stat."""
    try:
        fields = os.pread(stat, 4096, 0).rpartition(b")")[2].split()  # a name may hold blanks and brackets
    except ProcessLookupError:
        return GONE
    return int(fields[49]) if fields[0] in b"ZX" else None


def witness(driver: int, thread: int, children: dict[int, tuple[int, str]]) -> str:
    """Wait for the end of the driver; return the line to print, empty for none.

    driver: pidfd. thread: descriptor of the stat of the driver's thread that started the children. children: pidfd ->
    (descriptor of its stat, its line).
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
    """arguments: DRIVER THREAD, then PIDFD STAT for each child, then LINE for each child, as `witness` takes them."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # in the background it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    count = (len(arguments) - 2) // 3
    driver, thread, *fds = map(int, arguments[: 2 + 2 * count])
    stats_and_lines = zip(fds[1::2], arguments[2 + 2 * count :], strict=True)
    said = witness(driver, thread, dict(zip(fds[::2], stats_and_lines, strict=True)))
    if said:
        bar = os.isatty(2) and os.environ.get("TERM") not in (None, "dumb", "unknown")
        shown = "\x1b[?25h\n" if bar else ""  # show the cursor again: the progress bar has hidden it
        with contextlib.suppress(OSError):
            os.write(2, f"{shown}{said}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
