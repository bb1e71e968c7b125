"""Readers for files of untrusted origin: the bytes of any stranger's file in, plain values within limits out.

There are readers of arrays, images, tables, tars, JSON, YAML, MATLAB files and pickles. Each checks its limits before
it takes memory or expands an alias, and runs nothing of a file. Every reader but `inert` and `tars` raises
`Unreadable`, whatever its library would raise, so that callers turn one exception into one line. `inert` raises
`Unsafe` for a pickle that calls more than plain data need, and Python's own error for a damaged one.

This room knows formats. Which files make a model, and what must be in them, is known to `factory.weights`, which reads
them by way of this room.
"""

from __future__ import annotations


class Unreadable(ValueError):
    """The file is damaged, or holds something else or far more than its reader expects. The message is one line.

    line: the line of a text file, counted from 1, where the fault lies; None where that is not known.
    """

    def __init__(self, why: object, line: int | None = None) -> None:
        self.line = line
        text = " ".join(str(why).split()) or type(why).__name__
        super().__init__(text if len(text) <= 200 else f"{text[:200]} ...")


class Unsafe(ValueError):
    """A pickle names, calls or alters what plain data never need. Nothing of it has been run."""
