"""Standard output: every command prints through this module.

On a terminal there are colours and live bars, in a pipe plain lines. An output that is full or closed does not end a
run. Control characters in texts from data sets and prompts are escaped, so that they cannot move the cursor.
"""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 160  # columns of what goes to a pipe, which has no width of its own
# C0 and C1 control characters, which terminals obey; marks that reverse the direction of the text; and lone surrogates,
# with which Python stands for bytes of file names that are not UTF-8, and which cannot be encoded.
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(text: str) -> str:
    """The text with every character that a terminal would obey written as its escape, such as \\x1b."""
    return OBEYED.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def open_console(stderr: bool = False) -> Console:
    """The console of standard output, or of standard error. With FORCE_COLOR a pipe gets colours, but no live bars."""
    from rich.console import Console

    if (sys.stderr if stderr else sys.stdout).isatty():
        return Console(stderr=stderr)
    coloured = bool(os.environ.get("FORCE_COLOR")) and not os.environ.get("NO_COLOR")
    colours: Literal["standard"] | None = "standard" if coloured else None
    return Console(stderr=stderr, width=PIPE_WIDTH, force_terminal=False, color_system=colours)


def say(console: Console, text: str) -> None:
    """Print one line without interpreting markup, without colours and without wrapping."""
    console.print(shown(text), markup=False, highlight=False, soft_wrap=True)


class StandardOutput(io.TextIOBase):
    """Standard output whose failure does not end the command: characters that it cannot encode are escaped, and after
    the first failed write everything is discarded. `lost` is the error of that write."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream if stream is not None else open(os.devnull, "w", encoding="utf-8")
        self.lost: OSError | None = None
        if isinstance(self.stream, io.TextIOWrapper):
            self.stream.reconfigure(errors="backslashreplace")

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """Redirect the file descriptor to the null device: the stream's buffer, and other writers, use it too."""
        self.lost = self.lost or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)
