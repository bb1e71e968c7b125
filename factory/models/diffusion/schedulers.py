"""The samplers that a job may name in place of the model's own."""

from __future__ import annotations

from typing import Any

from factory.errors import UserError

SCHEDULERS = {  # name in a job -> class of diffusers
    "ddim": "DDIMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lcm": "LCMScheduler",
    "pndm": "PNDMScheduler",
    "unipc": "UniPCMultistepScheduler",
}


def set_scheduler(pipe: Any, name: str | None) -> None:
    """Give the pipeline the sampler that SCHEDULERS names, with the model's own noise schedule; None: leave it the
    model's own. UserError as `check_scheduler`."""
    if name is not None:
        kind = check_scheduler(type(pipe.scheduler), name, type(pipe).__name__)
        pipe.scheduler = kind.from_config(pipe.scheduler.config)


def check_scheduler(own: Any, name: str, pipeline: str) -> Any:
    """The class that SCHEDULERS names. own: the class of the model's scheduler; pipeline: for messages. UserError: the
    model's noise schedule does not fit that class."""
    import diffusers

    kind = getattr(diffusers, SCHEDULERS[name])
    known = (
        {compatible.__name__ for compatible in own._get_compatibles()} if hasattr(own, "_get_compatibles") else set()
    )
    if kind.__name__ not in known:
        fits = ", ".join(short for short, full in SCHEDULERS.items() if full in known) or "only its own: leave it out"
        raise UserError(f"scheduler {name} does not fit this model, a {pipeline}; there are: {fits}")
    return kind
