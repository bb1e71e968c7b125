"""The grid of images that a training writes as samples.png: what its latest export makes of a few scenes.

The product's own adapters load the exported files and draw it, so a grid also proves that they load. One function for
each model; all return (H, W, 3) uint8.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from factory.geometry.camera import full_image_K, weak_to_transl
from factory.present.pictures import contact_sheet, masks, overlay
from factory.training.tensors import images_to_tensor

if TYPE_CHECKING:
    from factory.starter.world.cache import Cache
    from factory.starter.world.people import VisiblePeople

SIDE = 128  # px, side of each image in the grid
PERSON_IDS = range(1, 10)  # of people, in maps of instances


def vae_samples(export: Path | str, cache: Cache, count: int = 8) -> np.ndarray:
    """Images of scenes, each beside its reconstruction."""
    from diffusers import AutoencoderKL

    images = _spread(cache.images, count)
    network = AutoencoderKL.from_pretrained(export, torch_dtype=torch.float32).eval()
    with torch.no_grad():
        drawn = network.decode(network.encode(images_to_tensor(images)).latent_dist.mode()).sample
    rebuilt = ((drawn + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return contact_sheet(list(zip(images, rebuilt, strict=True)), side=SIDE)


def diffusion_samples(export: Path | str, cache: Cache, count: int = 4, steps: int = 12) -> np.ndarray:
    """For each scene: an image drawn from its prompt alone, the scene, and the scene redrawn under its depth."""
    from factory.geometry.body import BodyModel
    from factory.geometry.rasteriser import rasterise
    from factory.models.diffusion.depth_to_image import DepthToImage
    from factory.models.diffusion.text_to_image import TextToImage

    populated = np.asarray([np.isin(instances, PERSON_IDS).any() for instances in cache.instances[:64]])
    rows = np.flatnonzero(populated)[:count]
    images, prompts, seeds = np.array(cache.images[rows]), [cache.prompts[i] for i in rows], list(range(len(rows)))
    body, depths = BodyModel("starter:body"), []
    for i in rows:
        n = int(cache.count[i])
        pose, betas, transl = (torch.from_numpy(np.array(a[i, :n])) for a in (cache.pose, cache.betas, cache.transl))
        vertices, _ = body(pose[:, :3], pose[:, 3:], betas, transl)
        depth = rasterise(vertices, body.faces, torch.from_numpy(np.array(cache.K[i])), SIDE, SIDE).depth.numpy()
        nearest = np.where(depth > 0, depth, np.inf).min(0)
        depths.append(np.where(np.isin(cache.instances[i], PERSON_IDS) & np.isfinite(nearest), nearest, 0))
    text = TextToImage(str(Path(export) / "text-to-image")).generate(prompts, seeds, SIDE, steps, 2.5)
    model = DepthToImage(str(Path(export) / "depth-to-image"))
    redrawn = model.refine(images, np.stack(depths).astype(np.float32), prompts, seeds, steps, 0.9, 2.0)
    return contact_sheet(list(zip(text, images, redrawn, strict=True)), columns=2, side=SIDE)


def hmr_samples(export: Path | str, cache: Cache, people: VisiblePeople, count: int = 8) -> np.ndarray:
    """Crops of people, each beside the body that is estimated from it."""
    from factory.geometry.body import BodyModel
    from factory.geometry.crops import cut
    from factory.models.hmr.spin import load_spin

    body, whole = BodyModel("starter:body"), np.array([[0, 0, SIDE, SIDE]], np.float32)
    rows = _spread(np.arange(len(people)), count)
    crops = [cut(np.array(cache.images[people.image[i]]), people.crop[i], SIDE) for i in rows]
    estimates = load_spin(str(export), crop_scale=1.0).estimate(crops, [whole] * len(crops))
    K = full_image_K(SIDE, SIDE)
    pairs = []
    for crop, bodies in zip(crops, estimates, strict=True):
        posed = {name: getattr(bodies, name) for name in ("global_orient", "body_pose", "betas")}
        posed |= {"transl": weak_to_transl(bodies.camera, bodies.crop, K), "K": K[None]}
        pairs.append((crop, overlay(crop, posed, body, 2 * SIDE)))
    return contact_sheet(pairs, side=SIDE)


def detector_samples(export: Path | str, cache: Cache, count: int = 8) -> np.ndarray:
    """Images of scenes, each beside its masks: people in blue, objects in orange."""
    from factory.models.detectors.mask2former import Mask2Former

    images = list(_spread(cache.images, count))
    pairs = []
    for image, instances in zip(images, Mask2Former(str(export)).detect(images), strict=True):
        person, thing = (
            np.any([i.mask for i in instances if i.label == label] or [np.zeros(image.shape[:2], bool)], axis=0)
            for label in ("person", "object")
        )
        pairs.append((image, masks(image, person, thing)))
    return contact_sheet(pairs, side=SIDE)


def vposer_samples(export: Path | str, poses: np.ndarray, count: int = 8) -> np.ndarray:
    """Some of the poses (N, 63), each beside its reconstruction from the code."""
    from factory.geometry.body import BodyModel
    from factory.models.priors.choice import load_prior

    prior, body = load_prior("vposer-v1", str(export)), BodyModel("starter:body")
    picked = _spread(poses, count)
    rebuilt = prior.decode(prior.encode(picked)[0])
    pairs = [[_draw_body(pose, body) for pose in pair] for pair in zip(picked, rebuilt, strict=True)]
    return contact_sheet(pairs, side=SIDE)


def _draw_body(pose: np.ndarray, body: Any) -> np.ndarray:
    """pose (63,) -> (SIDE, SIDE, 3): the body, facing a camera 45 m away, on a dark background."""
    person = {
        "global_orient": np.array([[np.pi, 0, 0]], np.float32),
        "body_pose": np.pad(pose, (0, 6))[None].astype(np.float32),
        "betas": np.zeros((1, 10), np.float32),
        "transl": np.array([[0, 0.2, 45]], np.float32),
        "K": full_image_K(SIDE, SIDE)[None],
    }
    return overlay(np.full((SIDE, SIDE, 3), 30, np.uint8), person, body, SIDE, alpha=1.0)


def _spread(array: np.ndarray, count: int) -> np.ndarray:
    """At most `count` rows of the array, evenly spread."""
    return np.array(array[np.unique(np.linspace(0, len(array) - 1, count).astype(int))])
