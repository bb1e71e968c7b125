"""Fine-tuned weights over a diffusion model (guidance D): LoRA, or attention processors of custom diffusion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.models.locate import locate
from factory.models.pickles import load_checkpoint

FILES = [
    f"pytorch_{kind}_weights.{end}" for end in ("safetensors", "bin") for kind in ("lora", "custom_diffusion")
]  # as diffusers' training scripts save them


def add_adapter(pipe: Any, model: str, scale: float = 1.0) -> None:
    """Lay the weights of a file, or of a folder or hub id with one of FILES, over the pipeline's; LoRA times scale.

    UserError when they are missing, damaged, or fit no layer of this model.
    """
    path = _find(model)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            state = load_file(path)
        except Exception as error:  # safetensors' own, and OSError
            raise UserError(f"adapter {path} is damaged ({error}); fetch it again") from error
    else:
        state = dict(load_checkpoint(path, "adapter"))
    network = "transformer" if getattr(pipe, "unet", None) is None else "unet"
    if any("custom_diffusion" in name for name in state):
        _attention_processors(pipe, path, state)
        return
    if not any("lora" in name.lower() for name in state):
        raise UserError(f"adapter {path} holds neither LoRA nor attention processors: first {min(state, default='-')}")
    _lora(pipe, path, {_named(name, network): value for name, value in state.items()}, scale)


def _lora(pipe: Any, path: Path, state: dict[str, Any], scale: float) -> None:
    try:
        import peft  # noqa: F401  # diffusers needs it for LoRA
    except ImportError:
        raise UserError("adapter: LoRA needs the package peft: pip install -c constraints.txt peft") from None
    try:
        pipe.load_lora_weights(state, adapter_name="job")
    except Exception as error:  # a layer of another shape raises in peft, in torch or in diffusers
        words = " ".join((str(error).splitlines() or [""])[-1].split())
        raise UserError(f"adapter {path} does not fit this model ({words}); was it trained on another?") from error
    if not pipe.get_active_adapters():
        raise UserError(f"adapter {path} fits no layer of this model; was it trained on another?")
    pipe.set_adapters("job", scale)
    pipe.fuse_lora()  # into the weights: no cost per step


def _attention_processors(pipe: Any, path: Path, state: dict[str, Any]) -> None:
    unet = getattr(pipe, "unet", None)
    if unet is None:
        raise UserError(f"adapter {path} holds attention processors of a UNet; a {type(pipe).__name__} has none")
    layers, state = dict(unet.named_parameters()), {name: value for name, value in state.items() if len(value)}
    for name, value in state.items():
        layer = layers.get(name.replace(".processor.", ".").replace("_custom_diffusion", ""))
        if layer is None or layer.shape != value.shape:  # diffusers would find out when it draws
            raise UserError(f"adapter {path} does not fit this model ({name}); was it trained on another?")
    untouched = {name for name in unet.attn_processors if not any(key.startswith(f"{name}.") for key in state)}
    try:
        unet.load_attn_procs({**state, **{name: {} for name in untouched}}, _pipeline=pipe)  # some files leave them out
    except Exception as error:  # as above
        words = " ".join((str(error).splitlines() or [""])[-1].split())
        raise UserError(f"adapter {path} does not fit this model ({words}); was it trained on another?") from error


def _named(name: str, network: str) -> str:
    """Files of attention processors alone leave out which network they belong to."""
    return f"{network}.{name}" if ".processor." in name and not name.startswith((network, "text_encoder")) else name


def _find(model: str) -> Path:
    path = locate(model)
    if path is None:
        from huggingface_hub import hf_hub_download

        for name in FILES:
            try:
                return Path(hf_hub_download(model, name))
            except Exception:  # absent under this name, or the hub is out of reach
                continue
        raise UserError(f"adapter {model}: the hub gives none of {', '.join(FILES)}; fetch it and give the file")
    if path.is_dir():
        found = next((path / name for name in FILES if (path / name).is_file()), None)
        if found is None:
            raise UserError(f"adapter {model}: none of {', '.join(FILES)} in it; give the file itself")
        return found
    return path
