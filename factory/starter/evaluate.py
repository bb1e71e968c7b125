"""The whole table of the starter pack's figures, on scenes and seeds that no training used.

What `factory starter evaluate` does.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from factory.config import load as load_job
from factory.present.terminal import open_console
from factory.starter import cache as world_cache
from factory.starter import evaluate_adapter, evaluate_images, evaluate_renders, speed
from factory.starter.figures import Row, as_json, as_table, percent
from factory.starter.follow import Actions
from factory.starter.pack import megabytes
from factory.starter.world.actions import ACTIONS

PARTS = ("renders", "images", "speed", "size")
SCENES, EACH, SPEED = 400, 20, 96  # renders; images of each action; images of a speed run
QUICK = (48, 1, 16)
PACK_MB = 32


@dataclass(frozen=True)
class Figures:
    """rows of the table; actions: the estimator's errors (mm) by action; settings: what was measured on."""

    rows: list[Row]
    actions: dict[str, dict[str, float]]
    settings: dict[str, Any]

    @property
    def missed(self) -> int:
        return sum(row.reached is False for row in self.rows)

    @property
    def lacking(self) -> str:
        """What a verdict on the whole table lacks, in words; empty: nothing."""
        absent = ", ".join(part for part in PARTS if part not in self.settings["parts"])
        few = "few images, --quick" if self.settings["quick"] else ""
        return "; ".join(filter(None, [few, absent and f"not measured: {absent}"]))

    @property
    def all_reached(self) -> bool | None:
        """None: no goal is missed, but not all were measured in full."""
        return False if self.missed else None if self.lacking else True

    def as_json(self) -> dict[str, Any]:
        rows = {"rows": as_json(self.rows), "all_reached": self.all_reached, "lacking": self.lacking}
        return {**rows, "hmr_by_action": self.actions, "settings": self.settings}


def evaluate(
    cache: str | Path,
    job: str | Path,
    parts: tuple[str, ...],
    seed: int,
    quick: bool = False,
    console: Console | None = None,
) -> Figures:
    """Measure `parts`; the cache of held-out scenes is rendered where it is missing. seed: of the drawn images, not 0,
    which is the demo's own. UserError: the cache holds other scenes."""
    scenes, each, records = QUICK if quick else (SCENES, EACH, SPEED)
    console = console or open_console(stderr=True)
    spec = load_job(job)
    rows: list[Row] = []
    actions: dict[str, dict[str, float]] = {}
    if "renders" in parts:  # rendered first, since other scenes are refused; what is there is only checked
        world_cache.build(cache, world_cache.HELD_OUT, scenes, os.cpu_count() or 1, console)
    if "images" in parts:
        bar = partial(track, console=console)
        drawn = evaluate_images.draw(spec, each, seed, partial(bar, description="drawing"))
        rows += evaluate_images.rows(drawn, spec, partial(bar, description="estimating"))
    if "renders" in parts:
        found, actions = _renders(world_cache.load(cache), scenes)
        rows += found
    if "speed" in parts:
        rows += speed.measure(spec, records)
    if "size" in parts:
        rows.append(Row("size", "pack in the repository", megabytes(), 1, "pack", "MB", PACK_MB, True))
    settings = {"cache": Path(cache).name, "job": Path(job).name, "quick": quick, "seed": seed, "parts": list(parts)}
    return Figures(rows, actions, settings)


def _renders(data: world_cache.Cache, scenes: int) -> tuple[list[Row], dict[str, dict[str, float]]]:
    seen = evaluate_renders.detect(data, scenes)
    rows, table = evaluate_renders.hmr(data, seen)
    rows += _yardstick(data, seen)
    rows += evaluate_renders.vposer(data, scenes) + evaluate_renders.detector(data, seen)
    rows += evaluate_adapter.rows(data, scenes)
    return rows, table


def _yardstick(data: world_cache.Cache, seen: evaluate_renders.Detections) -> list[Row]:
    """What the measure "prompt followed" gives on renders, which do follow theirs: of true and of estimated poses."""
    actions, names = Actions(), list(ACTIONS)
    wanted = [names[i] for i in data.action[: len(seen)]]
    true = evaluate_images.top3(actions, data.pose[: len(seen), 0], wanted)
    poses, scenes = evaluate_renders.poses(data, seen)
    estimated = evaluate_images.top3(actions, poses, [wanted[i] for i in scenes])
    return [
        percent("yardstick", "prompt followed by renders, true poses", true, "renders"),
        percent("yardstick", "prompt followed by renders, estimated poses", estimated, "renders"),
    ]


def store(figures: Figures, path: str | Path) -> None:
    """As JSON; written beside and renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(figures.as_json(), indent=1) + "\n")
    temporary.replace(path)


def show(figures: Figures, console: Console) -> None:
    from rich.table import Table

    console.print(as_table(figures.rows), highlight=False)
    if figures.actions:
        table = Table(title="HMR by action, mm", title_justify="left", title_style="bold", box=None, pad_edge=False)
        for name in ("action", "PA-MPJPE", "MPJPE", "vertices", "people"):
            table.add_column(name, justify="left" if name == "action" else "right", header_style="dim")
        for name, values in sorted(figures.actions.items(), key=lambda item: item[1]["pa_mpjpe"]):
            numbers = [f"{values[key]:.0f}" for key in ("pa_mpjpe", "mpjpe", "vertices", "people")]
            table.add_row(name, *numbers)
        console.print(table, highlight=False)
    verdict = "Every goal measured is reached" if figures.lacking else "Every goal is reached"
    if figures.missed:
        verdict = "1 goal is missed" if figures.missed == 1 else f"{figures.missed} goals are missed"
    console.print(f"{verdict}{f' ({figures.lacking})' if figures.lacking else ''}.", highlight=False)
