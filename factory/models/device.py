"""Where a stage computes, and how quietly."""

from __future__ import annotations

import torch

from factory.errors import UserError


def pick(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:N` -> device. UserError when there is no such GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserError(f"device {name}: this process sees {torch.cuda.device_count()} GPUs; set device: auto")
        torch.backends.cudnn.deterministic = True  # the same bytes on the same hardware
    return device


def quiet() -> None:
    """No progress bars and no advice from the model libraries: before importing their models."""
    import transformers.utils.logging

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def quiet_diffusers() -> None:
    import diffusers.utils.logging

    quiet()
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
