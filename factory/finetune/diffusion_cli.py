"""`factory finetune diffusion`."""

from __future__ import annotations

from factory.finetune.diffusion_options import DiffusionOptions


def diffusion(options: DiffusionOptions) -> None:
    """Train a LoRA of a text-to-image or depth-to-image model on a domain's images (guidance D).

    It ends with the loss on held-out images, with the adapter and without it. The same command resumes a training that
    was stopped. What it writes to --export is what a job names as `adapter`.
    """
    from factory.finetune.diffusion import finetune_diffusion

    finetune_diffusion(options)
