"""The paper's detector, Mask R-CNN by detectron2: optional, because its users build it from source."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from factory.errors import UserError
from factory.models.instances import Instance, distinct, instance

CONFIG = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"
PERSON = 0  # COCO's first class
_ARRAYS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
}


class MaskRCNN:
    """Weights of Mask R-CNN R50-FPN from detectron2's model zoo (.pkl of arrays) or a .pth of tensors."""

    def __init__(self, model: str, threshold: float = 0.5, device: str | torch.device = "cpu") -> None:
        try:
            from detectron2 import model_zoo
            from detectron2.modeling import build_model
        except ImportError as error:
            raise UserError(
                "detector kind detectron2 needs detectron2, which is built from source: pip install "
                "'git+https://github.com/facebookresearch/detectron2' torchvision; or use kind mask2former"
            ) from error
        config = model_zoo.get_config(CONFIG)
        config.MODEL.DEVICE = str(device)
        config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = threshold
        self.config, self.network = config, build_model(config).eval()
        self.network.load_state_dict(read_weights(model), strict=False)  # anchors are rebuilt, not stored

    @torch.inference_mode()
    def detect(self, images: list[np.ndarray]) -> list[list[Instance]]:
        """See `instances.Detector`."""
        from detectron2.data.transforms import ResizeShortestEdge

        size = self.config.INPUT
        resize = ResizeShortestEdge([size.MIN_SIZE_TEST] * 2, size.MAX_SIZE_TEST)
        inputs = []
        for image in images:
            bgr = np.ascontiguousarray(image[..., ::-1])  # what it was trained on
            pixels = resize.get_transform(bgr).apply_image(bgr).astype(np.float32).transpose(2, 0, 1)
            inputs.append({"image": torch.from_numpy(pixels), "height": image.shape[0], "width": image.shape[1]})
        results = []
        for output in self.network(inputs):
            found = output["instances"].to("cpu")
            rows = zip(found.scores.tolist(), found.pred_classes.tolist(), found.pred_masks.numpy(), strict=True)
            results.append(distinct([instance(s, label == PERSON, mask) for s, label, mask in rows if mask.any()]))
        return results


def read_weights(model: str) -> dict[str, torch.Tensor]:
    """A .pkl of arrays or a .pth of tensors; nothing in the file is run. UserError when it holds anything else."""
    path = Path(model)
    if not path.is_file():
        raise UserError(f"detectron2 weights not found: {model}; give the model zoo's model_final_f10217.pkl")
    try:
        if path.suffix == ".pkl":
            stored: Any = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        else:
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise UserError(f"detectron2 weights {model} hold more than arrays and are not opened: {error}") from error
    return {name: torch.as_tensor(value) for name, value in stored.get("model", stored).items()}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)
