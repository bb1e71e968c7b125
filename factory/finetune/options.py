"""The options of `factory finetune hmr`. Their help texts are those of the command line, see `training.flags`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from factory.errors import UserError

# Name of each method -> what it trains on beside the real images and their 2D keypoints.
METHODS = {
    "none": "the start is measured and copied",
    "2d": "nothing",
    "spin-ft": "bodies that SMPLify fits to the keypoints",
    "dapa": "renderings of textured bodies in varied poses",
    "controlnet": "images drawn in another way, with bodies",
    "self": "the start's own estimates",
    "ours": "data sets of the factory",
}
METHOD_WORDS = "; ".join(f"{name}: {words}" for name, words in METHODS.items())
WITH_SYNTHETIC = ("controlnet", "ours")
PRIORS = ("vposer-v1", "vposer-v2")
DATA = "a data set, smart:DIR[@SPLIT], skipose:DIR[@SPLIT] or FILE.npz[:IMAGES]"


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """What `finetune_hmr` is told. UserError: a method that is not there, or an option out of range."""

    model: Annotated[
        str,
        Argument(metavar="MODEL", help="SPIN's checkpoint, or a folder with config.json and model.safetensors."),
    ]
    out: Annotated[
        Path,
        Option(help="Folder of the model, the curve and the checkpoint. The same command resumes from the checkpoint."),
    ]
    real: Annotated[
        str | None, Option(metavar="DATA", help=f"Real images with 2D keypoints: {DATA}.", show_default=False)
    ] = None
    method: Annotated[str, Option(metavar="METHOD", help=f"What is learnt beside those keypoints. {METHOD_WORDS}.")] = (
        "2d"
    )
    synthetic: Annotated[
        list[str], Option(metavar="DATA", help=f"Synthetic images with bodies: {DATA}. Repeatable.")
    ] = field(default_factory=list)
    where: Annotated[
        str | None,
        Option(metavar="CONDITION", help="Use synthetic samples that fit, such as 'score > 30'.", show_default=False),
    ] = None
    validation: Annotated[
        str | None,
        Option(
            metavar="DATA", help="What the curve is measured on, and the best weights chosen by.", show_default=False
        ),
    ] = None
    validation_limit: Annotated[
        int | None, Option(min=1, help="At most so many people of --validation.", show_default=False)
    ] = None
    share: Annotated[
        float,
        Option(
            help="Share of the real images, and of the pairs made of them. A smaller share is part of a larger one."
        ),
    ] = 1.0
    mix: Annotated[float, Option(help="Share of synthetic images in each batch, between 0 and 1.")] = 0.5
    body: Annotated[str, Option(help="SMPL's file, or starter:body.")] = "starter:body"
    prior: Annotated[
        str,
        Option(metavar="[KIND=]MODEL", help="VPoser, for spin-ft and dapa: vposer-v1=FOLDER or vposer-v2=FOLDER."),
    ] = "starter:vposer"
    fit_steps: Annotated[int, Option(min=1, help="Steps of each stage of SMPLify, for spin-ft.")] = 100
    steps: Annotated[int, Option(min=1, help="Steps of the training.")] = 600
    every: Annotated[int, Option(min=1, help="Steps between two measurements, each with a checkpoint.")] = 100
    patience: Annotated[
        int | None,
        Option(min=1, help="Stop after so many measurements without a better one.", show_default="never"),
    ] = None
    batch: Annotated[int, Option(min=2, help="Images of one step, of all workers together.")] = 64
    rate: Annotated[float, Option(help="Learning rate of Adam.")] = 1e-4
    seed: Annotated[int, Option(min=0, help="Seed of the share, the batches and the augmentation.")] = 0
    workers: Annotated[
        int, Option(min=1, help="Processes that share each batch, on Ray: one for each GPU. All nodes must see --out.")
    ] = 1
    ray_address: Annotated[
        str | None,
        Option(help="Ray cluster of --workers, such as auto or HOST:6379.", show_default="a local Ray"),
    ] = None
    threads: Annotated[
        int | None, Option(min=1, help="CPU threads of each process.", show_default="PyTorch's choice")
    ] = None
    full_precision: Annotated[
        bool,
        Option("--full-precision", help="Compute in float32 throughout, not in bfloat16 where the hardware is fast."),
    ] = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UserError(f"--method {self.method}: there are {', '.join(METHODS)}")
        if not 0 < self.share <= 1:
            raise UserError(f"--share {self.share:g}: give a number above 0 and up to 1, such as 0.05")
        if not 0 < self.mix < 1:
            raise UserError(f"--mix {self.mix:g}: give a number between 0 and 1, such as 0.5")
        if not self.rate > 0:
            raise UserError(f"--rate {self.rate:g}: give a number above 0")
        kind, named, _ = self.prior.rpartition("=")
        if named and kind not in PRIORS:
            raise UserError(f"--prior {self.prior}: there are {' and '.join(PRIORS)}, such as vposer-v2=FOLDER")
        if self.method in WITH_SYNTHETIC and not self.synthetic:
            raise UserError(f"--method {self.method}: give the synthetic images, --synthetic OUT")
        if self.synthetic and self.method not in WITH_SYNTHETIC:
            raise UserError(f"--synthetic: --method {self.method} takes none; {' and '.join(WITH_SYNTHETIC)} do")
        if self.where and not self.synthetic:
            raise UserError("--where chooses samples of --synthetic; give that too")
        if self.real is None and self.method != "none":
            raise UserError(f"--method {self.method}: give the real images, --real DATA")
        if self.workers > 1 and self.batch % self.workers:
            raise UserError(f"--batch {self.batch} cannot be divided among {self.workers} workers; give a multiple")
