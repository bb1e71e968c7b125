"""The options of `factory starter train`: those of every training, and what the starter's six models need beside."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from factory.training.options import TrainingOptions


@dataclass(frozen=True, kw_only=True)
class StarterOptions(TrainingOptions):
    """`out` and `export` hold a folder for each model here; `minutes`, `steps`, `batch` and `rate` go to each model."""

    models: Annotated[
        list[str],
        Argument(
            metavar="[MODEL]...",
            help="vae, diffusion, hmr, base, detector, vposer; none: all.",
            show_default=False,
        ),
    ] = field(default_factory=list)
    cache: Annotated[Path, Option(help="The rendered world. A missing cache is rendered, one cut short completed.")] = (
        Path("out/starter/cache")
    )
    scenes: Annotated[int, Option(min=1, help="Scenes that a missing cache is rendered with.")] = 20_000
    redrawn: Annotated[
        float, Option(min=0, max=1, help="Share of the scenes that the diffusion model redraws for hmr.")
    ] = 0.2
    start: Annotated[bool, Option("--start", help="Start from the embedded pack, not from random weights.")] = False
    workers: Annotated[int | None, Option(min=1, help="Processes that render.", show_default="one for each core")] = (
        None
    )
    out: Annotated[Path, Option(help="Checkpoints and samples.png, in a folder for each model.")] = Path(
        "out/starter/train"
    )
    export: Annotated[Path, Option(help="The models, laid out as factory/starter/weights.")] = Path(
        "out/starter/weights"
    )
