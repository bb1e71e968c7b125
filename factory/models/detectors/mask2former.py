"""Mask2Former by transformers, a detector."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from factory.errors import UserError, first_line
from factory.models.bad_answer import BadAnswer
from factory.models.detectors.base import Instance, distinct, instance
from factory.models.device import quiet
from factory.weights.locate import locate
from factory.weights.networks import load_network


class Mask2Former:
    """A `Detector`. What the network labels `person` is a person, and every other label is an object."""

    def __init__(self, model: str, threshold: float = 0.5, device: str | torch.device = "cpu") -> None:
        """model: a transformers folder or hub id; threshold: least score of an instance. UserError: the model is
        missing, damaged, or has no label `person`."""
        quiet()
        from transformers import AutoImageProcessor, Mask2FormerForUniversalSegmentation

        folder = locate(model)
        source, rules = str(folder or model), {"local_files_only": folder is not None}
        try:
            self.processor = AutoImageProcessor.from_pretrained(source, **rules)
        except (OSError, ValueError) as error:
            raise UserError(f"detector {model} does not load: {first_line(error)}; fetch it again") from error
        kind = Mask2FormerForUniversalSegmentation
        network = load_network(kind, f"detector {model}", source, dtype=torch.float32, **rules)
        self.network = network.eval().to(device)
        labels: dict[Any, str] = dict(network.config.id2label or {})
        self.people = {i for i, name in labels.items() if name.lower() == "person"}
        if not self.people:
            raise UserError(f"detector {model} has no label `person`: {', '.join(labels.values())}")
        self.device, self.threshold = torch.device(device), threshold

    @torch.inference_mode()
    def detect(self, images: list[np.ndarray]) -> list[list[Instance]]:
        """See `Detector`. score = class probability x mean mask probability inside the mask, as in the paper of
        Mask2Former.

        The post-processing of transformers is not used: it goes through a fixed 384 px grid and lets one query win
        under two labels, so that a person could occlude itself as an object.
        """
        inputs = self.processor(images=images, return_tensors="pt").to(self.device)
        outputs = self.network(pixel_values=inputs["pixel_values"], pixel_mask=inputs["pixel_mask"])
        if not torch.isfinite(
            outputs.class_queries_logits
        ).all():  # NaN exceeds no threshold: the image would pass for one without people
            raise BadAnswer("the detector's network gives what is not finite (NaN or infinity)")
        probability, label = outputs.class_queries_logits.softmax(-1)[..., :-1].max(-1)  # the last class is `nothing`
        instances: list[list[Instance]] = []
        for i, image in enumerate(images):
            chosen = torch.nonzero(probability[i] >= self.threshold)[:, 0]
            logits = outputs.masks_queries_logits[i, chosen][None]
            if not len(chosen):
                instances.append([])
                continue
            logits = interpolate(logits, size=image.shape[:2], mode="bilinear")[0]
            masks = logits > 0
            certainty = (logits.sigmoid() * masks).sum((1, 2)) / masks.sum((1, 2)).clamp(min=1)
            scores = (probability[i, chosen] * certainty * masks.any(2).any(1)).tolist()
            rows = zip(scores, label[i, chosen].tolist(), masks.cpu().numpy(), strict=True)
            least = max(self.threshold, 1e-6)  # an empty mask scores 0
            instances.append(distinct([instance(s, kind in self.people, m) for s, kind, m in rows if s >= least]))
        return instances
