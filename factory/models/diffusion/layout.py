"""What a diffusers folder or hub id holds, read from its json files alone: so its kind is known before a network is
loaded. For the loaders and the doctor."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.weights.files import read_json
from factory.weights.folders import check_pointers, choose_variant
from factory.weights.hub import fetched
from factory.weights.locate import locate

LIBRARIES = ("diffusers", "transformers")  # a model folder may name classes of these
UNUSED = ("safety_checker", "feature_extractor", "depth_estimator", "image_encoder")  # parts that no stage needs
CALL = {"prompt", "height", "width", "num_inference_steps", "generator", "output_type"}  # arguments of text-to-image
MORE = {"mask_image", "control_image", "num_frames", "controlnet_conditioning_scale"}  # of pipelines that need more
WIDTHS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL"}  # width of a text's code -> family
# Input channels of a UNet beside the latents -> the kind of model
EXTRA_CHANNELS = {1: "depth-to-image", 4: "image-to-image by instruction", 5: "inpainting"}


@dataclass(frozen=True)
class Layout:
    """The parts of a model that a job names. folder: where it lies; None: it is a hub id, whose json files are
    fetched."""

    model: str
    folder: Path | None
    revision: str | None = None

    @classmethod
    def of(cls, model: str, revision: str | None = None) -> Layout:
        """The layout of the model that a job names. UserError: it is neither a folder here nor a hub id, or it is a
        single file."""
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
        """model_index.json. UserError: it is not there, is damaged, or names classes of others than LIBRARIES."""
        if self.folder is not None and not (self.folder / "model_index.json").is_file():
            raise UserError(f"diffusion model {self.model}: no model_index.json; give a diffusers folder")
        index = self._json("model_index.json")
        named = {str(value[0]) for value in index.values() if isinstance(value, list) and value and value[0]}
        strange = named - {*LIBRARIES, "stable_diffusion"}  # the last one is where old safety checkers live
        if strange:
            raise UserError(f"diffusion model {self.model}: names classes of {', '.join(sorted(strange))}; not run")
        return index

    def config(self, part: str) -> dict[str, Any]:
        """The config.json of one network; empty where the model has no such part."""
        return self.part(part, "config.json")

    def part(self, part: str, name: str) -> dict[str, Any]:
        """One json file of one part; empty where the model has no such part."""
        return self._json(f"{part}/{name}") if self.has(part) else {}

    def has(self, part: str) -> bool:
        """Whether the index names a class for the part."""
        value = self.index.get(part)
        return isinstance(value, list) and bool(value) and bool(value[0])

    @property
    def name(self) -> str:
        """Name of the class of its pipeline."""
        return str(self.index.get("_class_name", "nothing that it names"))

    def known(self, name: str, library: str, kind: str) -> Any:
        """The class `kind` of a library, which the index names for the part `name`. UserError: the installed library
        has no such class."""
        named = getattr(importlib.import_module(library), kind, None) if library in LIBRARIES else None
        if named is None:
            says = f"{name} is a {library} {kind}, which is not known here; update it"
            raise UserError(f"diffusion model {self.model}: {says}")
        return named

    def text_to_image(self) -> Any:
        """The class of diffusers that draws from text with this model. UserError: none draws with it from text
        alone."""
        import diffusers
        from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING, _get_task_class

        self.require_text()
        for name in (self.name, _get_task_class(AUTO_TEXT2IMAGE_PIPELINES_MAPPING, self.name, False)):
            # The model's own class, or where that one is of image-to-image, its sibling of text-to-image.
            kind = getattr(diffusers, name, None) if isinstance(name, str) else name
            parameters = inspect.signature(kind.__call__).parameters.keys() if isinstance(kind, type) else set()
            if parameters >= CALL and not parameters & MORE:
                return kind
        raise UserError(f"diffusion model {self.model} is a {self.name}; a text-to-image model is wanted")

    def check_networks(self, variant: str | None) -> None:
        """UserError: a network's folder lacks weights that can be loaded, or one of them is damaged. Only for a model
        on this disk."""
        assert self.folder is not None
        chosen = set()
        for name in self.index:
            folder = self.folder / name
            config = folder / "config.json"  # tokenizers and schedulers have none
            if self.has(name) and name not in UNUSED and config.is_file():
                chosen.add(choose_variant(folder, f"diffusion model {self.model}, folder {name}", variant))
            elif self.has(name) and name not in UNUSED and not folder.is_dir():
                raise UserError(f"diffusion model {self.model} lacks the folder {name}; fetch it again")
        if variant and chosen == {None}:
            says = f"has only plain files, none of variant {variant}; leave variant out"
            raise UserError(f"diffusion model {self.model} {says}")

    def require_text(self) -> None:
        """UserError: the model's UNet takes more than latents."""
        extra = self._extra_channels()
        if extra:
            what = EXTRA_CHANNELS.get(extra, f"a model whose UNet takes {extra} channels beside the latents")
            raise UserError(f"diffusion model {self.model} is {what} ({self.name}); a text-to-image model is wanted")

    def require_depth(self) -> None:
        """UserError: the model's UNet takes no depth map beside the latents."""
        extra = self._extra_channels()
        if extra != 1:
            what = EXTRA_CHANNELS.get(extra, "text-to-image")
            says = f"is {what} ({self.name}); depth-to-image is wanted, such as SD-2-depth"
            raise UserError(f"diffusion model {self.model} {says}; or take kind: controlnet")

    def _extra_channels(self) -> int:
        """Input channels of the UNet beside the latents; 0 where there is no UNet."""
        unet, vae = self.config("unet"), self.config("vae")
        taken, latent = unet.get("in_channels"), vae.get("latent_channels")
        return taken - latent if isinstance(taken, int) and isinstance(latent, int) else 0

    def _json(self, name: str) -> dict[str, Any]:
        label = f"diffusion model {self.model}"
        path = fetched(self.model, (name,), label, self.revision) if self.folder is None else self.folder / name
        return read_json(path, label)
