import pickle
import shutil
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from factory.errors import UserError
from factory.models.detectors.base import distinct, instance
from factory.models.detectors.choice import load_detector
from factory.models.detectors.detectron import read_weights

IMAGES = [np.random.default_rng(i).integers(0, 256, (100, 90, 3), np.uint8) for i in range(2)]


def test_instance_box_is_tight():
    mask = np.zeros((20, 30), bool)
    mask[4:9, 10:26] = True
    found = instance(0.9, True, mask)
    assert found.bbox.tolist() == [10, 4, 26, 9] and found.label == "person"
    assert instance(0.9, False, mask).label == "object"


def test_one_person_is_found_once():
    """A second look at the same person goes; someone partly behind another stays, and so does an object in front."""

    def box(score: float, left: int, right: int, person: bool = True):
        mask = np.zeros((10, 100), bool)
        mask[:, left:right] = True
        return instance(score, person, mask)

    best, again, behind = box(0.9, 0, 40), box(0.8, 5, 35), box(0.7, 30, 60)
    bar, between = box(0.6, 10, 20, person=False), box(0.5, 20, 50)
    assert distinct([behind, between, bar, again, best]) == [best, behind, bar]


def test_masks_lie_where_the_network_marks(tiny_detector):
    """A batch of one size is never padded, so the network's grid spans the image: its left half is the left half."""
    detector = load_detector("mask2former", str(tiny_detector), 0.5)
    left = torch.where(torch.arange(24) < 12, 5.0, -5.0).expand(1, 1, 32, 24)
    detector.network = lambda **_: SimpleNamespace(
        class_queries_logits=torch.tensor([[[9.0, 0, 0]]]), masks_queries_logits=left
    )
    assert detector.detect(IMAGES[:1])[0][0].bbox.tolist() == [0, 0, 45, 100]


def test_masks_come_at_image_size_best_first(tiny_detector):
    found = load_detector("mask2former", str(tiny_detector), 0.0).detect(IMAGES)
    assert len(found) == 2 and all(found)
    for some in found:
        scores = [i.score for i in some]
        assert scores == sorted(scores, reverse=True) and 0 < min(scores) <= max(scores) <= 1
        assert all(i.mask.shape == (100, 90) and i.mask.dtype == bool and i.mask.any() for i in some)


def test_threshold_filters_by_score(tiny_detector):
    everything = load_detector("mask2former", str(tiny_detector), 0.0).detect(IMAGES)[0]
    middle = everything[len(everything) // 2].score
    some = load_detector("mask2former", str(tiny_detector), middle).detect(IMAGES)[0]
    assert [i.score for i in some] == [i.score for i in everything if i.score >= middle]
    assert load_detector("mask2former", str(tiny_detector), 1.0).detect(IMAGES) == [[], []]


def test_labels_follow_the_models_names(tiny_detector, tmp_path):
    folder = shutil.copytree(tiny_detector, tmp_path / "renamed")
    config = (folder / "config.json").read_text()
    before = load_detector("mask2former", str(folder), 0.0).detect(IMAGES)[0]
    swapped = config.replace('"0": "person"', '"0": "bar"').replace('"1": "bar"', '"1": "person"')
    (folder / "config.json").write_text(swapped)
    after = load_detector("mask2former", str(folder), 0.0).detect(IMAGES)[0]
    assert {i.label for i in before} == {"person", "object"}
    swap = {"person": "object", "object": "person"}
    assert [swap[i.label] for i in after] == [i.label for i in before]
    (folder / "config.json").write_text(config.replace('"person"', '"human"'))
    with pytest.raises(UserError, match="no label `person`"):
        load_detector("mask2former", str(folder), 0.5)


def test_bad_folders_are_refused_in_one_line(tiny_detector, tmp_path):
    def refused(words: str, model: Path) -> None:
        with pytest.raises(UserError, match=words):
            load_detector("mask2former", str(model), 0.5)

    refused("model not found", Path("/no/such/folder"))
    folder = shutil.copytree(tiny_detector, tmp_path / "poor")
    file = folder / "model.safetensors"
    state = load_file(file)
    name = sorted(state)[0]
    save_file({key: value for key, value in state.items() if key != name}, file, {"format": "pt"})
    refused(f"detector .*poor: its file lacks 1 layers, first {name}; fetch it again", folder)
    save_file({**state, name: torch.zeros(3, 3)}, file, {"format": "pt"})
    refused("detector .*poor: .*fetch it again", folder)
    file.write_bytes(file.read_bytes()[:-100])
    refused("detector .*poor: does not load.*fetch it again", folder)
    (folder / "preprocessor_config.json").unlink()
    refused("detector .*poor does not load.*fetch it again", folder)


def test_without_detectron2_the_error_says_how_to_get_it():
    try:
        import detectron2  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match="built from source"):
            load_detector("detectron2", "model_final_f10217.pkl", 0.5)
    else:
        pytest.skip("detectron2 is installed")


def test_model_zoo_pickles_give_arrays(tmp_path):
    arrays = OrderedDict(weight=np.arange(6, dtype=np.float32).reshape(2, 3), count=np.array(3))
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "x"}, protocol=2))
    found = read_weights(str(tmp_path / "m.pkl"))
    assert torch.equal(found["weight"], torch.arange(6.0).view(2, 3)) and found["count"].item() == 3


def test_bad_weights_of_detectron2_are_refused_in_one_line(tmp_path):
    for name, data, words in (
        ("gone.pkl", None, "not found: .*model zoo"),
        ("cut.pkl", pickle.dumps({"model": np.zeros(9)})[:-20], "cut.pkl is damaged"),
        ("cut.pth", b"PK\3\4", "cut.pth is damaged"),
        ("list.pkl", pickle.dumps([1]), "no mapping of names to arrays"),
    ):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=words):
            read_weights(str(tmp_path / name))


class Boom:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_model_zoo_pickles_run_no_code(tmp_path):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"model": Boom(tmp_path / "ran")}))
    with pytest.raises(UserError, match="more than arrays"):
        read_weights(str(tmp_path / "m.pkl"))
    assert not (tmp_path / "ran").exists()
