"""Fine-tuned weights laid over a diffusion model (guidance D): a LoRA, or the attention processors of custom
diffusion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.models.diffusion.layout import WIDTHS
from factory.weights.catalogue import PEFT
from factory.weights.files import check_file
from factory.weights.hub import fetched
from factory.weights.locate import locate
from factory.weights.pickles import load_checkpoint

FILES = tuple(  # as diffusers' training scripts call them
    f"pytorch_{kind}_weights.{end}" for end in ("safetensors", "bin") for kind in ("lora", "custom_diffusion")
)
# Ends of the names of one matrix of each pair of a LoRA.
INWARD = (".down.weight", ".lora_A.weight", ".lora_down.weight")


def add_adapter(pipe: Any, model: str, scale: float = 1.0) -> None:
    """Lay the weights of an adapter over those of the pipeline, a LoRA's times `scale`. model: a file, or a folder or
    hub id with one of FILES.

    UserError when the weights are missing, damaged, of another family, or fit no layer of this model.
    """
    path = find_adapter(model)
    check_file(path, f"adapter {model}")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            state = load_file(path)
        except Exception as error:  # safetensors' own, and OSError
            raise UserError(f"adapter {path} is damaged ({error}); fetch it again") from error
    else:
        state = dict(load_checkpoint(path, "adapter"))
    unet = getattr(pipe, "unet", None)
    shapes = {name: list(value.shape) for name, value in state.items() if hasattr(value, "shape")}
    require_family(path, shapes, unet.config if unet is not None else {})
    if any("custom_diffusion" in name for name in state):
        _attention_processors(pipe, path, state)
        return
    network = "transformer" if unet is None else "unet"
    _lora(pipe, path, {_named(name, network): value for name, value in state.items()}, scale)


def require_family(path: Path, shapes: Mapping[str, list[int]], unet: Mapping[str, Any]) -> None:
    """UserError: the file holds neither LoRA nor attention processors, or is of another family than the model's UNet.
    shapes: name -> shape of the file's tensors; unet: the UNet's config, empty where the model has a transformer."""
    if not any("lora" in name.lower() or "custom_diffusion" in name for name in shapes):
        raise UserError(f"adapter {path} holds neither LoRA nor attention processors: first {min(shapes, default='-')}")
    theirs = _family(shapes)
    width = unet.get("cross_attention_dim")
    ours = WIDTHS.get(width) if isinstance(width, int) else None if unet else "a transformer"
    if theirs and ours and theirs != ours:
        raise UserError(f"adapter {path} is of {theirs}, the model of {ours}; take one that was trained on this model")


def _family(shapes: Mapping[str, list[int]]) -> str | None:
    """The family that the file's layers belong to, by their names and by the width of the text's code that they take;
    None where neither tells."""
    for name, shape in shapes.items():
        if name.startswith("transformer.") or "double_blocks" in name or "joint_blocks" in name:
            return "a transformer"
        if "attn2" in name and ("to_k" in name or "to_v" in name) and len(shape) == 2:
            inward = any(word in name for word in (".down.", "lora_A", "lora_down", "custom_diffusion"))
            if inward and shape[1] in WIDTHS:
                return WIDTHS[shape[1]]
    return None


def _lora(pipe: Any, path: Path, state: dict[str, Any], scale: float) -> None:
    try:
        import peft  # noqa: F401  # diffusers needs it for LoRA
    except ImportError:
        raise UserError(f"adapter: peft is not installed; {PEFT.install}") from None
    try:
        pipe.load_lora_weights(state, adapter_name="job")
    except Exception as error:  # a layer of another shape raises in peft, in torch or in diffusers
        words = " ".join((str(error).splitlines() or [""])[-1].split())
        raise UserError(f"adapter {path} does not fit this model ({words}); was it trained on another?") from error
    if not pipe.get_active_adapters():
        raise UserError(f"adapter {path} fits no layer of this model; was it trained on another?")
    pairs = sum(name.endswith(INWARD) for name in state)
    laid = sum("job" in getattr(layer, "lora_A", {}) for part in pipe.components.values() for layer in _layers(part))
    if laid < pairs:  # diffusers would leave out the rest in silence
        raise UserError(f"adapter {path} fits {laid} of its {pairs} layers only; was it trained on another model?")
    pipe.set_adapters("job", scale)
    pipe.fuse_lora()  # into the weights: no cost per step


def _layers(part: Any) -> Iterable[Any]:
    return part.modules() if hasattr(part, "modules") else ()


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
    """The name with its network in front, which files of attention processors leave out."""
    return f"{network}.{name}" if ".processor." in name and not name.startswith((network, "text_encoder")) else name


def find_adapter(model: str) -> Path:
    """The adapter's file. UserError: `model` is neither the file, nor a folder or hub id that holds one of FILES."""
    path = locate(model)
    return fetched(model, FILES, f"adapter {model}") if path is None else file_in(path, model)


def file_in(path: Path, model: str) -> Path:
    """The adapter's file: `path` itself, or the first of FILES that this folder holds. UserError where it holds
    none."""
    if not path.is_dir():
        return path
    found = next((path / name for name in FILES if (path / name).is_file()), None)
    if found is None:
        raise UserError(f"adapter {model}: none of {', '.join(FILES)} in it; give the file itself")
    return found
