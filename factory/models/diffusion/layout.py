"""What a diffusers folder or hub id holds, from its json files alone: the kind of model is known before a network is
loaded. For the loaders and the doctor."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.weights.files import check_pointers, choose, read_json
from factory.weights.locate import locate
from factory.weights.networks import first_line

LIBRARIES = ("diffusers", "transformers")  # that a model folder may name classes of
UNUSED = ("safety_checker", "feature_extractor", "depth_estimator", "image_encoder")  # parts no stage needs
CALL = {"prompt", "height", "width", "num_inference_steps", "generator", "output_type"}  # of text-to-image
MORE = {"mask_image", "control_image", "num_frames", "controlnet_conditioning_scale"}  # needs more than a text
WIDTHS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL"}  # of text, by family
BESIDE = {1: "depth-to-image", 4: "image-to-image by instruction", 5: "inpainting"}  # channels beside the latents


@dataclass(frozen=True)
class Layout:
    """A model of a job. folder: where it lies; None: a hub id, whose json files are fetched."""

    model: str
    folder: Path | None
    revision: str | None = None

    @classmethod
    def of(cls, model: str, revision: str | None = None) -> Layout:
        """UserError: neither a folder here nor a hub id, or a single file."""
        folder = locate(model)
        if folder is not None and folder.is_file():
            says = 'is a single file; a diffusers folder is wanted. Convert it: python -c "from diffusers import '
            says += f"DiffusionPipeline as P; P.from_single_file('{model}').save_pretrained('FOLDER')\""
            raise UserError(f"diffusion model {model} {says}")
        if folder is not None:
            check_pointers(folder, f"diffusion model {model}")
        return cls(model, folder, revision)

    @cached_property
    def index(self) -> dict[str, Any]:
        """model_index.json; classes of LIBRARIES only. UserError: not there, damaged, or of other libraries."""
        if self.folder is not None and not (self.folder / "model_index.json").is_file():
            raise UserError(f"diffusion model {self.model}: no model_index.json; give a diffusers folder")
        index = self._json("model_index.json")
        named = {str(value[0]) for value in index.values() if isinstance(value, list) and value and value[0]}
        strange = named - {*LIBRARIES, "stable_diffusion"}  # the last one is where old safety checkers live
        if strange:
            raise UserError(f"diffusion model {self.model}: names classes of {', '.join(sorted(strange))}; not run")
        return index

    def config(self, part: str) -> dict[str, Any]:
        """config.json of one network; empty where the model has no such part."""
        return self.part(part, "config.json")

    def part(self, part: str, name: str) -> dict[str, Any]:
        """A json file of one part; empty where the model has no such part."""
        return self._json(f"{part}/{name}") if self.has(part) else {}

    def has(self, part: str) -> bool:
        value = self.index.get(part)
        return isinstance(value, list) and bool(value) and bool(value[0])

    @property
    def name(self) -> str:
        """Class of its pipeline."""
        return str(self.index.get("_class_name", "nothing that it names"))

    def known(self, name: str, library: str, kind: str) -> Any:
        """A class that the index names for one of its parts."""
        found = getattr(importlib.import_module(library), kind, None) if library in LIBRARIES else None
        if found is None:
            says = f"{name} is a {library} {kind}, which is not known here; update it"
            raise UserError(f"diffusion model {self.model}: {says}")
        return found

    def text_to_image(self) -> Any:
        """The class of diffusers that draws from text with it. UserError: it does not draw from text alone."""
        import diffusers
        from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING, _get_task_class

        self.require_text()
        for name in (self.name, _get_task_class(AUTO_TEXT2IMAGE_PIPELINES_MAPPING, self.name, False)):
            kind = getattr(diffusers, name, None) if isinstance(name, str) else name  # of image-to-image its sibling
            parameters = inspect.signature(kind.__call__).parameters.keys() if isinstance(kind, type) else set()
            if parameters >= CALL and not parameters & MORE:
                return kind
        raise UserError(f"diffusion model {self.model} is a {self.name}; a text-to-image model is wanted")

    def check_networks(self, variant: str | None) -> None:
        """UserError: a network's folder lacks weights that can be loaded, or one of them is damaged."""
        assert self.folder is not None
        found = set()
        for name in self.index:
            folder = self.folder / name
            config = folder / "config.json"  # tokenizers and schedulers have none
            if self.has(name) and name not in UNUSED and config.is_file():
                found.add(choose(folder, f"diffusion model {self.model}, folder {name}", variant))
            elif self.has(name) and name not in UNUSED and not folder.is_dir():
                raise UserError(f"diffusion model {self.model} lacks the folder {name}; fetch it again")
        if variant and found == {None}:
            says = f"has only plain files, none of variant {variant}; leave variant out"
            raise UserError(f"diffusion model {self.model} {says}")

    def require_text(self) -> None:
        """UserError: its UNet takes more than latents."""
        beside = self._beside()
        if beside:
            what = BESIDE.get(beside, f"a model whose UNet takes {beside} channels beside the latents")
            raise UserError(f"diffusion model {self.model} is {what} ({self.name}); a text-to-image model is wanted")

    def require_depth(self) -> None:
        """UserError: its UNet takes no depth map beside the latents."""
        if self._beside() != 1:
            what = BESIDE.get(self._beside(), "text-to-image")
            says = f"is {what} ({self.name}); depth-to-image is wanted, such as SD-2-depth"
            raise UserError(f"diffusion model {self.model} {says}; or take kind: controlnet")

    def _beside(self) -> int:
        """Input channels of the UNet beside the latents; 0 where there is no UNet."""
        unet, vae = self.config("unet"), self.config("vae")
        taken, latent = unet.get("in_channels"), vae.get("latent_channels")
        return taken - latent if isinstance(taken, int) and isinstance(latent, int) else 0

    def _json(self, name: str) -> dict[str, Any]:
        if self.folder is None:
            path = _fetched(self.model, name, self.revision)
        else:
            path = self.folder / name
        return read_json(path, f"diffusion model {self.model}")


def _fetched(model: str, name: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(model, name, revision=revision))
    except Exception as error:  # offline, gated, absent: the hub has exceptions for each
        raise UserError(f"diffusion model {model}: neither here nor on the hub ({unreachable(error)})") from error


def in_cache(model: str, revision: str | None = None) -> Path | None:
    """The folder of the hub's cache that holds this id, or None. Asks nobody."""
    from huggingface_hub import try_to_load_from_cache

    for name in ("model_index.json", "config.json", "pytorch_lora_weights.safetensors"):
        if isinstance(found := try_to_load_from_cache(model, name, revision=revision), str):
            return Path(found).parent
    return None


def unreachable(error: Exception) -> str:
    """Why the hub did not give a file, in some words."""
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    if HF_HUB_OFFLINE or isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set and the hub's cache does not hold it: unset it, or give a folder"
    transport = type(error).__module__.startswith("http")  # httpx and those like it
    if transport or isinstance(error, LocalEntryNotFoundError | ConnectionError | TimeoutError):
        return "the hub is out of reach and its cache does not hold it: go online once, or give a folder"
    return first_line(error)


def controlnet_config(controlnet: str, path: Path | None = None) -> tuple[Path | None, dict[str, Any]]:
    """(its folder or None for a hub id, its config.json). path: where it lies, if that is known. UserError: not there,
    or a single file."""
    folder, where = path or locate(controlnet), f"ControlNet {controlnet}"
    if folder is None:
        return None, read_json(_fetched(controlnet, "config.json", None), where)
    if folder.is_file():
        says = 'is a single file; a diffusers folder is wanted. Convert it: python -c "from diffusers import '
        says += f"ControlNetModel as C; C.from_single_file('{controlnet}').save_pretrained('FOLDER')\""
        raise UserError(f"{where} {says}")
    check_pointers(folder, where)
    if (folder / "model_index.json").is_file():
        name = read_json(folder / "model_index.json", where).get("_class_name")
        raise UserError(f"{where} is a whole model ({name}); the folder of a depth ControlNet is wanted")
    return folder, read_json(folder / "config.json", where)


def check_controlnet(config: dict[str, Any], controlnet: str, base: Layout | None) -> None:
    """UserError: a config of another class than ControlNetModel, or of another family than the base's UNet (None: not
    at hand)."""
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
