"""How a family of pipelines is guided, read from the signature of its call and the configs of its networks.

A job names guidance_scale and negative_prompt. Families of diffusers take these under different names, or not at all,
and most ignore in silence an argument that has no effect on them.
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
    """How a job's guidance_scale and negative_prompt enter the call of a pipeline.

    pipeline: name of its class; call: names of the call's arguments.
    parameter: the argument of the call that takes guidance_scale; None: none has an effect on this model.
    contrast: whether guidance is classifier-free: each step also predicts for the negative prompt and moves away from
    that prediction, once the scale exceeds `off`. Otherwise the scale is an input of a guidance-distilled network, or
    has no effect.
    """

    pipeline: str
    call: frozenset[str]
    parameter: str | None
    contrast: bool
    off: float = 1.0

    def contrasts(self, scale: float) -> bool:
        """Whether a step also predicts for the negative prompt at this scale."""
        return self.contrast and scale > self.off

    def check(self, scale: float, negative_prompt: str, label: str = "") -> None:
        """UserError where the scale or the negative prompt would have no effect. A scale of up to 1 asks for no
        guidance. label: the dotted field that holds both, for messages."""
        at = f"{label}." if label else ""
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
        """The keyword arguments of the call that carry the scale."""
        arguments: dict[str, Any] = {} if self.parameter is None else {self.parameter: scale}
        if "guidance_schedule" in self.call:
            arguments["guidance_schedule"] = None  # a scale for each step, which excludes one scale for all
        return arguments


def guidance(kind: type, pipeline: Mapping[str, Any], network: Mapping[str, Any]) -> Guidance:
    """The guidance of a class of pipelines. pipeline: its config (model_index.json); network: the config of its UNet or
    transformer."""
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
    """Whether the pipeline does classifier-free guidance at this scale. Its own property is asked, which looks at the
    config (is_distilled) and at the network."""
    config = SimpleNamespace(config=_Config(network))
    asked = SimpleNamespace(_guidance_scale=scale, config=_Config(pipeline), unet=config, transformer=config)
    return bool(kind.do_classifier_free_guidance.fget(asked))


class _Config(dict[str, Any]):
    """A config whose missing entries are None."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name)
