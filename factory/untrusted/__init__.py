"""Readers for files of untrusted origin: arrays, images, tables, JSON, YAML, MATLAB files and pickles.

Each limit is checked before memory is allocated or an alias expanded, and nothing in a file is run. Every reader but
`inert` raises `Unreadable`, whatever its library would raise, so that callers turn one exception into one line.
`inert` raises `Unsafe` for a pickle that calls more than plain data need, and Python's own error for a damaged one.
"""

from __future__ import annotations


class Unreadable(ValueError):
    """The file is damaged, or holds something else or far more than is expected there. The message is one line.

    line: the line of a text file, from 1, where the fault lies; None where it is not known.
    """

    def __init__(self, why: object, line: int | None = None) -> None:
        self.line = line
        text = " ".join(str(why).split()) or type(why).__name__
        super().__init__(text if len(text) <= 200 else f"{text[:200]} ...")
