"""All figures of the starter pack beside their goals: what `factory starter evaluate` does."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from factory.config import load_job
from factory.present.terminal import open_console
from factory.starter.measure import adapter, images, renders, speed
from factory.starter.measure.figures import Figure, as_json, as_table, percent
from factory.starter.measure.nearest_action import NearestAction
from factory.starter.measure.size import megabytes
from factory.starter.world import cache as world_cache
from factory.starter.world.actions import ACTIONS

PARTS = ("renders", "images", "adapter", "speed", "size")
PACK_MB = 39  # goal: 32 for the factory's own models, 7 for `base`


@dataclass(frozen=True)
class Extent:
    """How much is measured: held-out scenes, images of each action, images of a target domain, images of a speed run;
    and images of each action in the domain's training split, which is written with it."""

    scenes: int
    images: int
    domain: int
    speed: int
    train: int = adapter.TRAIN


FULL, QUICK = Extent(400, 20, 500, 96), Extent(48, 1, 12, 16, train=2)


@dataclass(frozen=True)
class FigureTable:
    """All figures. actions: action -> the estimator's errors, mm; settings: what was measured, and on what."""

    rows: list[Figure]
    actions: dict[str, dict[str, float]]
    settings: dict[str, Any]

    @property
    def missed(self) -> int:
        """How many goals are missed."""
        return sum(row.reached is False for row in self.rows)

    @property
    def lacking(self) -> str:
        """Why the table allows no verdict on the whole pack, in words; empty where it does."""
        absent = ", ".join(part for part in PARTS if part not in self.settings["parts"])
        few = "few images, --quick" if self.settings["quick"] else ""
        return "; ".join(filter(None, [few, absent and f"not measured: {absent}"]))

    @property
    def all_reached(self) -> bool | None:
        """None where no goal is missed, but not all were measured in full."""
        return False if self.missed else None if self.lacking else True

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        rows = {"rows": as_json(self.rows), "all_reached": self.all_reached, "lacking": self.lacking}
        return {**rows, "hmr_by_action": self.actions, "settings": self.settings}


def evaluate_pack(
    cache: str | Path,
    job: str | Path,
    parts: tuple[str, ...],
    seed: int,
    quick: bool = False,
    adapter_name: str = "starter:adapter",
    console: Console | None = None,
) -> FigureTable:
    """Measure `parts`, a selection of PARTS.

    cache: folder of the held-out scenes, rendered where they are missing; UserError where it holds others. job: the
    file whose stages draw the images. seed: of these images, at least 1; 0 is the demo's own. quick: see QUICK.
    adapter_name: the adapter that is measured, on a target domain whose folder lies beside the cache.
    """
    extent = QUICK if quick else FULL
    console = console or open_console(stderr=True)
    spec = load_job(job)
    rows: list[Figure] = []
    actions: dict[str, dict[str, float]] = {}
    bar = partial(track, console=console)
    if "renders" in parts:  # first of all, because a cache of other scenes is refused here
        world_cache.build(cache, world_cache.HELD_OUT, extent.scenes, os.cpu_count() or 1, console)
    if "images" in parts:
        drawn = images.draw(spec, extent.images, seed, partial(bar, description="drawing"))
        rows += images.image_figures(drawn, spec, partial(bar, description="estimating"))
    if "renders" in parts:
        figures, actions = _renders(world_cache.load_cache(cache), extent.scenes)
        rows += figures
    if "adapter" in parts:
        folder = Path(cache).with_name(f"{adapter.DOMAIN}{'-quick' * quick}")
        scenes = world_cache.load_cache(cache) if "renders" in parts else None
        drawing = partial(bar, description="drawing")
        rows += adapter.adapter_figures(
            adapter_name, folder, extent.domain, scenes, extent.train, console=console, bar=drawing
        )
    if "speed" in parts:
        rows += speed.speed_figures(spec, extent.speed)
    if "size" in parts:
        rows.append(Figure("size", "pack in the repository", megabytes(), 1, "pack", "MB", PACK_MB, True))
    settings = {"cache": Path(cache).name, "job": Path(job).name, "quick": quick, "seed": seed, "parts": list(parts)}
    if "adapter" in parts:
        settings["adapter"] = adapter_name
    return FigureTable(rows, actions, settings)


def _renders(data: world_cache.Cache, scenes: int) -> tuple[list[Figure], dict[str, dict[str, float]]]:
    """The figures on the first `scenes` scenes, and the estimator's errors by action."""
    detections = renders.detect(data, scenes)
    rows, actions = renders.estimator_figures(data, detections)
    rows += _yardstick(data, detections)
    rows += renders.prior_figures(data, scenes) + renders.segmenter_figures(data, detections)
    return rows, actions


def _yardstick(data: world_cache.Cache, detections: renders.Detections) -> list[Figure]:
    """The measure "prompt followed" on renders, which do follow their prompt: the highest value that it can take."""
    nearest, names = NearestAction(), list(ACTIONS)
    wanted = [names[i] for i in data.action[: len(detections)]]
    true = images.in_top3(nearest, data.pose[: len(detections), 0], wanted)
    poses, scenes = renders.estimated_poses(data, detections)
    estimated = images.in_top3(nearest, poses, [wanted[i] for i in scenes])
    return [
        percent("yardstick", "prompt followed by renders, true poses", true, "renders"),
        percent("yardstick", "prompt followed by renders, estimated poses", estimated, "renders"),
    ]


def store_figures(table: FigureTable, path: str | Path) -> None:
    """Write the table as JSON, under a temporary name that is then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(table.as_json(), indent=1) + "\n")
    temporary.replace(path)


def show_figures(table: FigureTable, console: Console) -> None:
    """Print the figures, the estimator's errors by action, and the verdict."""
    from rich.table import Table

    console.print(as_table(table.rows), highlight=False)
    if table.actions:
        errors = Table(title="HMR by action, mm", title_justify="left", title_style="bold", box=None, pad_edge=False)
        for name in ("action", "PA-MPJPE", "MPJPE", "vertices", "people"):
            errors.add_column(name, justify="left" if name == "action" else "right", header_style="dim")
        for name, values in sorted(table.actions.items(), key=lambda item: item[1]["pa_mpjpe"]):
            errors.add_row(name, *(f"{values[key]:.0f}" for key in ("pa_mpjpe", "mpjpe", "vertices", "people")))
        console.print(errors, highlight=False)
    verdict = "Every goal measured is reached" if table.lacking else "Every goal is reached"
    if table.missed:
        verdict = "1 goal is missed" if table.missed == 1 else f"{table.missed} goals are missed"
    console.print(f"{verdict}{f' ({table.lacking})' if table.lacking else ''}.", highlight=False)
