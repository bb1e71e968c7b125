"""The config.json of a ControlNet: of which class and family it is, before its network is loaded. For the loader and
the doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.models.diffusion.layout import WIDTHS, Layout
from factory.weights.files import read_json
from factory.weights.folders import check_pointers
from factory.weights.hub import fetched
from factory.weights.locate import locate


def read_config(controlnet: str, path: Path | None = None) -> tuple[Path | None, dict[str, Any]]:
    """(the folder of a ControlNet or None for a hub id, its config.json). path: where it lies on this disk, if that is
    known. UserError: it is not there, is a single file, or is a whole model."""
    folder, label = path or locate(controlnet), f"ControlNet {controlnet}"
    if folder is None:
        return None, read_json(fetched(controlnet, ("config.json",), label), label)
    if folder.is_file():
        says = 'is a single file; a diffusers folder is wanted. Convert it: python -c "from diffusers import '
        says += f"ControlNetModel as C; C.from_single_file('{controlnet}').save_pretrained('FOLDER')\""
        raise UserError(f"{label} {says}")
    check_pointers(folder, label)
    if (folder / "model_index.json").is_file():
        name = read_json(folder / "model_index.json", label).get("_class_name")
        raise UserError(f"{label} is a whole model ({name}); the folder of a depth ControlNet is wanted")
    return folder, read_json(folder / "config.json", label)


def check_config(config: dict[str, Any], controlnet: str, base: Layout | None) -> None:
    """UserError: the config is of another class than ControlNetModel, or of another family than the UNet of `base`, the
    model to be guided (None: that model is not at hand, and its family is not compared)."""
    kind = config.get("_class_name")
    wanted = "a depth ControlNet of Stable Diffusion 1.x, 2.x or SDXL (ControlNetModel) is wanted"
    if kind != "ControlNetModel":
        what = f"is a {kind}" if kind else "has a config.json that names no class"
        raise UserError(f"ControlNet {controlnet} {what}; {wanted}")
    if base is None:
        return
    unet = base.config("unet")
    if not unet:
        raise UserError(f"diffusion model {base.model} is a {base.name}; ControlNets are for SD 1.x, 2.x and SDXL here")
    for name in ("cross_attention_dim", "addition_embed_type", "block_out_channels"):
        theirs, ours = (_plain(values.get(name)) for values in (config, unet))
        if theirs != ours and (name == "addition_embed_type" or (name in config and name in unet)):
            raise UserError(
                f"ControlNet {controlnet} is of {_family(config)}, the model {base.model} of {_family(unet)} "
                f"({name} {theirs} and {ours}); take two of one family"
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _family(config: dict[str, Any]) -> str:
    width = config.get("cross_attention_dim")
    if config.get("addition_embed_type") == "text_time":
        return "SDXL"
    return WIDTHS.get(width, "another family") if isinstance(width, int) else "another family"
