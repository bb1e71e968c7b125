"""The paper's detector, Mask R-CNN by detectron2. That package is optional, because it is built from source."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from factory.errors import UserError
from factory.models.detectors import detectron_config
from factory.models.detectors.base import Instance, distinct, instance
from factory.models.detectors.detectron_config import CONFIG
from factory.weights.catalogue import DETECTRON2
from factory.weights.pickles import load_arrays, load_checkpoint, require_finite

PERSON = 0  # COCO's first class; all others are objects
REBUILT = ("pixel_", "proposal_generator.anchor_generator")  # starts of names that the config sets, not the file


class MaskRCNN:
    """A `Detector`: Mask R-CNN with weights from detectron2's model zoo (.pkl of arrays) or a .pth of tensors."""

    def __init__(
        self, model: str, threshold: float = 0.5, device: str | torch.device = "cpu", config: str = CONFIG
    ) -> None:
        """config: a name of detectron2's model zoo, or a YAML file. UserError without detectron2 or for bad weights."""
        try:
            from detectron2.modeling import build_model
        except ImportError as error:
            raise UserError(
                "detector kind detectron2 needs detectron2, which is built from source: `factory doctor JOB` says how; "
                "or use kind mask2former"
            ) from error
        weights = read_weights(model)
        settings = detectron_config.load(config)
        settings.MODEL.DEVICE = str(device)
        settings.MODEL.ROI_HEADS.SCORE_THRESH_TEST = threshold
        self.config, self.network = settings, build_model(settings).eval()
        wanted = self.network.state_dict()
        missing = [name for name in wanted if name not in weights and not name.startswith(REBUILT)]
        other = [name for name in wanted if name in weights and weights[name].shape != wanted[name].shape]
        if missing or other:
            words = f"lack {len(missing)} layers, first {missing[0]}" if missing else f"have another {other[0]}"
            raise UserError(f"detectron2 weights {model} {words}; are they of {config}? get {DETECTRON2.origin}")
        require_finite({name: weights[name] for name in wanted if name in weights}, f"detectron2 weights {model}")
        self.network.load_state_dict(weights, strict=False)

    @torch.inference_mode()
    def detect(self, images: list[np.ndarray]) -> list[list[Instance]]:
        """See `Detector`."""
        from detectron2.data.transforms import ResizeShortestEdge

        size = self.config.INPUT
        resize = ResizeShortestEdge([size.MIN_SIZE_TEST] * 2, size.MAX_SIZE_TEST)
        inputs = []
        for image in images:
            bgr = np.ascontiguousarray(image[..., ::-1])  # the network was trained on BGR
            pixels = resize.get_transform(bgr).apply_image(bgr).astype(np.float32).transpose(2, 0, 1)
            inputs.append({"image": torch.from_numpy(pixels), "height": image.shape[0], "width": image.shape[1]})
        results = []
        for output in self.network(inputs):
            found = output["instances"].to("cpu")
            rows = zip(found.scores.tolist(), found.pred_classes.tolist(), found.pred_masks.numpy(), strict=True)
            results.append(distinct([instance(s, label == PERSON, mask) for s, label, mask in rows if mask.any()]))
        return results


def read_weights(model: str) -> dict[str, torch.Tensor]:
    """Name -> tensor, of a .pkl of arrays or a .pth of tensors. Nothing in the file is run. UserError when it holds
    anything else."""
    path = DETECTRON2.find(model)
    stored: Any = (load_arrays if path.suffix == ".pkl" else load_checkpoint)(path, "detectron2 weights")
    weights = stored.get("model", stored) if isinstance(stored, dict) else {}
    if not weights or not all(isinstance(value, np.ndarray | torch.Tensor) for value in weights.values()):
        raise UserError(f"detectron2 weights {model} are no mapping of names to arrays; get {DETECTRON2.origin}")
    try:
        return {str(name): torch.as_tensor(value) for name, value in weights.items()}
    except TypeError as error:  # texts or objects, which no tensor holds
        raise UserError(
            f"detectron2 weights {model} hold more than numbers ({error}); get {DETECTRON2.origin}"
        ) from error
