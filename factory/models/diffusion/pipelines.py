"""Diffusers' pipelines, loaded from folders or hub ids: whole or not at all, without running code or pickles of
strangers.

Every network is loaded by itself, so that an error names its folder.
"""

from __future__ import annotations

from typing import Any

import torch

from factory.errors import UserError, first_line
from factory.models.device import quiet_diffusers
from factory.models.diffusion.layout import UNUSED, Layout
from factory.weights.folders import choose_variant
from factory.weights.networks import load_network


def load_pipeline(pipeline: Any, layout: Layout, dtype: str, variant: str | None = None, **parts: Any) -> Any:
    """The pipeline of a model. pipeline: its class in diffusers; dtype: a name of torch's; variant: of the model's
    files; parts: networks that the model itself does not hold.

    UserError when the model is missing, incomplete, damaged or of another kind. Nothing in it is run.
    """
    quiet_diffusers()
    from diffusers import ModelMixin
    from transformers import PreTrainedModel

    model, folder, index = layout.model, layout.folder, layout.index
    options = {"revision": layout.revision, "local_files_only": folder is not None}
    source = str(folder or model)
    absent: dict[str, Any] = {name: None for name in UNUSED if name in index}
    if "safety_checker" in index:
        absent["requires_safety_checker"] = False
    variants = set()
    for name, value in index.items():
        if isinstance(value, list) and value[0] and name not in absent and name not in parts:
            kind = layout.known(name, *value)
            if issubclass(kind, ModelMixin | PreTrainedModel):  # not a tokenizer or a scheduler
                width = {"dtype" if issubclass(kind, PreTrainedModel) else "torch_dtype": getattr(torch, dtype)}
                label = f"diffusion model {model}, folder {name}"
                chosen = choose_variant(folder / name, label, variant) if folder is not None else variant
                variants.add(chosen)
                parts[name] = load_network(kind, label, source, subfolder=name, variant=chosen, **width, **options)
    if variant and variants == {None}:
        raise UserError(f"diffusion model {model} has only plain files, none of variant {variant}; leave variant out")
    try:
        rules = {**options, "use_safetensors": True, "variant": variant if folder is None else None}
        pipe = pipeline.from_pretrained(source, dtype=getattr(torch, dtype), **rules, **absent, **parts)
    except Exception as error:  # diffusers, transformers and the hub have dozens
        raise UserError(f"diffusion model {model} does not load: {first_line(error)}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def place_on(pipe: Any, device: torch.device, save_memory: str) -> Any:
    """The pipeline on the device. save_memory `slices`: attention heads and images are computed one by one; `offload`:
    each network is on the GPU only while it works. UserError for `offload` without a GPU."""
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
