"""Which detector a job names."""

from __future__ import annotations

import torch

from factory.models.detectors.base import Detector
from factory.models.detectors.detectron import MaskRCNN
from factory.models.detectors.detectron_config import CONFIG
from factory.models.detectors.mask2former import Mask2Former


def load_detector(
    kind: str, model: str, threshold: float, device: str | torch.device = "cpu", config: str | None = None
) -> Detector:
    """kind: `mask2former` (model: a transformers folder or hub id) or `detectron2` (model: a weights file of its model
    zoo; config: the settings that the weights belong to, None for Mask R-CNN R50-FPN). threshold: least score of an
    instance. UserError for weights that are missing, damaged or of another kind."""
    if kind == "mask2former":
        return Mask2Former(model, threshold, device)
    return MaskRCNN(model, threshold, device, config or CONFIG)
