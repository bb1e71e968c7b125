"""Text embeddings, each prompt encoded once: jobs draw thousands of records from some hundred prompts."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

LIMIT = 2**30  # bytes of host memory; a prompt takes 0.1 MB for SD 1, 0.3 MB for SDXL, 4 MB for FLUX
# Family of pipelines -> where its encode_prompt returns prompt_embeds and pooled_prompt_embeds.
FAMILIES = {
    "StableDiffusionXL": (0, 2),
    "StableDiffusion3": (0, 2),
    "StableDiffusion": (0,),
    "Flux": (0, 1),
}
NAMES = ("prompt_embeds", "pooled_prompt_embeds")


class PromptCache:
    """What a pipeline is called with instead of texts. Each prompt is encoded alone, so that none depends on others."""

    def __init__(self, pipe: Any, limit: int = LIMIT) -> None:
        self.pipe, self.limit = pipe, limit
        kinds = [kind.__name__ for kind in type(pipe).__mro__ if kind.__name__.endswith("Pipeline")]
        self.places = next((p for f, p in FAMILIES.items() if any(kind.startswith(f) for kind in kinds)), None)
        self.call = set(inspect.signature(pipe.__call__).parameters)
        self.kept: OrderedDict[str, dict[str, Tensor]] = OrderedDict()
        self.bytes = 0

    def arguments(self, prompts: list[str], negative_prompt: str) -> dict[str, Any]:
        """Keyword arguments of the pipeline. Families that are not listed get the texts and encode them themselves.

        ValueError for a negative prompt where the pipeline knows none.
        """
        if negative_prompt and not self.negative:
            raise ValueError(f"negative_prompt: {type(self.pipe).__name__} takes none; leave it empty")
        if self.places is None:
            texts = {"prompt": prompts}
            return texts | ({"negative_prompt": [negative_prompt] * len(prompts)} if self.negative else {})
        arguments = self._stack([self._look_up(prompt) for prompt in prompts])
        if self.negative:
            unwanted = self._look_up(negative_prompt)
            if not negative_prompt and getattr(self.pipe.config, "force_zeros_for_empty_prompt", False):
                unwanted = {name: torch.zeros_like(value) for name, value in unwanted.items()}  # as SDXL was trained
            arguments |= {f"negative_{k}": v for k, v in self._stack([unwanted] * len(prompts)).items()}
        return arguments

    @property
    def negative(self) -> bool:
        """FLUX has learnt its guidance and takes no second pass."""
        return "negative_prompt" in self.call and "true_cfg_scale" not in self.call

    def _look_up(self, text: str) -> dict[str, Tensor]:
        if text in self.kept:
            self.kept.move_to_end(text)
            return self.kept[text]
        found = self.kept[text] = self._encode(text)
        self.bytes += _size(found)
        while self.bytes > self.limit and len(self.kept) > 1:
            self.bytes -= _size(self.kept.popitem(last=False)[1])
        return found

    def _encode(self, text: str) -> dict[str, Tensor]:
        assert self.places is not None
        parameters = inspect.signature(self.pipe.encode_prompt).parameters
        options = {
            "device": self.pipe._execution_device,
            "num_images_per_prompt": 1,
            "do_classifier_free_guidance": False,
            "prompt_2": None,
            "prompt_3": None,
        }
        found = self.pipe.encode_prompt([text], **{k: v for k, v in options.items() if k in parameters})
        return {name: found[place].cpu() for name, place in zip(NAMES, self.places, strict=False)}

    def _stack(self, rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        device = self.pipe._execution_device
        return {name: torch.cat([row[name] for row in rows]).to(device) for name in rows[0]}


def _size(row: dict[str, Tensor]) -> int:
    return sum(value.nbytes for value in row.values())
