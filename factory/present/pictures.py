"""Small pictures for people: masks and depth in colour, bodies drawn over their image, all as (H, W, 3) uint8 RGB."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from factory.geometry.body import BodyModel

PERSON = (66, 133, 244)
OBJECT = (251, 140, 0)
BODIES = ((120, 190, 255), (255, 175, 120), (150, 225, 160), (230, 160, 235))
# near to far: light yellow, orange, magenta, indigo (stops of the perceptually even map "inferno")
DEPTHS = np.array([(252, 255, 164), (251, 155, 6), (187, 55, 84), (87, 16, 110), (20, 11, 52)], np.float32)
BACKGROUND = (12, 12, 16)
LIGHT = np.array([-0.35, -0.6, -0.72], np.float32)  # towards the light: left, above, behind the camera


def masks(image: np.ndarray, person: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """The image in grey, people in blue, objects in orange. Masks are (H, W) bool."""
    grey = np.repeat(image.mean(-1, keepdims=True) * 0.6 + 50, 3, -1)
    for mask, colour in ((person, PERSON), (objects, OBJECT)):
        grey[mask] = 0.4 * grey[mask] + 0.6 * np.array(colour)
    return grey.clip(0, 255).astype(np.uint8)


def depth(metres: np.ndarray) -> np.ndarray:
    """(H, W) float32 m, 0 = nothing: near is bright. The map's own span is stretched over the colours."""
    picture = np.full((*metres.shape, 3), BACKGROUND, np.uint8)
    body = metres > 0
    if body.any():
        near, far = metres[body].min(), metres[body].max()
        at = (metres[body] - near) / max(far - near, 1e-6) * (len(DEPTHS) - 1)
        low = np.minimum(at.astype(int), len(DEPTHS) - 2)
        share = (at - low)[:, None]
        picture[body] = (DEPTHS[low] * (1 - share) + DEPTHS[low + 1] * share).astype(np.uint8)
    return picture


def overlay(
    image: np.ndarray, people: Mapping[str, np.ndarray], body: BodyModel, side: int = 384, alpha: float = 0.75
) -> np.ndarray:
    """The bodies of smpl.npz (one row per person), shaded, over the image enlarged to about `side` px."""
    import torch
    from PIL import Image

    from factory.geometry.rasteriser import interpolate, rasterise, vertex_normals

    height, width = image.shape[:2]
    scale = max(1, round(side / max(height, width)))
    large = Image.fromarray(image).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    canvas = np.asarray(large, np.float32).copy()
    count = len(people["betas"])
    if not count:
        return canvas.astype(np.uint8)
    names = ("global_orient", "body_pose", "betas", "transl", "K")
    global_orient, body_pose, betas, transl, K = (torch.from_numpy(people[name]) for name in names)
    with torch.no_grad():
        vertices, _ = body.forward(global_orient, body_pose, betas, transl)
        K = K * torch.tensor([scale, scale, 1.0])[:, None]
        fragments = rasterise(vertices, body.faces, K, height * scale, width * scale)
        normals = vertex_normals(vertices, body.faces)
        nearest = np.full(canvas.shape[:2], np.inf, np.float32)
        shaded = np.zeros_like(canvas)
        for i in range(count):
            normal = interpolate(fragments.face[i], vertices[i], body.faces, K[i], normals[i]).numpy()
            normal /= np.linalg.norm(normal, axis=-1, keepdims=True).clip(1e-6)
            brightness = 0.35 + 0.65 * (normal @ LIGHT).clip(0)[..., None]
            distance = fragments.depth[i].numpy()
            front = (distance > 0) & (distance < nearest)
            shaded[front] = (np.array(BODIES[i % len(BODIES)]) * brightness)[front]
            nearest[front] = distance[front]
    seen = np.isfinite(nearest)
    canvas[seen] = (1 - alpha) * canvas[seen] + alpha * shaded[seen]
    return canvas.clip(0, 255).astype(np.uint8)


def fit(picture: np.ndarray, side: int) -> np.ndarray:
    """The picture, made smaller where it is larger than `side` px."""
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image)


def data_uri(picture: np.ndarray, lossless: bool = False, quality: int = 85) -> str:
    """The picture inside a link, so that a page needs no files beside it. quality: of lossy WebP, 0 to 100."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", lossless=lossless, quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def contact_sheet(rows: Sequence[Sequence[np.ndarray]], columns: int = 4, side: int = 160, gap: int = 6) -> np.ndarray:
    """Groups of pictures (initial, final, overlay of one sample, say) in a grid of `columns` groups."""
    from PIL import Image

    width = max((len(row) for row in rows), default=1)
    lines = -(-len(rows) // columns) or 1
    sheet = Image.new("RGB", (columns * (width * side + gap) + gap, lines * (side + gap) + gap), (24, 24, 28))
    for i, row in enumerate(rows):
        x, y = gap + (i % columns) * (width * side + gap), gap + (i // columns) * (side + gap)
        for j, picture in enumerate(row):
            sheet.paste(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS), (x + j * side, y))
    return np.asarray(sheet)
