"""The file that a training resumes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import torch

from factory.errors import UserError


class Stateful(Protocol):
    """A part of a training whose state is stored: a network, an optimizer, an average of weights."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class Checkpoint:
    """One file, DIR/checkpoint.pt: step, seconds spent, torch's random state, and the state of each named part."""

    def __init__(self, directory: str | Path) -> None:
        self.path = Path(directory) / "checkpoint.pt"

    def save(self, step: int, seconds: float = 0.0, **parts: Stateful) -> None:
        """Write the file under a temporary name and rename it, so that a kill leaves the old file or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
        state |= {"step": step, "seconds": seconds, "rng": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda_rng"] = torch.cuda.get_rng_state()
        temporary = self.path.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)

    def load(self, **parts: Stateful) -> tuple[int, float]:
        """Restore the parts in place; returns (next step, seconds spent), or (0, 0.0) where nothing was saved.

        UserError where the file holds another training: other parts, or parts of other shapes.
        """
        if not self.path.exists():
            return 0, 0.0
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        try:
            for name, part in parts.items():
                part.load_state_dict(state[name])
        except (KeyError, ValueError, RuntimeError) as error:
            reason = str(error).split("\n")[0]
            raise UserError(
                f"{self.path} is the checkpoint of another training ({type(error).__name__}: {reason}); remove it or "
                "give another --out"
            ) from error
        torch.set_rng_state(state["rng"])
        if "cuda_rng" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda_rng"])
        return state["step"], state["seconds"]
