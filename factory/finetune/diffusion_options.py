"""The options of `factory finetune diffusion`: those of every training, and what the fine-tuning of a diffusion model
needs beside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from factory.errors import UserError
from factory.training.options import TrainingOptions

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
BLOCKS = (*ATTENTION, "conv1", "conv2", "conv_shortcut", "time_emb_proj", "proj_in", "proj_out", "net.0.proj", "net.2")
# Not conv_in: its width tells a depth model from a text model, and without it one file may fit both.
LAYERS = {"attention": ATTENTION, "blocks": BLOCKS, "all": (*BLOCKS, "conv", "conv_out")}


@dataclass(frozen=True, kw_only=True)
class DiffusionOptions(TrainingOptions):
    """Without `minutes` and `steps` the budget is `epochs` times the images. UserError: a value out of its range."""

    model: Annotated[
        str,
        Argument(
            metavar="MODEL",
            help="The text-to-image or depth-to-image model: a diffusers folder, a hub id, or starter:text-to-image.",
            show_default=False,
        ),
    ]
    images: Annotated[
        str,
        Option(
            metavar="DATA",
            help="The domain's images: a folder, a list (.txt) of paths and actions, tars (.tar), smart:DIR, "
            "skipose:DIR, or a data set of ours; for a depth-to-image model one with initial images and depth.",
        ),
    ]
    out: Annotated[
        Path, Option(help="Folder of the checkpoint, figures.json and samples.png. The same command resumes there.")
    ] = Path("out/finetune/diffusion")
    export: Annotated[Path, Option(help="Folder of the LoRA: what a job names as `adapter`.")] = Path(
        "out/finetune/adapter"
    )
    epochs: Annotated[
        float, Option(help="Budget in passes over the images, as the paper counts it; --steps or --minutes replace it.")
    ] = 10
    minutes: Annotated[
        float | None, Option(help="Budget in minutes of training, over all resumed runs.", show_default=False)
    ] = None
    batch: Annotated[int, Option(min=1, help="Images of one step.")] = 4
    rate: Annotated[float, Option(help="Peak of the learning rate.")] = 1e-4
    where: Annotated[
        str | None, Option(metavar="CONDITION", help='Samples of a data set: --where "score > 30".', show_default=False)
    ] = None
    limit: Annotated[int | None, Option(min=1, help="At most so many images, evenly spread.", show_default=False)] = (
        None
    )
    prompts: Annotated[
        str,
        Option(metavar="SET", help="Prompt set of the captions: a name or a .yaml. Actions come with the images."),
    ] = "finetune"
    action: Annotated[str, Option(help="The action of images that come without one.", show_default=False)] = ""
    size: Annotated[int | None, Option(min=8, help="Side of the images, px.", show_default="the model's own")] = None
    rank: Annotated[int, Option(min=1, max=1024, help="Rank of each layer's change.")] = 8
    layers: Annotated[
        str,
        Option(
            metavar="attention|blocks|all",
            help="What changes: attention alone; with the convolutions of the blocks, which hold colours and textures; "
            "or all but the first convolution.",
        ),
    ] = "attention"
    no_caption: Annotated[
        float, Option(min=0, max=1, help="Share of the images that are learnt without caption, as guidance needs it.")
    ] = 0.1
    flip: Annotated[bool, Option("--flip/--no-flip", help="Learn mirror images too.")] = True
    preserve: Annotated[
        int,
        Option(
            min=0,
            help="Prior preservation against forgetting: so many images, drawn by the untouched model from "
            "--preserve-prompts, are learnt beside the domain's.",
        ),
    ] = 0
    preserve_weight: Annotated[float, Option(min=0, help="Weight of the loss on them.")] = 1.0
    preserve_prompts: Annotated[str, Option(metavar="SET", help="Prompt set that they are drawn from.")] = "mpii"
    held_out: Annotated[
        float, Option(min=0, max=0.9, help="Share of the images that the loss is measured on, and that are not learnt.")
    ] = 0.1
    revision: Annotated[str | None, Option(help="Of a hub id.", show_default=False)] = None
    variant: Annotated[str | None, Option(help="Of the model's files, such as fp16.", show_default=False)] = None
    save_memory: Annotated[
        bool, Option("--save-memory", help="Compute activations twice: less memory, a third more time.")
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.epochs > 0:
            raise UserError(f"--epochs {self.epochs:g}: give a number above 0")
        if self.layers not in LAYERS:
            raise UserError(f"--layers {self.layers}: there are {', '.join(LAYERS)}")
