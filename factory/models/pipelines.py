"""Diffusers' pipelines from folders or hub ids: whole or not at all, without code or pickles of strangers.

diffusers fills a layer that a file lacks with random numbers and warns. Here every network is loaded by itself and what
its file lacks is an error that names the file.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch

from factory.errors import UserError
from factory.models.device import quiet_diffusers
from factory.models.locate import locate

LIBRARIES = ("diffusers", "transformers")  # that a model folder may name classes of
UNUSED = ("safety_checker", "feature_extractor", "depth_estimator", "image_encoder")  # parts no stage needs
SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lcm": "LCMScheduler",
    "pndm": "PNDMScheduler",
    "unipc": "UniPCMultistepScheduler",
}


def load_pipeline(
    pipeline: Any, model: str, dtype: str, revision: str | None = None, variant: str | None = None, **parts: Any
) -> Any:
    """pipeline: a class of diffusers, or one of its AutoPipelines; parts: networks that the folder does not hold.

    UserError when model is missing, incomplete, damaged or of another kind. Nothing in it is run.
    """
    quiet_diffusers()
    folder = locate(model)
    options = {
        "revision": revision,
        "variant": variant,
        "use_safetensors": True,
        "local_files_only": folder is not None,
    }
    source = str(folder or model)
    index = _index(folder, model, revision)
    absent: dict[str, Any] = {name: None for name in UNUSED if name in index}
    if "safety_checker" in index:
        absent["requires_safety_checker"] = False
    for name, value in index.items():
        if isinstance(value, list) and value[0] and name not in absent and name not in parts:
            network = load_network(_class(model, name, *value), model, name, source, dtype, **options)
            if network is not None:
                parts[name] = network
    try:
        pipe = pipeline.from_pretrained(source, dtype=getattr(torch, dtype), **options, **absent, **parts)
    except Exception as error:  # diffusers, transformers and the hub have dozens
        raise UserError(f"diffusion model {model} does not load: {_last(error)}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def load_network(kind: Any, model: str, name: str, source: str, dtype: str, **options: Any) -> Any:
    """One network of a pipeline, from its own folder `name` (none: from `source` itself); None for a kind without
    weights. UserError when its file lacks layers, has others, or does not open."""
    from diffusers import ModelMixin
    from transformers import PreTrainedModel

    if not issubclass(kind, ModelMixin | PreTrainedModel):
        return None
    where = f"diffusion model {model}" + f", folder {name}" * bool(name)
    width = "dtype" if issubclass(kind, PreTrainedModel) else "torch_dtype"
    options |= {width: getattr(torch, dtype), "output_loading_info": True, **({"subfolder": name} if name else {})}
    try:
        network, info = kind.from_pretrained(source, **options)
    except Exception as error:  # as above
        raise UserError(f"{where}: does not load as {kind.__name__} ({_last(error)}); fetch it again") from error
    missing, other = sorted(info.get("missing_keys", ())), sorted(info.get("mismatched_keys", ()))
    if missing or other:
        words = f"lacks {len(missing)} layers, first {missing[0]}" if missing else f"has another shape of {other[0]}"
        raise UserError(f"{where}: its file {words}; fetch it again")
    return network


def set_scheduler(pipe: Any, name: str | None) -> None:
    """Another sampler with the model's own noise schedule; None: the model's own."""
    import diffusers

    if name is None:
        return
    kind = getattr(diffusers, SCHEDULERS[name])
    known = {compatible.__name__ for compatible in pipe.scheduler.compatibles}
    if kind.__name__ not in known:
        fits = ", ".join(short for short, full in SCHEDULERS.items() if full in known) or "only its own: leave it out"
        raise UserError(f"scheduler {name} does not fit this model, a {type(pipe).__name__}; there are: {fits}")
    pipe.scheduler = kind.from_config(pipe.scheduler.config)


def place(pipe: Any, device: torch.device, save_memory: str) -> Any:
    """To the device. save_memory `slices`: attention and images one by one; `offload`: each network on the GPU only
    while it works."""
    if save_memory == "offload":
        if device.type != "cuda":
            raise UserError("save_memory: offload moves networks to a GPU and back; there is none, leave it out")
        pipe.enable_model_cpu_offload(device=device)
        return pipe
    if save_memory == "slices":
        pipe.enable_attention_slicing()
        if hasattr(pipe.vae, "enable_slicing"):
            pipe.vae.enable_slicing()
    return pipe.to(device)


def _index(folder: Path | None, model: str, revision: str | None) -> dict[str, Any]:
    """What model_index.json names; classes of LIBRARIES only."""
    if folder is None:
        from diffusers import DiffusionPipeline

        try:
            index = dict(DiffusionPipeline.load_config(model, revision=revision))
        except Exception as error:  # offline, gated, absent: the hub has exceptions for each
            raise UserError(f"diffusion model {model}: neither here nor on the hub ({_last(error)})") from error
    else:
        file = folder / "model_index.json"
        if not file.is_file():
            raise UserError(f"diffusion model {model}: no model_index.json; give a diffusers folder")
        try:
            index = json.loads(file.read_text())
        except ValueError as error:
            raise UserError(f"{file} is damaged ({error}); fetch it again") from error
    named = {str(value[0]) for value in index.values() if isinstance(value, list) and value[0]}
    strange = named - {*LIBRARIES, "stable_diffusion"}  # the last one is where old safety checkers live
    if strange:
        raise UserError(f"diffusion model {model}: names classes of {', '.join(sorted(strange))}; not run")
    return index


def _class(model: str, name: str, library: str, kind: str) -> Any:
    found = getattr(importlib.import_module(library), kind, None) if library in LIBRARIES else None
    if found is None:
        raise UserError(f"diffusion model {model}: {name} is a {library} {kind}, which is not known here; update it")
    return found


def _last(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
