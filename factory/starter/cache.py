"""The rendered world on disk: plain .npy arrays, one row per scene, so that training reads instead of renders.

    python -m factory.starter.cache --out DIR --first-seed 0 --count 20000

A build continues where an earlier one stopped. Training uses seeds below HELD_OUT, evaluation those from it on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.format import open_memmap

from factory.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from factory.starter.world.scene import Sample, World

_world: World

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
    """Read-only rows; see scene.Sample for frames and units. People beyond `count` are zeros.

    images (N, 128, 128, 3); instances (N, 128, 128); count (N,); pose (N, 3, 72); betas (N, 3, 10); transl (N, 3, 3);
    K (N, 3, 3); action (N,) index into ACTIONS; hard (N,); depth (N, 32, 32) in [-1, 1]; prompts: N strings.
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


class Filling:
    """A cache being written, row by row, from where an earlier writing stopped: `done` rows are there.

    count: how many rows it shall have; scenes: which, noted in the folder. UserError where that holds others.
    """

    def __init__(self, directory: str | Path, count: int, **scenes: int | str) -> None:
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

    def __enter__(self) -> Filling:
        self.prompts = self.file.open("a")
        return self

    def __exit__(self, *_: object) -> None:
        self.prompts.close()

    def add(self, prompt: str, **row: object) -> None:
        for name, value in row.items():
            self.arrays[name][self.done] = value
        self.prompts.write(json.dumps(prompt) + "\n")  # last: a row counts once its prompt is there
        self.prompts.flush()
        self.done += 1


def build(directory: str | Path, first_seed: int, count: int, workers: int = 1, console: Console | None = None) -> None:
    """Render `count` scenes, those of seeds first_seed, first_seed + 1, ...; the same rows with any number of workers.

    UserError: the folder holds other seeds, or scenes of another world.
    """
    from concurrent.futures import ProcessPoolExecutor

    from rich.progress import track

    from factory.starter.world.actions import ACTIONS

    names = list(ACTIONS)
    with (
        Filling(directory, count, first_seed=first_seed, world=world()) as rows,
        ProcessPoolExecutor(workers, initializer=_open_world) as pool,
    ):
        seeds = range(first_seed + rows.done, first_seed + count)
        for s in track(pool.map(_render, seeds, chunksize=16), "rendering", len(seeds), console=console):
            bodies = {"pose": s.pose, "betas": s.betas, "transl": s.transl}
            filled = {name: np.pad(value, ((0, PEOPLE - len(value)), (0, 0))) for name, value in bodies.items()}
            action, hard = names.index(s.action), ACTIONS[s.action].hard
            rows.add(
                s.prompt, images=s.image, instances=s.instances, count=len(s.pose), **filled,
                K=s.K, action=action, hard=hard, depth=s.latent_depth,
            )  # fmt: skip


def _claim(file: Path, scenes: dict[str, int | str]) -> None:
    """Write which scenes the folder is for, or check that it is for these."""
    wanted, held = json.dumps(scenes, sort_keys=True), ""
    if file.exists():
        held = json.dumps(json.loads(file.read_text()), sort_keys=True)
    elif file.with_name("prompts.jsonl").exists():
        held = "scenes of seeds that nobody noted"
    if held and held != wanted:
        raise UserError(f"cache {file.parent}: holds {held}, not {wanted}; take another folder")
    file.write_text(wanted + "\n")


def world() -> str:
    """Which world the scenes are drawn of: a hash of its code."""
    code = b"".join(path.read_bytes() for path in sorted((Path(__file__).parent / "world").glob("*.py")))
    return hashlib.blake2b(code, digest_size=8).hexdigest()


def first_seed(directory: str | Path) -> int:
    """Of a cache; 0 for one of before seeds were noted."""
    file = Path(directory) / "seeds.json"
    return json.loads(file.read_text())["first_seed"] if file.exists() else 0


def held_out(directory: str | Path) -> bool:
    """Whether a cache is known to hold seeds from HELD_OUT on, which no training reads."""
    return first_seed(directory) >= HELD_OUT


def complete(directory: str | Path) -> bool:
    """Whether a build has come to its end there. A cache of before seeds were noted is taken as it is."""
    file, prompts = Path(directory) / "seeds.json", Path(directory) / "prompts.jsonl"
    if not prompts.exists():
        return False
    with prompts.open("rb") as lines:
        return not file.exists() or sum(1 for _ in lines) >= json.loads(file.read_text())["count"]


def _open_world() -> None:
    """Each worker keeps one world and one thread."""
    import torch

    from factory.starter.world.scene import World

    global _world
    torch.set_num_threads(1)
    _world = World()


def _render(seed: int) -> Sample:
    return _world.sample(seed)


def load(*directories: str | Path) -> Cache:
    """The rows that are there so far, of one cache after the other; they may still be being built."""
    prompts, arrays = list[str](), []
    for directory in map(Path, directories):
        lines = (directory / "prompts.jsonl").read_text().splitlines()
        prompts += map(json.loads, lines)
        arrays.append({name: np.load(directory / f"{name}.npy", mmap_mode="r")[: len(lines)] for name in ROWS})
    if len(arrays) == 1:  # stays on the disk
        return Cache(**arrays[0], prompts=prompts)
    return Cache(**{name: np.concatenate([some[name] for some in arrays]) for name in ROWS}, prompts=prompts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; default: one a core")
    args = parser.parse_args()
    build(args.out, args.first_seed, args.count, args.workers)


if __name__ == "__main__":
    main()
