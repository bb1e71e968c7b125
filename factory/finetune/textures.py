"""What images of people give a renderer: the colours of their bodies, and the backgrounds behind them.

Shapes: N images (N, 3, S, S) in 0 ... 1; V vertices of the body model; masks (N, S, S) bool.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional as F

from factory.geometry.body import BodyModel
from factory.geometry.camera import full_image_K, project
from factory.geometry.joints import J24, picks
from factory.geometry.rasteriser import rasterise, vertex_normals

FACING = 0.4  # cosine of a vertex's normal to the line of sight: towards the outline the estimate misses the person
BEHIND = 0.03  # m: a vertex so far behind the nearest surface is hidden
NEIGHBOURS = 6  # seen vertices of which an unseen one takes the mean colour
# Distances on the T-posed body count so much across, up and through it. The sides are laid on each other, so that a
# hidden arm takes the colour of the other one, and front and back nearly.
ACROSS, UP, THROUGH = 1.0, 1.0, 0.3
LEAST = 0.05  # share of the vertices; of a body of which less is seen no colours are taken
SHIFTS = (0.3, -0.3, 0.45, -0.45)  # of the crop's side: where the pixels come from that replace a person's
EDGE = 2  # px
MARGIN = 1 / 12  # of the crop's side: so far from its outline, or from its bones, a person may reach
# Pairs of J24 between which a person's flesh lies, and how far beyond the second: hands, feet and the crown.
BONES = tuple(
    picks(pair, J24)
    for pair in (
        *((f"{side}_{first}", f"{side}_{second}") for side in ("left", "right") for first, second in (
            ("knee", "ankle"), ("hip_lsp", "knee"), ("hip_lsp", "shoulder"), ("shoulder", "elbow"), ("elbow", "wrist"),
        )),
        ("left_hip_lsp", "right_shoulder"), ("right_hip_lsp", "left_shoulder"), ("left_shoulder", "right_shoulder"),
        ("left_hip_lsp", "right_hip_lsp"), ("neck_lsp", "head_top"), ("neck_lsp", "nose"), ("left_ear", "right_ear"),
    )
)  # fmt: skip
BEYOND = 1.3


def bones(keypoints: Tensor, size: int) -> Tensor:
    """Masks (N, S, S) of the lines between known keypoints. keypoints (N, 24, 3) in the order J24: crop coordinates,
    -1 ... 1 from edge to edge, and confidence, 0 = unknown."""
    first, second = (keypoints[:, [bone[end] for bone in BONES]] for end in (0, 1))
    along = torch.linspace(0, BEYOND, 2 * size, device=keypoints.device)[:, None]
    points = first[:, :, None, :2] * (1 - along) + second[:, :, None, :2] * along  # (N, bones, 2 S, 2)
    pixels = ((points + 1) * size / 2).floor()
    drawn = ((pixels >= 0) & (pixels < size)).all(-1) & (first[..., 2:] > 0) & (second[..., 2:] > 0)
    column, row = pixels.clamp(0, size - 1).long().unbind(-1)
    person = torch.arange(len(keypoints), device=keypoints.device)[:, None, None].expand_as(row)
    mask = torch.zeros(len(keypoints), size, size, dtype=torch.bool, device=keypoints.device)
    mask[person[drawn], row[drawn], column[drawn]] = True
    return mask


def widened(masks: Tensor) -> Tensor:
    """masks (N, S, S), and all pixels within MARGIN of them."""
    reach = max(1, round(MARGIN * masks.shape[-1]))
    return F.max_pool2d(masks[:, None].float(), 2 * reach + 1, 1, reach)[:, 0] > 0


def looked_at(masks: Tensor, points: Tensor) -> Tensor:
    """What the masks (N, S, S) say at points (N, V, 2) px; outside of them nothing: (N, V) bool."""
    size = masks.shape[-1]
    inside = ((points >= 0) & (points < size)).all(-1)
    column, row = points.nan_to_num().clamp(0, size - 1).long().unbind(-1)
    return inside & masks.flatten(1).gather(1, row * size + column)


def seen_vertices(body: BodyModel, vertices: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which vertices of N bodies are seen well, (N, V) bool; where they are seen, (N, V, 2) px; and the outlines of the
    bodies, masks (N, S, S).

    vertices (N, V, 3) m, in the camera of a crop of `size` px (`geometry.camera.full_image_K`).
    """
    K = torch.from_numpy(full_image_K(size, size)).to(vertices.device)
    drawn = rasterise(vertices, body.faces, K, size, size)
    pixels = project(vertices, K)
    column, row = pixels.nan_to_num().clamp(0, size - 1).long().unbind(-1)
    front = vertices[..., 2] < drawn.depth.flatten(1).gather(1, row * size + column) + BEHIND
    sight = F.normalize(vertices, dim=-1)
    facing = -(vertex_normals(vertices, body.faces) * sight).sum(-1) > FACING
    outlines = drawn.face >= 0
    return looked_at(outlines, pixels) & facing & front, pixels, outlines


def vertex_colours(body: BodyModel, images: Tensor, pixels: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """(N, V, 3) in 0 ... 1: the colour that each vertex has in the image of its body; and (N,) bool, whether enough of
    the body is seen, without which its colours are 0. pixels (N, V, 2) px, seen (N, V) bool: of `seen_vertices`.

    An unseen vertex takes the colours of the seen ones nearest to it on the T-posed body.
    """
    points = pixels * (2 / images.shape[-1]) - 1
    looked = F.grid_sample(images, points[:, None], padding_mode="border", align_corners=False)[:, :, 0].mT
    enough = seen.float().mean(1) >= LEAST
    rest = body.smpl.v_template.cpu().numpy() * np.array([ACROSS, UP, THROUGH], np.float32)
    rest[:, 0] = np.abs(rest[:, 0])
    colours = torch.zeros_like(looked)
    for i in enough.nonzero()[:, 0].tolist():
        known = seen[i].nonzero()[:, 0]
        hidden = (~seen[i]).nonzero()[:, 0]
        near = cKDTree(rest[known.cpu().numpy()]).query(rest[hidden.cpu().numpy()], NEIGHBOURS)[1]
        colours[i, known] = looked[i, known]
        colours[i, hidden] = looked[i, known[torch.from_numpy(near).to(known.device)]].mean(1)
    return colours, enough


def without_people(images: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
    """The images with other pixels where the masks people (N, S, S) are, and masks (N, S, S) of these pixels.

    A pixel is replaced by the one so many SHIFTS to its side that shows no person, since floors, walls and skies go on
    sideways, and where each of these shows one by a blur of the surroundings. The black border that a crop has beyond
    the edge of its image stays.
    """
    size = images.shape[-1]
    lit = images.amax(1) > 0
    image = (lit.any(1, keepdim=True) & lit.any(2, keepdim=True))[:, None].float()  # whole rows and columns are black
    person = people[:, None] * image
    # The outermost pixels of the image are mixed with black, also where the border is narrower than a pixel.
    known = (1 - F.max_pool2d(F.pad(1 - image, [EDGE] * 4, value=1), 2 * EDGE + 1, 1)) * (1 - person)
    for shift in SHIFTS:
        step = round(shift * size)
        usable = person * (1 - known) * known.roll(step, 3)
        images, known = torch.where(usable > 0, images.roll(step, 3), images), known + usable
    filled = _filled(images, known)
    return torch.where((person > 0) & (known == 0), filled, images), person[:, 0] > 0


def _filled(images: Tensor, known: Tensor) -> Tensor:
    """images where known (N, 1, H, W) is 1; elsewhere the mean of what is known around, from ever coarser images."""
    if min(images.shape[2:]) == 1:
        weight = known.sum((2, 3), keepdim=True)
        mean = (images * known).sum((2, 3), keepdim=True) / weight.clamp(min=1)
        return torch.where(known > 0, images, torch.where(weight > 0, mean, 0.5))
    share = F.avg_pool2d(known, 2, ceil_mode=True, count_include_pad=False)
    coarse = F.avg_pool2d(images * known, 2, ceil_mode=True, count_include_pad=False) / share.clamp(min=1e-6)
    below = _filled(coarse, (share > 0).float())
    return torch.where(known > 0, images, F.interpolate(below, images.shape[2:], mode="bilinear"))
