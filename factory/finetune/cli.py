"""`factory finetune`: pretrained models, trained further on a domain."""

from __future__ import annotations

import typer

from factory.finetune.diffusion_cli import diffusion
from factory.finetune.options import FinetuneOptions
from factory.training.flags import from_fields

finetune = typer.Typer(
    help="Train pretrained models further on the images of a domain.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@finetune.command()
@from_fields
def hmr(options: FinetuneOptions) -> None:
    """Train an estimator of bodies on real images with 2D keypoints and on synthetic images with bodies.

    The same command resumes a training that was stopped.
    """
    from factory.finetune.hmr import finetune_hmr
    from factory.present.terminal import open_console, say

    result, console = finetune_hmr(options), open_console()
    say(console, f"{result.model}: the weights after step {result.best_step:,} of {result.steps:,}")


finetune.command()(from_fields(diffusion))
