"""What a training was told, as a part of its checkpoint."""

from __future__ import annotations

from typing import Any


class Settings(dict[str, Any]):
    """Name -> plain value of what must not change when a training resumes. A checkpoint that holds other values is
    refused as that of another training."""

    def state_dict(self) -> dict[str, Any]:
        """The settings."""
        return dict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """ValueError where `state` are other settings."""
        other = [
            f"{name} was {state.get(name)}, not {value}" for name, value in self.items() if state.get(name) != value
        ]
        if other:
            raise ValueError("; ".join(other))
