"""Text embeddings of prompts. Each prompt is encoded once, since jobs draw thousands of records from some hundred."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

LIMIT = 2**30  # bytes of host memory; a prompt takes 0.1 MB for SD 1, 0.3 MB for SDXL, 4 MB for FLUX
# Class of pipelines -> the places of EMBEDDINGS in what its encode_prompt returns. Names are compared as a whole:
# that of FLUX.2 begins with the same word and returns something else.
PLACES = {
    "StableDiffusionPipeline": (0,),
    "StableDiffusionDepth2ImgPipeline": (0,),
    "StableDiffusionControlNetImg2ImgPipeline": (0,),
    "StableDiffusionXLPipeline": (0, 2),
    "StableDiffusionXLControlNetImg2ImgPipeline": (0, 2),
    "StableDiffusion3Pipeline": (0, 2),
    "FluxPipeline": (0, 1),
}
EMBEDDINGS = ("prompt_embeds", "pooled_prompt_embeds")


class PromptCache:
    """The embeddings that a pipeline is called with instead of texts. Each prompt is encoded alone, so that its
    embedding does not depend on the others of a batch. limit: bytes; the embeddings used longest ago are dropped beyond
    it."""

    def __init__(self, pipe: Any, limit: int = LIMIT) -> None:
        self.pipe, self.limit = pipe, limit
        kinds = (kind.__name__ for kind in type(pipe).__mro__)
        self.places = next((PLACES[kind] for kind in kinds if kind in PLACES), None)
        self.kept: OrderedDict[str, dict[str, Tensor]] = OrderedDict()
        self.bytes = 0

    def arguments(self, prompts: list[str], negative_prompt: str | None) -> dict[str, Any]:
        """Keyword arguments of the pipeline; negative_prompt None: no second pass. A family that PLACES does not list
        gets the texts and encodes them itself."""
        if self.places is None:
            texts: dict[str, Any] = {"prompt": list(prompts)}  # some families change the list
            return texts if negative_prompt is None else {**texts, "negative_prompt": [negative_prompt] * len(prompts)}
        arguments = self._stack([self._look_up(prompt) for prompt in prompts])
        if negative_prompt is not None:
            unwanted = self._look_up(negative_prompt)
            if not negative_prompt and getattr(self.pipe.config, "force_zeros_for_empty_prompt", False):
                unwanted = {name: torch.zeros_like(value) for name, value in unwanted.items()}  # as SDXL was trained
            arguments |= {f"negative_{k}": v for k, v in self._stack([unwanted] * len(prompts)).items()}
        return arguments

    def _look_up(self, text: str) -> dict[str, Tensor]:
        if text in self.kept:
            self.kept.move_to_end(text)
            return self.kept[text]
        row = self.kept[text] = self._encode(text)
        self.bytes += _size(row)
        while self.bytes > self.limit and len(self.kept) > 1:
            self.bytes -= _size(self.kept.popitem(last=False)[1])
        return row

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
        returned = self.pipe.encode_prompt([text], **{k: v for k, v in options.items() if k in parameters})
        return {name: returned[place].cpu() for name, place in zip(EMBEDDINGS, self.places, strict=False)}

    def _stack(self, rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        device = self.pipe._execution_device
        return {name: torch.cat([row[name] for row in rows]).to(device) for name in rows[0]}


def _size(row: dict[str, Tensor]) -> int:
    return sum(value.nbytes for value in row.values())
