"""A data set as training samples for PyTorch: one person each, cropped, turned, scaled and flipped as SPIN trains.

Ten lines that train one step:

    import factory, torch
    from factory.models.hmr.spin import SpinHMR
    from factory.geometry.rotations import axis_angle_to_matrix
    people = factory.load("out/demo", crop=96, where="silhouette_iou > 0.2")
    batch = next(iter(torch.utils.data.DataLoader(people, batch_size=16, num_workers=2)))
    network = SpinHMR([1, 1, 1, 1], width=16, hidden=128, crop=96)
    rotations, betas, camera = network(batch.image)
    loss = (rotations - axis_angle_to_matrix(batch.pose.view(-1, 24, 3))).square().mean() + betas.square().mean() / 100
    loss.backward()
    torch.optim.Adam(network.parameters(), lr=1e-4).step()
"""

from __future__ import annotations

import random
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy.spatial.transform import Rotation
from torch import Tensor

from factory.errors import UserError
from factory.geometry.camera import transl_to_weak
from factory.geometry.crops import cut, normalise, square_crop
from factory.geometry.joints import FLIP24, FLIP49
from factory.job import JobSpec

BOX_SCALE = 1.2  # side of the crop over the longer side of the body's box
# SPIN's augmentation: spread of the scale, spread of the turn (degrees; none in 60 % of the samples), colour noise.
SCALE, TURN, UNTURNED, COLOUR = 0.25, 30.0, 0.6, 0.4
LEAST_SIDE = 1.0  # px: the side of the smallest box
SPIN_PELVIS = 8  # of SPIN-49: SMPL's root joint
LABEL_ARRAYS = ("pose", "betas", "transl", "K", "joints2d", "joints3d", "bbox")  # of smpl.npz, that are read here


class TrainingSample(NamedTuple):
    """One person. A DataLoader stacks the tensors and lists the keys.

    image (3, crop, crop) float32, ImageNet-normalised RGB, black outside the picture.
    pose (72,) axis-angle, camera frame; betas (10,); camera (3,): weak-perspective (s, tx, ty) on the crop.
    joints2d (49, 3): -1 ... 1 across the crop, and confidence. joints3d (49, 4): m from the pelvis, and confidence.
    """

    key: str
    person: int  # which of the image's people
    image: Tensor
    pose: Tensor
    betas: Tensor
    camera: Tensor
    joints2d: Tensor
    joints3d: Tensor


class View(NamedTuple):
    """How a person is looked at: crop (3,) = centre x, y, side px; turn (rad, clockwise in the image); mirrored or
    not; colour (3,) factors."""

    crop: np.ndarray
    turn: float = 0.0
    flip: bool = False
    colour: np.ndarray = np.ones(3, np.float32)


def load(out: str | Path, *, crop: int = 224, train: bool = True, where: str | None = None, shuffle: int = 1000) -> Any:
    """The people of all sealed shards, as a `webdataset.DataPipeline` of `TrainingSample`: an IterableDataset.

    crop: side of the images, px. train: augmented and in random order (by torch's seed), else as they lie. where: a
    condition on the index, as for `factory export`. shuffle: images held to draw from.

    Whole shards are divided among the ranks of a distributed training and the workers of each rank's DataLoader. Where
    there are fewer shards than readers, the samples are divided instead, and every reader reads every shard. UserError:
    no data set, nothing sealed, a wrong condition or one that nothing fits; while reading, fewer samples than readers.
    """
    import webdataset as wds

    job, shards, keys = _find(str(out), where)
    stages = [wds.SimpleShardList(list(shards)), partial(_divide_shards, total=len(shards))]
    stages += [partial(_shuffle, size=len(shards))] if train else []
    stages += [partial(_samples, job=job)]
    stages += [partial(_select, keys=keys)] if keys is not None else []
    stages += [partial(_divide_samples, shards=shards)]
    stages += [partial(_shuffle, size=shuffle)] if train else []
    return wds.DataPipeline(*stages, partial(_people, size=crop, train=train, job=job))


def _find(out: str, where: str | None) -> tuple[JobSpec, dict[str, int], frozenset[str] | None]:
    """The job; path of each shard that holds samples that fit -> how many; keys of those samples, None for all."""
    from factory.store.dataset import open_data
    from factory.store.fs import LocalFiles
    from factory.store.index import SCHEMA
    from factory.store.where import Where, select

    data = open_data(out)
    if not isinstance(data.files, LocalFiles):
        raise UserError(f"{out}: training reads from a disk; copy the data set to a folder first")
    condition = Where(where, SCHEMA) if where else None
    shards: dict[str, int] = {}
    keys: set[str] = set()
    sealed = sorted(data.sealed)
    for shard, index in zip(sealed, data.read_indexes(map(data.shard, sealed)), strict=True):
        rows, tar_name = index.table()[0], data.shard(shard).tar_name
        chosen = rows.filter(select(condition, rows))["key"].to_pylist()
        if chosen:
            shards[str((data.files.root / tar_name).absolute())] = len(chosen)
            keys.update(chosen if condition else ())
    if not shards:
        why = f"no sample fits {where!r}" if where and sealed else f"none of {data.plan.shards} shards is ready"
        raise UserError(f"{out}: {why}; see factory stats {out}")
    return data.job, shards, frozenset(keys) if condition else None


def _reader() -> tuple[int, int]:
    """(number, count) of this reader among all workers of all ranks."""
    from webdataset.utils import pytorch_worker_info

    rank, ranks, worker, workers = pytorch_worker_info()
    return rank * workers + worker, ranks * workers


def _divide_shards(shards: Iterable[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    """This reader's shards; all of them where there are fewer than readers."""
    number, readers = _reader()
    return islice(shards, number, None, readers) if readers <= total else iter(shards)


def _divide_samples(samples: Iterable[dict[str, Any]], shards: dict[str, int]) -> Iterator[dict[str, Any]]:
    """This reader's samples, where every reader reads all `shards` (path -> samples): by their place in the data set,
    which is the same for every reader in whatever order it reads the shards."""
    number, readers = _reader()
    if readers <= len(shards):
        yield from samples
        return
    if readers > (total := sum(shards.values())):
        raise UserError(
            f"factory.load: {total} samples cannot be divided among {readers} readers (ranks x DataLoader workers), "
            "and a rank without any would hang a distributed training; use fewer workers, or a looser `where`"
        )
    first = dict(zip(shards, accumulate(shards.values(), initial=0), strict=False))
    seen: Counter[str] = Counter()
    for sample in samples:
        url = sample["__url__"]
        if (first[url] + seen[url]) % readers == number:
            yield sample
        seen[url] += 1


def _seed() -> int:
    """Torch seeds each worker of each epoch anew, from the seed of the main process."""
    return int(torch.randint(2**62, ()))


def _shuffle(items: Iterable[dict[str, Any]], size: int) -> Iterator[dict[str, Any]]:
    import webdataset as wds

    return wds.shuffle(size, rng=random.Random(_seed()))(items)


def _samples(shards: Iterable[dict[str, Any]], job: JobSpec) -> Iterator[dict[str, Any]]:
    """The samples of the shards, as webdataset has them: __key__, and extension -> bytes. A data set may be a
    stranger's: what webdataset reads itself may be packed, sparse or a link."""
    from factory.store.decode import most_sample_bytes
    from factory.store.tar import tar_stream

    for shard in shards:
        sample: dict[str, Any] = {}
        try:
            with open(shard["url"], "rb") as file:
                for name, content in tar_stream(file, most_sample_bytes(job)):
                    key, _, extension = name.partition(".")
                    if sample and sample["__key__"] != key:
                        yield sample
                        sample = {}
                    sample |= {"__key__": key, "__url__": shard["url"], extension: content}
        except (OSError, tarfile.TarError) as error:
            raise _damaged(shard["url"], error) from None
        if sample:
            yield sample


def _damaged(url: str, why: Exception) -> UserError:
    return UserError(f"{url}: damaged ({why}); factory verify tells how much of it")


def _select(samples: Iterable[dict[str, Any]], keys: frozenset[str]) -> Iterator[dict[str, Any]]:
    return (sample for sample in samples if sample["__key__"] in keys)


def _people(samples: Iterable[dict[str, Any]], size: int, train: bool, job: JobSpec) -> Iterator[TrainingSample]:
    from factory.store.decode import decode_image, decode_people
    from factory.untrusted import Unreadable

    rng = np.random.default_rng(_seed()) if train else None
    for sample in samples:
        try:
            image, people = decode_image(sample["jpg"], job), decode_people(sample["smpl.npz"], LABEL_ARRAYS)
        except (Unreadable, KeyError) as error:
            raise _damaged(f"{sample['__url__']}: {sample['__key__']}", error) from None
        for i in range(len(people["pose"])):
            label = {name: rows[i] for name, rows in people.items()}
            if (
                label["bbox"][2:] - label["bbox"][:2] < LEAST_SIDE
            ).any():  # out of the picture: no export holds it either
                continue
            view = View(square_crop(label["bbox"], BOX_SCALE))
            yield crop_person(sample["__key__"], i, image, label, _augmented(view, rng) if rng else view, size)


def _augmented(view: View, rng: np.random.Generator) -> View:
    scale = 1 + float(np.clip(SCALE * rng.normal(), -SCALE, SCALE))
    turn = 0.0 if rng.random() < UNTURNED else float(np.deg2rad(np.clip(TURN * rng.normal(), -2 * TURN, 2 * TURN)))
    colour = rng.uniform(1 - COLOUR, 1 + COLOUR, 3).astype(np.float32)
    return View(view.crop * np.array([1, 1, scale], np.float32), turn, bool(rng.random() < 0.5), colour)


def crop_person(
    key: str, person: int, image: np.ndarray, label: dict[str, np.ndarray], view: View, size: int
) -> TrainingSample:
    """image (H, W, 3) uint8 and one row of each array of smpl.npz, seen so -> image and label that fit each other."""
    x, y, side = (float(v) for v in view.crop)
    if view.turn:
        turned = Image.fromarray(image).rotate(-np.degrees(view.turn), Image.Resampling.BILINEAR, center=(x, y))
        image = np.asarray(turned)
    picture = cut(image, view.crop, size)
    picture = (picture * view.colour).clip(0, 255).astype(np.uint8) if (view.colour != 1).any() else picture
    turn = Rotation.from_rotvec([0, 0, view.turn])  # about the line of sight: clockwise, as y points down
    matrix = turn.as_matrix().astype(np.float32)

    pose = label["pose"].reshape(24, 3).copy()
    pose[0] = (turn * Rotation.from_rotvec(pose[0])).as_rotvec()
    joints3d = label["joints3d"].copy()
    joints3d[:, :3] = (joints3d[:, :3] - joints3d[SPIN_PELVIS, :3]) @ matrix.T
    joints2d = label["joints2d"].copy()
    joints2d[:, :2] = (joints2d[:, :2] - view.crop[:2]) * 2 / side @ matrix[:2, :2].T
    weak = transl_to_weak(*(torch.from_numpy(a[None]) for a in (label["transl"], view.crop, label["K"])))[0].numpy()
    rest = (label["joints3d"][SPIN_PELVIS, :3] - label["transl"])[
        :2
    ]  # the root joint before it is moved: no turn moves it
    root = matrix[:2, :2] @ (weak[1:] + rest)  # m from the crop's centre
    if view.flip:
        picture = picture[:, ::-1]
        pose = (pose * [1, -1, -1])[list(FLIP24)]
        joints3d = (joints3d * [-1, 1, 1, 1])[list(FLIP49)]
        joints2d = (joints2d * [-1, 1, 1])[list(FLIP49)]
        root = root * [-1, 1]
    camera = np.concatenate([weak[:1], root - rest])
    arrays = (pose.reshape(72), label["betas"], camera, joints2d, joints3d)
    tensors = (torch.from_numpy(np.ascontiguousarray(array, np.float32)) for array in arrays)
    return TrainingSample(key, person, normalise(picture[None].copy())[0], *tensors)
