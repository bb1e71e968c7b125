"""Images of textured bodies over backgrounds, with exact labels: the synthetic images of the method dapa (Weng et al.
2022, Domain Adaptive 3D Pose Augmentation), drawn while a network trains. No diffusion model takes part.

The pose of an image is the network's estimate of a person in a real image, varied in the latent code of a pose prior.
Its colours are those of a person in a real image, taken where the estimate lies on it (`textures`); DAPA has a network
for them. Its background is a piece of a real image in which other pixels cover the person. A light from a random side
shades the body. What the renderings know of the domain is in the real images alone.

Rotations (N, 24, 3, 3) are of the camera frame, the root's first; cameras (N, 3) = (s, tx, ty), see `geometry.camera`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from factory.errors import UserError
from factory.finetune.textures import bones, looked_at, seen_vertices, vertex_colours, widened, without_people
from factory.geometry.body import BodyModel, spin49
from factory.geometry.camera import full_image_K, project_on_crop, weak_to_transl
from factory.geometry.crops import LOOSE, person_crop
from factory.geometry.joints import FLIP24, J24_PART, J24_TORSOS
from factory.geometry.rasteriser import interpolate, rasterise, vertex_normals
from factory.geometry.rotations import axis_angle_to_matrix
from factory.models.priors.base import PosePrior
from factory.training.augment import warp

STRENGTH = 0.3  # the s of `draw`, as of the factory's own variants
MOST = 512  # real images whose colours and backgrounds are kept
CHUNK = 32  # bodies posed and drawn at a time
FINER = 2  # bodies are drawn at so many times the resolution, and the mean of each block is taken
TRIES = 8  # windows of a background, of which the one with the least filled-up area is taken
WINDOW = (0.6, 1.0)  # a window's side over the crop's
AMBIENT, DIFFUSE = (0.45, 0.8), (0.3, 0.7)  # of the light, uniformly drawn between these
TORSOS = tuple((shoulder - J24_PART.start, hip - J24_PART.start) for shoulder, hip in J24_TORSOS)


class Textured:
    """Draws images of S x S px, S being the side of the real crops. All it holds lies on the body's device."""

    def __init__(
        self,
        body: BodyModel,
        prior: PosePrior,
        crops: np.ndarray | Tensor,
        pose: Tensor,
        betas: Tensor,
        camera: Tensor,
        strength: float = STRENGTH,
        keypoints: Tensor | None = None,
    ) -> None:
        """crops (M, 3, S, S): real images of people, uint8 or floats in 0 ... 1; pose (M, 72) axis-angle in rad, betas
        (M, 10), camera (M, 3): the network's estimates on them. strength: the s of `draw`. keypoints (M, 24, 3) of the
        people, in the order J24, x and y in crop coordinates and confidence, 0 = unknown: where they are given, colours
        are taken near them alone, and no limb that the estimate misses is left in a background.

        UserError where hardly any of the bodies lies in its image.
        """
        self.body, self.prior, self.strength = body, prior, strength
        self.size = crops.shape[-1]
        self.estimate(pose, betas, camera)
        rows = np.unique(np.linspace(0, len(crops) - 1, MOST).astype(int))
        colours, backgrounds, filled = [], [], []
        for some in np.array_split(rows, math.ceil(len(rows) / CHUNK)):
            images = _floats(crops[some]).to(body.device)
            picks = torch.from_numpy(some).to(body.device)
            vertices = self._placed(axis_angle_to_matrix(self.pose[picks]), self.betas[picks], self.camera[picks])
            seen, pixels, people = seen_vertices(body, vertices, self.size)
            if keypoints is not None:
                lines = bones(keypoints[picks.to(keypoints.device)].to(body.device), self.size)
                known = lines.any((1, 2))[:, None]  # without a bone the estimate is believed
                seen &= looked_at(widened(lines), pixels) | ~known
                people |= lines
            found, enough = vertex_colours(body, images, pixels, seen)
            background, gone = without_people(images, widened(people))
            colours.append((found[enough] * 255).round().byte())
            backgrounds.append((background * 255).round().byte())
            filled.append(gone)
        self.colours, self.backgrounds, self.filled = map(torch.cat, (colours, backgrounds, filled))
        if not len(self.colours):
            raise UserError(
                "dapa: the estimates of the start lie beside the people of all real images, so that no colours can be "
                "taken; give a model that finds people in them"
            )

    def estimate(self, pose: Tensor, betas: Tensor, camera: Tensor) -> None:
        """Take newer estimates of the same M people. Shapes as in `__init__`."""
        values = (pose.view(-1, 24, 3), betas, camera)
        self.pose, self.betas, self.camera = (value.detach().to(self.body.device) for value in values)

    @torch.no_grad()
    def draw(
        self, rng: np.random.Generator, count: int, turn: np.ndarray | None = None, mirror: np.ndarray | None = None
    ) -> dict[str, Tensor]:
        """N = count images with labels, on the body's device.

        Each code z of the prior becomes z (1 + s U), with U uniform in 0 ... 1 for each of its numbers: harder than the
        estimate, never easier. The person fills the crop as SPIN crops people. turn (N,) rad and mirror (N,) bool: the
        crop is seen as if its window had been turned clockwise and then mirrored.

        `image` (N, 3, S, S) float32 in 0 ... 1; `rotations` (N, 24, 3, 3); `betas` (N, 10); `camera` (N, 3);
        `keypoints` (N, 49, 3) in SPIN-49 order: crop coordinates, -1 ... 1 from edge to edge, and the confidence 1.
        """
        rows = rng.integers(len(self.pose), size=count)
        rotations = self._varied(rng, rows)
        picks = torch.from_numpy(rows).to(self.body.device)
        betas, camera = self.betas[picks], self._framed(rotations, self.betas[picks], self.camera[picks])
        if turn is not None:
            rotations, camera = self._turned(rotations, betas, camera, torch.from_numpy(turn))
        if mirror is not None:
            rotations, camera = self._mirrored(rotations, betas, camera, torch.from_numpy(mirror))
        points = project_on_crop(spin49(self.body.joints54(rotations, betas)), camera)
        return {
            "image": self._image(rng, rotations, betas, camera),
            "rotations": rotations,
            "betas": betas,
            "camera": camera,
            "keypoints": torch.cat([points, torch.ones_like(points[..., :1])], -1),
        }

    def _varied(self, rng: np.random.Generator, rows: np.ndarray) -> Tensor:
        """(N, 24, 3, 3): estimates with another body pose each. The hands stay, which the prior does not know."""
        pose = self.pose[torch.from_numpy(rows).to(self.body.device)]
        codes = self.prior.encode(pose[:, 1:].flatten(1).cpu().numpy())[0]
        varied = self.prior.decode(codes * (1 + self.strength * rng.random(codes.shape))).reshape(len(rows), -1, 3)
        known = torch.from_numpy(varied).to(pose)
        return axis_angle_to_matrix(torch.cat([pose[:, :1], known, pose[:, 1 + known.shape[1] :]], 1))

    def _framed(self, rotations: Tensor, betas: Tensor, camera: Tensor) -> Tensor:
        """The cameras (N, 3) of SPIN's crops around the varied bodies. camera: of the crops of the estimates.

        A crop with the centre c and the side h, in units of the old one, shows at (u - c) / h what was at u.
        """
        points = project_on_crop(spin49(self.body.joints54(rotations, betas))[:, J24_PART], camera).cpu().numpy()
        everything = np.ones(points.shape[1], bool)
        crop = np.array([person_crop(person, everything, TORSOS, LOOSE) for person in points], np.float32)
        moved = torch.from_numpy(crop).to(camera)
        scale = camera[:, :1] / (moved[:, 2:] / 2)
        return torch.cat([scale, camera[:, 1:] - moved[:, :2] / camera[:, :1]], 1)

    def _turned(self, rotations: Tensor, betas: Tensor, camera: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations and cameras as seen through windows that are turned clockwise by turn (N,) rad."""
        around = torch.zeros(len(turn), 3, device=camera.device)
        around[:, 2] = -turn.to(camera)
        matrix = axis_angle_to_matrix(around)
        pelvis = self.body.skeleton(rotations, betas)[:, 0, :2]  # a global orientation turns the body about it
        shift = (matrix[:, :2, :2] @ (pelvis + camera[:, 1:])[..., None])[..., 0] - pelvis
        rotations = torch.cat([(matrix @ rotations[:, 0])[:, None], rotations[:, 1:]], 1)
        return rotations, torch.cat([camera[:, :1], shift], 1)

    def _mirrored(self, rotations: Tensor, betas: Tensor, camera: Tensor, mirror: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations and cameras of the mirror images, where mirror (N,) is true."""
        mirror = mirror.to(camera.device)
        sign = torch.tensor([-1.0, 1, 1], device=camera.device)
        other = (sign[:, None] * sign * rotations)[:, FLIP24]
        pelvis = self.body.skeleton(rotations, betas)[:, 0, 0]
        shift = torch.stack([camera[:, 0], -2 * pelvis - camera[:, 1], camera[:, 2]], 1)
        return (
            torch.where(mirror[:, None, None, None], other, rotations),
            torch.where(mirror[:, None], shift, camera),
        )

    def _placed(self, rotations: Tensor, betas: Tensor, camera: Tensor) -> Tensor:
        """(N, V, 3) m: vertices in the camera of a crop of S px."""
        K = torch.from_numpy(full_image_K(self.size, self.size)).to(camera)
        half = self.size / 2
        whole = torch.tensor([[half, half, float(self.size)]], device=camera.device).repeat(len(camera), 1)
        return self.body(rotations[:, :1], rotations[:, 1:], betas, weak_to_transl(camera, whole, K))[0]

    def _image(self, rng: np.random.Generator, rotations: Tensor, betas: Tensor, camera: Tensor) -> Tensor:
        """(N, 3, S, S) in 0 ... 1."""
        count, device = len(camera), camera.device
        colours = self.colours[torch.from_numpy(rng.integers(len(self.colours), size=count)).to(device)] / 255
        light = _to(
            F.normalize(torch.from_numpy(rng.normal(size=(count, 1, 3)) - np.array([0, 0.7, 0.7])), dim=-1), device
        )
        ambient, diffuse = (
            _to(torch.from_numpy(rng.uniform(*span, (count, 1, 1))), device) for span in (AMBIENT, DIFFUSE)
        )
        images = self._background(rng, count)
        fine = FINER * self.size
        K = torch.from_numpy(full_image_K(fine, fine)).to(device)
        for first in range(0, count, CHUNK):
            part = slice(first, first + CHUNK)
            vertices = self._placed(rotations[part], betas[part], camera[part])
            drawn = rasterise(vertices, self.body.faces, K, fine, fine).face
            normals = vertex_normals(vertices, self.body.faces)
            bright = ambient[part] + diffuse[part] * (normals * light[part]).sum(-1, keepdim=True).clamp(min=0)
            shaded = (colours[part] * bright).clamp(max=1)
            pixels = torch.stack(
                [
                    interpolate(face, points, self.body.faces, K, colour)
                    for face, points, colour in zip(drawn, vertices, shaded, strict=True)
                ]
            )
            covered = F.avg_pool2d((drawn >= 0)[:, None].float(), FINER)
            images[part] = images[part] * (1 - covered) + F.avg_pool2d(pixels.permute(0, 3, 1, 2), FINER)
        return images

    def _background(self, rng: np.random.Generator, count: int) -> Tensor:
        """(N, 3, S, S) in 0 ... 1: windows of the real images, some of them mirrored, with little that was filled."""
        rows = torch.from_numpy(rng.integers(len(self.backgrounds), size=count)).to(self.body.device)
        side = rng.uniform(*WINDOW, (TRIES, count))
        shift = rng.uniform(-1, 1, (TRIES, count, 2)) * (1 - side[..., None])  # the window lies inside the crop
        flip = np.where(rng.random((TRIES, count)) < 0.5, -1.0, 1.0)
        zero = np.zeros_like(side)
        matrix = np.stack([side * flip, zero, shift[..., 0], zero, side, shift[..., 1]], -1).reshape(TRIES, count, 2, 3)
        windows = _to(torch.from_numpy(matrix), self.body.device)
        filled = self.filled[rows][:, None].float()
        share = torch.stack([warp(filled, window, self.size // 4).mean((1, 2, 3)) for window in windows])
        best = windows[share.argmin(0), torch.arange(count, device=self.body.device)]
        return warp(self.backgrounds[rows] / 255, best, self.size, padding="border")


def _floats(images: np.ndarray | Tensor) -> Tensor:
    """uint8 or floats in 0 ... 1 -> float32 in 0 ... 1."""
    tensor = torch.as_tensor(images)
    return tensor.float() if tensor.is_floating_point() else tensor.float() / 255


def _to(values: Tensor, device: torch.device) -> Tensor:
    return values.float().to(device)
