"""One line of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """level `fault`: a run would fail; `note`: worth knowing, but a run succeeds. name: the field of the job, or the
    part of the machine, that was looked at."""

    level: Literal["ok", "fault", "note"]
    name: str
    says: str

    @classmethod
    def of(cls, sound: bool, name: str, says: str) -> Finding:
        """A finding of level `ok` or `fault`."""
        return cls("ok" if sound else "fault", name, says)

    @property
    def ok(self) -> bool:
        return self.level == "ok"

    @property
    def fault(self) -> bool:
        return self.level == "fault"
