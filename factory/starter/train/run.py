"""Train the models of the pack one after the other; what `factory starter train` does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from factory.errors import UserError
from factory.present.terminal import open_console
from factory.starter import cache
from factory.starter.pack import WEIGHTS
from factory.store.contents import digest

# On two cores; the order counts.
MINUTES = {"vae": 30, "diffusion": 120, "adapter": 10, "hmr": 120, "detector": 60, "vposer": 10}
FOLDER = {"vae": "text-to-image/vae", "diffusion": "."}  # in a pack; the others are called as they are


@dataclass(frozen=True)
class Options:
    """The flags of `factory starter train`; 0 stands for a model's own, but for redrawn: the share of the scenes that
    diffusion redraws for hmr."""

    cache: Path
    out: Path
    export: Path
    scenes: int = 20_000
    redrawn: float = 0.2
    start: bool = False
    minutes: float = 0
    steps: int = 0
    every: int = 500
    batch: int = 0
    rate: float = 0
    seed: int = 0
    threads: int = 0
    workers: int = 0


def run(models: list[str], options: Options) -> None:
    """Train `models`, or all, each from its checkpoint where it has one. UserError: unknown model, held-out scenes."""
    if strange := [name for name in models if name not in MINUTES]:
        raise UserError(f"model {strange[0]}: there are {', '.join(MINUTES)}")
    chosen = [name for name in MINUTES if name in models or not models]
    if chosen != ["vposer"]:
        if cache.held_out(options.cache):
            raise UserError(f"cache {options.cache}: holds the scenes that figures are measured on; train on others")
        if not cache.complete(options.cache):
            workers = options.workers or os.cpu_count() or 1
            cache.build(options.cache, 0, options.scenes, workers, open_console(stderr=True))
    for name in chosen:
        if name == "hmr" and options.redrawn:
            _redraw(options)
        import_module(f"factory.starter.train.{name}").main(arguments(name, options))


def arguments(name: str, o: Options) -> list[str]:
    """The training script's own command line."""
    out = o.out / name
    pairs: dict[str, object] = {"out": out, "export": _export(name, o), "every": o.every, "seed": o.seed}
    pairs |= {"threads": o.threads} | ({"batch": o.batch} if o.batch else {}) | ({"rate": o.rate} if o.rate else {})
    pairs |= {"steps": o.steps} if o.steps else {"minutes": o.minutes or MINUTES[name]}
    if name != "vposer":
        pairs["cache"] = o.cache
    if name == "diffusion":
        trained = _export("vae", o)
        pairs["vae"] = trained if trained.exists() else WEIGHTS / FOLDER["vae"]
    if name == "adapter":
        pairs["base"] = _base(o)
    if name == "hmr" and o.redrawn:
        pairs["redrawn"] = _redrawn(o)
    if o.start:
        pairs["start"] = WEIGHTS / FOLDER.get(name, name)
    return [text for key, value in pairs.items() for text in (f"--{key}", str(value))]


def _redraw(o: Options) -> None:
    """An estimator meets what diffusion draws: some of its scenes are."""
    from factory.starter.redraw import redraw

    count = max(1, int(o.redrawn * len(cache.load(o.cache))))
    redraw(o.cache, _base(o), _redrawn(o), count, console=open_console(stderr=True))


def _redrawn(o: Options) -> Path:
    """Named after the diffusion models: when those are trained anew, scenes are redrawn anew."""
    return o.out / f"redrawn-{digest(_base(o) / 'depth-to-image')[:8]}"


def _base(o: Options) -> Path:
    """The diffusion models trained beside, or the pack's."""
    trained = _export("diffusion", o)
    return trained if (trained / "depth-to-image").exists() else WEIGHTS


def _export(name: str, o: Options) -> Path:
    """The autoencoder's is kept apart: the diffusion models' export brings it into the pack."""
    return o.out / "vae" / "model" if name == "vae" else o.export / FOLDER.get(name, name)
