"""What comes from files of strangers: arrays, images, tables, JSON and YAML, each read with a limit that is checked
before anything is allocated or expanded, and none of it run.

Every reader raises `Unreadable`, whatever its library would raise, so that a caller has one exception to turn into one
line.
"""

from __future__ import annotations


class Unreadable(ValueError):
    """The file is damaged, or holds something else or far more than is expected there. The message is one line."""

    def __init__(self, why: object) -> None:
        text = " ".join(str(why).split()) or type(why).__name__
        super().__init__(text if len(text) <= 200 else f"{text[:200]} ...")
