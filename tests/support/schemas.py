"""The JSON schemas of the repository."""

from __future__ import annotations

import json

from tests.support.command import ROOT


def stored_schema(name: str) -> dict:
    return json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text())
