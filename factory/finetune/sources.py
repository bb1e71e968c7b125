"""The people that a training reads: real ones with keypoints, synthetic ones with bodies, and those it is measured
on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from factory.errors import UserError
from factory.finetune.crops import Crops, Labels, crop_keypoints
from factory.finetune.options import FinetuneOptions
from factory.geometry.joints import J24_PART
from factory.geometry.rotations import axis_angle_to_matrix
from factory.home import at_home
from factory.labelled.base import OPEN_BODY, STARTER_BODY, LabelledPeople, ReadImages
from factory.labelled.choice import open_people
from factory.store.layout import JOB
from factory.training.tensors import to_device


def known_people(options: FinetuneOptions) -> LabelledPeople:
    """The people of --real who have 2D keypoints. UserError: nobody has."""
    assert options.real is not None
    people = open_people(options.real, split="train")
    known = np.flatnonzero((people.keypoints[:, J24_PART, 2] > 0).any(1))
    if not len(known):
        raise UserError(
            f"--real {options.real}: no person has 2D keypoints; give images with keypoints (part, or openpose)"
        )
    return people.take(known)


def real_people(options: FinetuneOptions) -> LabelledPeople:
    """The people of --real who have 2D keypoints, of the share that --share and --seed choose."""
    return of_share(known_people(options), options)


def of_share(people: LabelledPeople, options: FinetuneOptions) -> LabelledPeople:
    """Those of the people whose image is chosen."""
    chosen = chosen_images(people.images, options.share, options.seed)
    return people.take([row for row, image in enumerate(people.images) if image in chosen])


def chosen_images(images: Sequence[str], share: float, seed: int) -> set[str]:
    """A share of the distinct images, at least one. A smaller share of the same seed is part of a larger one."""
    distinct = sorted(set(images))
    order = np.random.default_rng((seed, len(distinct))).permutation(len(distinct))
    return {distinct[i] for i in order[: max(1, math.ceil(share * len(distinct) - 1e-9))]}


def synthetic_people(options: FinetuneOptions, real: LabelledPeople | None) -> list[LabelledPeople]:
    """The people with bodies of each --synthetic. UserError: nobody has a body, or bodies are of another model.

    real: all people of --real. Samples of the factory's own data sets that were made from one of their images are left
    out where --share leaves out that image: the training would see it all the same.
    """
    found = []
    for name in options.synthetic:
        people = _open_synthetic(name, options, real)
        if people.pose is None or people.betas is None:
            raise UserError(f"--synthetic {name}: has no bodies (pose and shape); they are what it would teach")
        require_body(people, options.body)
        labelled = np.flatnonzero(np.isfinite(people.pose).all(1) & np.isfinite(people.betas).all(1))
        if not len(labelled):
            raise UserError(f"--synthetic {name}: nobody has a body (has_smpl is 0 everywhere)")
        found.append(people.take(labelled))
    return found


def _open_synthetic(name: str, options: FinetuneOptions, real: LabelledPeople | None) -> LabelledPeople:
    condition = _condition(name, options, real)
    try:
        return open_people(name, split="train", where=condition)
    except UserError as error:
        if condition == options.where:
            raise
        # The condition lists thousands of images.
        words = str(error).replace(
            repr(condition), f"{options.where or ''!r} among the images of --share {options.share:g}"
        )
        raise UserError(words) from None


def _condition(name: str, options: FinetuneOptions, real: LabelledPeople | None) -> str | None:
    """The condition on the samples of a data set of the factory's own; for other data, the user's."""
    ours = "://" in name or (at_home(name) / JOB).is_file()
    if not ours or real is None or options.share == 1:
        return options.where
    unseen = sorted(set(real.images) - chosen_images(real.images, options.share, options.seed))
    if not unseen:
        return options.where
    quoted = ", ".join("'" + image.replace("'", "''") + "'" for image in unseen)
    return f"{f'({options.where}) and ' if options.where else ''}source not in ({quoted})"


def require_body(people: LabelledPeople, body: str) -> None:
    """UserError where the people's betas belong to another body model than `body`, as far as the data says."""
    said = people.body
    if said is not None and (said == OPEN_BODY) != (body == STARTER_BODY):
        raise UserError(f"{people.name}: its bodies are of {said}, and --body is {body}; give the body of the data")


def make_crops(people: LabelledPeople, size: int, bodies: bool = True) -> Crops:
    """Crops of people with their keypoints, and with their bodies where all have one; with `bodies` False without."""
    labels = Labels(to_device(crop_keypoints(people)))
    if bodies and people.pose is not None and people.betas is not None and np.isfinite(people.pose).all():
        labels.rotations = axis_angle_to_matrix(to_device(people.pose).view(-1, 24, 3))
        labels.betas = to_device(people.betas)
    return Crops(people, size, labels)


def joined(sets: Sequence[LabelledPeople]) -> LabelledPeople:
    """The people with bodies of at least one set, one set after the other."""
    first, *others = sets
    if not others:
        return first
    return replace(
        first,
        name=" + ".join(people.name for people in sets),
        images=tuple(f"{i}/{image}" for i, people in enumerate(sets) for image in people.images),
        crop=np.concatenate([people.crop for people in sets]),
        keypoints=np.concatenate([people.keypoints for people in sets]),
        action=tuple(action for people in sets for action in people.action),
        pose=np.concatenate([people.pose for people in sets if people.pose is not None]),
        betas=np.concatenate([people.betas for people in sets if people.betas is not None]),
        joints3d=None,
        skeleton=None,
        reader=JoinedImages([people.reader for people in sets]),
        gender=None,
    )


class JoinedImages:
    """Reads the images of several sets by NUMBER/NAME: a `ReadImages`."""

    def __init__(self, readers: list[ReadImages]) -> None:
        self.readers = readers

    def __call__(self, names: Sequence[str]) -> list[np.ndarray]:
        places = [name.split("/", 1) for name in names]
        pixels: dict[tuple[str, str], np.ndarray] = {}
        for number in sorted({number for number, _ in places}):
            own = [name for set_number, name in places if set_number == number]
            pixels |= zip([(number, name) for name in own], self.readers[int(number)](own), strict=True)
        return [pixels[number, name] for number, name in places]


def people_digest(people: LabelledPeople) -> str:
    """Of all that is read of the people but the pixels: two data sets with other people have other digests."""
    total = hashlib.sha256("\0".join(people.images).encode())
    for array in (people.crop, people.keypoints, people.pose, people.betas, people.joints3d):
        total.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]
