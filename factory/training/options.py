"""The options of every training. Their help texts are those of the command line, see `flags`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from factory.errors import UserError


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What every training is told. `batch` and `rate` are None where the training takes its model's own.

    UserError: a budget or a rate that is not above 0.
    """

    out: Annotated[
        Path, Option(help="Folder of the checkpoint and of samples.png. The same command resumes from the checkpoint.")
    ]
    export: Annotated[Path, Option(help="Folder that the model is written to at each checkpoint.")]
    minutes: Annotated[
        float | None,
        Option(help="Budget in minutes of training, over all resumed runs.", show_default="the model's own"),
    ] = None
    steps: Annotated[
        int | None, Option(min=1, help="Budget in steps; it takes the place of --minutes.", show_default=False)
    ] = None
    every: Annotated[int, Option(min=1, help="Steps between two checkpoints.")] = 500
    batch: Annotated[int | None, Option(min=1, help="Samples of one step.", show_default="the model's own")] = None
    rate: Annotated[float | None, Option(help="Peak of the learning rate.", show_default="the model's own")] = None
    seed: Annotated[int, Option(min=0, help="Seed of the initial weights, the batches and the noise.")] = 0
    threads: Annotated[
        int | None, Option(min=1, help="CPU threads of this process.", show_default="PyTorch's choice")
    ] = None
    full_precision: Annotated[
        bool,
        Option("--full-precision", help="Compute in float32 throughout, not in bfloat16 where the hardware is fast."),
    ] = False

    def __post_init__(self) -> None:
        for name in ("minutes", "rate"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise UserError(f"--{name} {value:g}: give a number above 0, or leave it out")
