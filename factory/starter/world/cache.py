"""The rendered world on disk: plain .npy arrays, one row for each scene, so that a training need not render.

    python -m factory.starter.world.cache --out DIR --first-seed 0 --count 20000

A build continues where an earlier one stopped. Training uses seeds below HELD_OUT, evaluation those from it on.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.format import open_memmap

from factory.errors import UserError
from factory.starter.world.identity import world_hash

if TYPE_CHECKING:
    from rich.console import Console

    from factory.starter.world.scene import Scene, World

_world: World  # of a rendering process

HELD_OUT = 1_000_000
PEOPLE = 3
ROWS: dict[str, tuple[tuple[int, ...], type]] = {
    "images": ((128, 128, 3), np.uint8),
    "instances": ((128, 128), np.uint8),
    "count": ((), np.uint8),
    "pose": ((PEOPLE, 72), np.float32),
    "betas": ((PEOPLE, 10), np.float32),
    "transl": ((PEOPLE, 3), np.float32),
    "K": ((3, 3), np.float32),
    "action": ((), np.uint8),
    "hard": ((), bool),
    "depth": ((32, 32), np.float32),
}


@dataclass(frozen=True)
class Cache:
    """Read-only rows of N scenes; see scene.Scene for frames and units. Bodies beyond `count` are zeros.

    images (N, 128, 128, 3); instances (N, 128, 128); count (N,) people of each scene; pose (N, 3, 72); betas
    (N, 3, 10); transl (N, 3, 3); K (N, 3, 3); action (N,) index into ACTIONS; hard (N,) bool; depth (N, 32, 32) in
    [-1, 1]; prompts: N strings.
    """

    images: np.ndarray
    instances: np.ndarray
    count: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    transl: np.ndarray
    K: np.ndarray
    action: np.ndarray
    hard: np.ndarray
    depth: np.ndarray
    prompts: list[str]

    def __len__(self) -> int:
        return len(self.prompts)


class CacheWriter:
    """Writes a cache row by row, from where an earlier writer stopped. A context.

    `done` is the number of rows that are there.
    """

    def __init__(self, directory: str | Path, count: int, **scenes: int | str) -> None:
        """count: the rows that the cache shall have; scenes: which scenes these are, stored in the folder.

        UserError where the folder holds other scenes.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        _claim(directory / "seeds.json", {"count": count, **scenes})
        self.file = directory / "prompts.jsonl"
        self.done = len(self.file.read_text().splitlines()) if self.file.exists() else 0
        mode = "r+" if self.done else "w+"
        self.arrays = {
            name: open_memmap(directory / f"{name}.npy", mode, dtype, (count, *shape))
            for name, (shape, dtype) in ROWS.items()
        }

    def __enter__(self) -> CacheWriter:
        self.prompts = self.file.open("a")
        return self

    def __exit__(self, *_: object) -> None:
        self.prompts.close()

    def add(self, prompt: str, **row: object) -> None:
        """Write the next row: a value for each name of ROWS."""
        for name, value in row.items():
            self.arrays[name][self.done] = value
        self.prompts.write(json.dumps(prompt) + "\n")  # written last, because a row counts once its prompt is there
        self.prompts.flush()
        self.done += 1


def build(directory: str | Path, first_seed: int, count: int, workers: int = 1, console: Console | None = None) -> None:
    """Render `count` scenes with the seeds first_seed, first_seed + 1, ...; the rows do not depend on `workers`.

    UserError: the folder holds scenes of other seeds or of another world.
    """
    from concurrent.futures import ProcessPoolExecutor

    from rich.progress import track

    from factory.starter.world.actions import ACTIONS

    names = list(ACTIONS)
    with (
        CacheWriter(directory, count, first_seed=first_seed, world=world_hash()) as rows,
        ProcessPoolExecutor(workers, initializer=_open_world) as pool,
    ):
        seeds = range(first_seed + rows.done, first_seed + count)
        scenes = pool.map(_render, seeds, chunksize=16)
        for scene in track(scenes, "rendering", len(seeds), console=console):
            bodies = {"pose": scene.pose, "betas": scene.betas, "transl": scene.transl}
            filled = {name: np.pad(value, ((0, PEOPLE - len(value)), (0, 0))) for name, value in bodies.items()}
            action, hard = names.index(scene.action), ACTIONS[scene.action].hard
            rows.add(
                scene.prompt, images=scene.image, instances=scene.instances, count=len(scene.pose), **filled,
                K=scene.K, action=action, hard=hard, depth=scene.latent_depth,
            )  # fmt: skip


def _claim(file: Path, scenes: dict[str, int | str]) -> None:
    """Write which scenes the folder is for. UserError where it is for others."""
    wanted, held = json.dumps(scenes, sort_keys=True), ""
    if file.exists():
        held = json.dumps(json.loads(file.read_text()), sort_keys=True)
    elif file.with_name("prompts.jsonl").exists():
        held = "scenes of seeds that nobody noted"
    if held and held != wanted:
        raise UserError(f"cache {file.parent}: holds {held}, not {wanted}; take another folder")
    file.write_text(wanted + "\n")


def first_seed(directory: str | Path) -> int:
    """The first seed of a cache; 0 for a cache that was made before seeds were stored."""
    file = Path(directory) / "seeds.json"
    return json.loads(file.read_text())["first_seed"] if file.exists() else 0


def held_out(directory: str | Path) -> bool:
    """Whether a cache is known to hold scenes of seeds from HELD_OUT on, on which nothing may be trained."""
    return first_seed(directory) >= HELD_OUT


def complete(directory: str | Path) -> bool:
    """Whether a cache has all its rows. One that was made before seeds were stored counts as complete."""
    file, prompts = Path(directory) / "seeds.json", Path(directory) / "prompts.jsonl"
    if not prompts.exists():
        return False
    with prompts.open("rb") as lines:
        return not file.exists() or sum(1 for _ in lines) >= json.loads(file.read_text())["count"]


def _open_world() -> None:
    """Give a rendering process its world, and one thread: there is a process for each core."""
    import torch

    from factory.starter.world.scene import World

    global _world
    torch.set_num_threads(1)
    _world = World()


def _render(seed: int) -> Scene:
    return _world.sample(seed)


def load_cache(*directories: str | Path) -> Cache:
    """The rows that are there so far, of one cache after the other. A cache may still be in the making."""
    prompts, arrays = list[str](), []
    for directory in map(Path, directories):
        lines = (directory / "prompts.jsonl").read_text().splitlines()
        prompts += map(json.loads, lines)
        arrays.append({name: np.load(directory / f"{name}.npy", mmap_mode="r")[: len(lines)] for name in ROWS})
    if len(arrays) == 1:  # a single cache is read from disk row by row, several are copied into memory
        return Cache(**arrays[0], prompts=prompts)
    return Cache(**{name: np.concatenate([rows[name] for rows in arrays]) for name in ROWS}, prompts=prompts)


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Render scenes of the starter world into a cache.")
    parser.add_argument("--out", required=True)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that render")
    options = parser.parse_args()
    build(options.out, options.first_seed, options.count, options.workers)


if __name__ == "__main__":
    main()
