"""How a family of pipelines is guided, read from the signature of its call and the configs of its networks.

A job names guidance_scale and negative_prompt. Families of diffusers take them under different names, or not at all,
and most ignore in silence what has no effect on them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from factory.errors import UserError


@dataclass(frozen=True)
class Guidance:
    """What becomes of a job's guidance_scale and negative_prompt in the call of a pipeline.

    parameter: the argument of the call that takes guidance_scale; None: nothing in this model does.
    contrast: classifier-free guidance. Each step also predicts for the negative prompt and moves away from it, once the
    scale exceeds `off`. Otherwise the scale is an input of a guidance-distilled network, or has no effect.
    """

    pipeline: str
    call: frozenset[str]
    parameter: str | None
    contrast: bool
    off: float = 1.0

    def contrasts(self, scale: float) -> bool:
        return self.contrast and scale > self.off

    def check(self, scale: float, negative_prompt: str, where: str = "") -> None:
        """UserError, which names the field below `where`, for what would have no effect. Up to 1, a scale asks for no
        guidance."""
        at = f"{where}." if where else ""
        if self.parameter is None and scale > 1:
            says = f"this {self.pipeline} takes no guidance (the model was distilled to draw without)"
            raise UserError(f"{at}guidance_scale: {says}, so {scale:g} would have no effect; set it to 1")
        if not negative_prompt or (self.contrasts(scale) and "negative_prompt" in self.call):
            return
        if self.contrast and "negative_prompt" in self.call:
            says = f"it has no effect with a guidance_scale of {self.off:g} or less; raise that, or set it to ''"
        else:
            says = f"{self.pipeline} takes none, so it would have no effect; set it to ''"
        raise UserError(f"{at}negative_prompt: {says}")

    def arguments(self, scale: float) -> dict[str, Any]:
        """Keyword arguments of the call."""
        arguments: dict[str, Any] = {} if self.parameter is None else {self.parameter: scale}
        if "guidance_schedule" in self.call:
            arguments["guidance_schedule"] = None  # the scale step by step: it excludes the other
        return arguments


def guidance(kind: type, pipeline: Mapping[str, Any], network: Mapping[str, Any]) -> Guidance:
    """Of a class of pipelines; pipeline, network: the configs of the pipeline (its model_index.json) and of its UNet
    or transformer."""
    parameters = inspect.signature(kind.__call__).parameters
    name = next((name for name in ("guidance_scale", "prior_guidance_scale") if name in parameters), None)
    parameter, contrast, off = name, True, 1.0
    if name and (
        network.get("guidance_embeds") or network.get("time_cond_proj_dim")
    ):  # the scale is an input: FLUX, LCM
        contrast = False
    elif "true_cfg_scale" in parameters:
        if name and parameters[name].default is not None:
            parameter, contrast = None, False  # FLUX without an embedding of its guidance: schnell
        else:
            parameter = "true_cfg_scale"  # Qwen-Image
    elif hasattr(kind, "do_classifier_free_guidance"):
        if not _contrasts(kind, pipeline, network, 7.5):
            parameter, contrast = None, False
        elif _contrasts(kind, pipeline, network, 1.0):
            off = 0.0
    elif "negative_prompt" not in parameters and network.get("guidance_embeds") is False:
        parameter = None
    contrast &= parameter is not None
    return Guidance(kind.__name__, frozenset(parameters), parameter, contrast, off)


def _contrasts(kind: Any, pipeline: Mapping[str, Any], network: Mapping[str, Any], scale: float) -> bool:
    """What the pipeline itself answers, which knows of its config (is_distilled) and of its network."""
    config = SimpleNamespace(config=_Config(network))
    asked = SimpleNamespace(_guidance_scale=scale, config=_Config(pipeline), unet=config, transformer=config)
    return bool(kind.do_classifier_free_guidance.fget(asked))


class _Config(dict):
    """A config whose missing entries are None."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name)
