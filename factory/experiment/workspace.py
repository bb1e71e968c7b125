"""The folder of an experiment: where each step leaves its result, and who works on which.

A step is done when its result.json is there. The file says what the step was asked, so that the result of other
settings is never taken for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.store.disk import expanded, make_folder, mendable

RESULT, LOCK = "result.json", "lock"


class Workspace:
    """The folder `out`. UserError: it is no folder of this machine, or cannot be made."""

    def __init__(self, out: str) -> None:
        if "://" in out:
            raise UserError(f"output: {out}: an experiment is written to a folder; its data sets may lie elsewhere")
        self.root = Path(expanded(out))

    def step(self, name: str) -> Path:
        """The folder of a step's result."""
        return self.root / "cells" / name

    @property
    def domain(self) -> Path:
        return self.root / "domain"

    def data(self, name: str) -> Path:
        """The data set of this name."""
        return self.root / "data" / name

    def adapter(self, name: str) -> Path:
        """The folder of an adapter's training; the weights lie in its folder `adapter`."""
        return self.root / "adapters" / name

    def result(self, name: str, asked: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """What a step has left; None where it is not done. UserError: it was asked something else."""
        file = self.step(name) / RESULT
        try:
            result = json.loads(file.read_text("utf-8"))
            held = result["asked"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: cannot be read ({error}); remove it, and the step is done again") from None
        if asked is not None and held != plain(asked):
            raise UserError(
                f"{file.parent}: was computed with other settings ({_difference(held, plain(asked))}); remove the "
                f"folder, or write elsewhere with --set output=DIR"
            )
        return result

    def finish(self, name: str, asked: dict[str, Any], seconds: float, figures: dict[str, Any]) -> None:
        """Write a step's result: a kill leaves none, or all of it."""
        folder = self.step(name)
        content = {"step": name, "asked": plain(asked), "seconds": round(seconds, 1), **figures}
        self.write(folder / RESULT, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def write(self, path: Path, text: str) -> None:
        """Write a text under a temporary name, and rename it."""
        with mendable(str(path)):
            make_folder(path.parent)
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)

    @contextmanager
    def claim(self, name: str, wait: bool = False) -> Iterator[bool]:
        """Whether the step is this process's alone, until the context ends. wait: until it is."""
        folder = self.step(name)
        with mendable(str(folder)):
            make_folder(folder)
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                held = True
            except BlockingIOError:
                held = False
            yield held
        finally:
            os.close(descriptor)


def plain(value: Any) -> Any:
    """The value as JSON gives it back."""
    return json.loads(json.dumps(value, default=str))


def asked_digest(asked: dict[str, Any]) -> str:
    """16 hex digits that stand for what a step is asked."""
    return hashlib.blake2b(json.dumps(plain(asked), sort_keys=True).encode(), digest_size=8).hexdigest()


def _difference(held: dict[str, Any], asked: dict[str, Any], where: str = "") -> str:
    for name in sorted(held.keys() | asked.keys()):
        old, new = held.get(name), asked.get(name)
        if isinstance(old, dict) and isinstance(new, dict) and old != new:
            return _difference(old, new, f"{where}{name}.")
        if old != new:
            return f"{where}{name} was {_short(old)} and is {_short(new)}"
    return "nothing that can be named"


def _short(value: Any) -> str:
    words = json.dumps(value)
    return words if len(words) <= 60 else f"{words[:60]}..."
