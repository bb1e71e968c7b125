"""The resizing rule of clean-fid (Parmar et al. 2022), restated: clean-fid itself imports torchvision.

Each channel becomes a float image, which Pillow resizes with its bicubic filter: that one widens with the reduction, so
nothing is aliased, and no value is rounded to 8 bits between the image and the network.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

RULE = "clean-fid's: Pillow's antialiased bicubic, in floats"


def resized(image: np.ndarray, side: int) -> np.ndarray:
    """image (H, W, 3) uint8 -> (side, side, 3) float32, 0 ... 255. An oblong image is squeezed, as clean-fid does."""
    channels = [
        Image.fromarray(image[..., i].astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
        for i in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels], -1).clip(0, 255)
