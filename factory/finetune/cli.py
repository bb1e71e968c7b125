"""`factory finetune`: pretrained models, trained further on a domain."""

from __future__ import annotations

import typer

from factory.finetune.diffusion_cli import diffusion
from factory.finetune.options import FinetuneOptions
from factory.training.flags import from_fields

app = typer.Typer(
    help="Train pretrained models further on the images of a domain.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command()
@from_fields
def hmr(options: FinetuneOptions) -> None:
    """Train an estimator of bodies on real images with 2D keypoints and on synthetic images with bodies.

    The same command resumes a training that was stopped.
    """
    from factory.errors import UserError

    raise UserError("factory finetune hmr: not built yet")


app.command()(from_fields(diffusion))
