"""The device that a stage computes on, and how much the model libraries print."""

from __future__ import annotations

import torch

from factory.errors import UserError


def pick(name: str) -> torch.device:
    """The device that a job names `auto`, `cpu`, `cuda` or `cuda:N`. UserError when there is no such GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserError(f"device {name}: this process sees {torch.cuda.device_count()} GPUs; set device: auto")
        torch.backends.cudnn.deterministic = True  # so that the same hardware gives the same bytes
    return device


def quiet() -> None:
    """Turn off the progress bars and advice of transformers. Call it before its models are imported."""
    import transformers.utils.logging

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def quiet_diffusers() -> None:
    """As `quiet`, for diffusers too."""
    import diffusers.utils.logging

    quiet()
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
