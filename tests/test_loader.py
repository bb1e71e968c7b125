"""`factory.load`: labels fit their crops whatever was done to them, and every reader sees the same samples."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import factory
from factory import loader
from factory.errors import UserError
from factory.geometry.body import spin49
from factory.geometry.camera import project_on_crop
from factory.geometry.crops import MEAN, STD, square_crop
from factory.geometry.joints import FLIP24, FLIP49
from factory.job import JobSpec
from factory.record import Record
from factory.store.dataset import open_data
from tests.support import small
from tests.support.forge import arrays, forge


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """12 records in 3 shards of 4, the last one with nothing but rejected ones."""
    values = {
        "name": "small", "output": str(tmp_path_factory.mktemp("data") / "out"), "records": 12, "image_size": 128,
        "unit_size": 2, "samples_per_shard": 4, "engine": "inline", "prompts": {"action": ["walking", "diving"]},
        "body": {"model": "starter:body", "name": "open-body"},
        "stages": {
            "generate": {"model": "starter:text-to-image"},
            "estimate": {
                "hmr": {"model": "starter:hmr"}, "prior": {"model": "starter:vposer"},
                "detector": {"model": "starter:detector"}, "easy": "refine",
            },
            "refine": {"model": "starter:depth-to-image"},
        },
    }  # fmt: skip
    job = JobSpec.model_validate(values)
    small.make(job, rejected=(3, 8, 9, 10, 11), two=(1,))
    return Path(job.output)


def label(record: Record) -> dict[str, np.ndarray]:
    person = record.people[0]
    names = ("transl", "K", "bbox", "betas", "joints2d", "joints3d")
    pose = np.concatenate([person.global_orient, person.body_pose])
    return {"pose": pose, **{name: getattr(person, name) for name in names}}


@pytest.fixture(scope="module")
def record() -> Record:
    one = Record("a", 5, "a person")
    small.fill(one, 128)
    return one


def views(record: Record) -> dict[str, loader.View]:
    crop = square_crop(record.people[0].bbox, 1.2)
    return {
        "plain": loader.View(crop),
        "flip": loader.View(crop, flip=True),
        "turn": loader.View(crop, turn=0.6),
        "all": loader.View(crop * np.array([1, 1.1, 0.9], np.float32), turn=-0.9, flip=True),
    }


@pytest.mark.parametrize("name", ["plain", "flip", "turn", "all"])
def test_label_and_image_stay_one(record, name):
    """The body posed anew gives the 3D joints, the camera sees them where the 2D ones are, and so does the image."""
    sample = loader.crop_person("a", 0, record.final, label(record), views(record)[name], 256)
    pose = sample.pose[None]
    joints = spin49(small.body()(pose[:, :3], pose[:, 3:], sample.betas[None], torch.zeros(1, 3))[1])
    rooted = joints[0] - joints[0, loader.SPIN_PELVIS]
    assert (rooted - sample.joints3d[:, :3]).norm(dim=-1).max() < 0.02  # no body is quite its mirror image
    seen = project_on_crop(joints, sample.camera[None])[0]
    assert (seen - sample.joints2d[:, :2]).norm(dim=-1).max() < 0.03  # 1.5 % of the crop
    picture = ((sample.image * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)) * 255).numpy()
    for joint, colour in small.WRISTS:
        if views(record)[name].flip:  # the left wrist of the mirror image is where the right one was
            joint = FLIP49[joint]
        fits = np.abs(picture - np.array(colour).reshape(3, 1, 1)).max(0) < 90
        rows, columns = np.nonzero(fits)
        at = (sample.joints2d[joint, :2].numpy() + 1) * 128
        assert len(rows) and np.hypot(columns.mean() + 0.5 - at[0], rows.mean() + 0.5 - at[1]) < 4


def test_flips_are_left_for_right():
    for flip in (FLIP24, FLIP49):
        assert [flip[i] for i in flip] == list(range(len(flip)))


def test_every_person_of_every_sample_once(out):
    found = [(sample.key, sample.person) for sample in factory.load(out, crop=64, train=False)]
    rows = [row for row in open_data(str(out)).rows.to_pylist() if row["size"]]
    assert found == [(row["key"], i) for row in rows for i in range(row["people"])] and len(found) == 8


def test_whoever_is_out_of_the_picture_is_no_sample(out, tmp_path):
    """The first of two people has an empty box."""

    def change(stored):
        stored["bbox"][0] = 7 if len(stored["bbox"]) == 2 else stored["bbox"][0]
        return stored

    shutil.copytree(out, tmp_path / "out")
    forge(tmp_path / "out", arrays(change))
    before, after = ([(s.key, s.person) for s in loader.load(place, train=False)] for place in (out, tmp_path / "out"))
    assert after == [place for place in before if place != ("small-00000001", 0)] and len(after) == len(before) - 1


def test_workers_share_the_shards_and_see_the_same(out):
    plain = {(s.key, s.person): s for s in factory.load(out, crop=64, train=False)}
    batches = list(DataLoader(factory.load(out, crop=64, train=False), batch_size=3, num_workers=2))
    assert batches[0].image.shape == (3, 3, 64, 64) and batches[0].pose.shape == (3, 72)
    seen = [(key, int(i)) for batch in batches for key, i in zip(batch.key, batch.person, strict=True)]
    assert sorted(seen) == sorted(plain)
    for batch in batches:
        for key, i, image in zip(batch.key, batch.person, batch.image, strict=True):
            assert torch.equal(image, plain[key, int(i)].image)


def test_training_is_augmented_and_follows_the_seed(out):
    def draw(seed: int) -> list[loader.TrainingSample]:
        torch.manual_seed(seed)
        return list(factory.load(out, crop=64))

    first, again, other = draw(1), draw(1), draw(2)
    assert [s.key for s in first] == [s.key for s in again] and torch.equal(first[0].image, again[0].image)
    assert sorted(s.key for s in first) == sorted(s.key for s in other)
    plain = {(s.key, s.person): s for s in factory.load(out, crop=64, train=False)}
    assert not any(torch.equal(s.pose, plain[s.key, s.person].pose) and s.camera[0] == plain[s.key, s.person].camera[0]
                   for s in first)  # fmt: skip


def test_a_condition_chooses(out):
    rows = {row["key"]: row for row in open_data(str(out)).rows.to_pylist()}
    keys = {sample.key for sample in factory.load(out, crop=32, where="oks > 0.75")}
    assert keys == {key for key, row in rows.items() if row["size"] and row["oks"] > 0.75} and 0 < len(keys) < 7


@pytest.mark.parametrize(
    ("where", "words"), [("oks > 2", "no sample fits"), ("silhouete_iou > 1", "did you mean silhouette_iou?")]
)
def test_what_fits_nothing_is_told(out, where, words):
    with pytest.raises(UserError, match=re.escape(words)):
        factory.load(out, where=where)


def test_no_data_set(tmp_path):
    with pytest.raises(UserError, match="no data set"):
        factory.load(tmp_path)


def test_images_are_those_of_the_shards(out):
    row = next(row for row in open_data(str(out)).rows.to_pylist() if row["size"])
    files = open_data(str(out)).sample_files(row)
    image = np.asarray(Image.open(io.BytesIO(files["jpg"])))
    with np.load(io.BytesIO(files["smpl.npz"])) as people:
        first = {name: people[name][0] for name in people.files}
    expected = loader.crop_person(row["key"], 0, image, first, loader.View(square_crop(first["bbox"], 1.2)), 64)
    found = next(iter(factory.load(out, crop=64, train=False)))
    assert torch.equal(found.image, expected.image) and torch.equal(found.joints2d, expected.joints2d)


@pytest.mark.heavy(2)
def test_the_example_trains(out):
    """As the module's own words have it."""
    lines = [line[4:] for line in (loader.__doc__ or "").splitlines() if line.startswith("    ")]
    text = "\n".join(lines).replace("out/demo", str(out))
    names: dict = {}
    exec(compile(text, "example", "exec"), names)
    assert len(text.splitlines()) == 10 and torch.isfinite(names["loss"])
    assert names["batch"].image.shape[1:] == (3, 96, 96)
    assert names["network"].decpose.weight.grad.abs().sum() > 0


def read_by(out: Path, rank: int, ranks: int, workers: int, monkeypatch) -> list[tuple[str, int]]:
    """What one rank of a distributed training sees, as torchrun tells webdataset of it."""
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(ranks))
    people = factory.load(out, crop=32)
    batches = DataLoader(people, batch_size=2, num_workers=workers)
    return [(key, int(i)) for batch in batches for key, i in zip(batch.key, batch.person, strict=True)]


@pytest.mark.parametrize(("ranks", "workers"), [(2, 0), (3, 0), (3, 2)])
def test_no_rank_is_left_without_samples_however_few_shards_there_are(out, monkeypatch, ranks, workers):
    """Two shards hold samples: seven images, eight people."""
    seen = [read_by(out, rank, ranks, workers, monkeypatch) for rank in range(ranks)]
    assert all(seen)
    every = sorted(item for rank in seen for item in rank)
    monkeypatch.delenv("WORLD_SIZE")
    assert every == sorted((s.key, s.person) for s in factory.load(out, crop=32, train=False))


def test_more_readers_than_samples_are_told_so(out, monkeypatch):
    with pytest.raises(UserError, match=r"7 samples cannot be divided among 8 readers"):
        read_by(out, 0, 8, 0, monkeypatch)
