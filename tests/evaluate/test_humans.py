from __future__ import annotations

import numpy as np
import pytest
import torch

from factory.errors import UserError
from factory.evaluate.humans import cut_out, people_cutter
from factory.job_stages import DetectorSpec
from factory.models.detectors.base import Instance, instance

IMAGE = np.random.default_rng(0).integers(1, 255, (40, 40, 3), np.uint8)


def box(score: float, x0: int, y0: int, x1: int, y1: int, person: bool = True) -> Instance:
    mask = np.zeros((40, 40), bool)
    mask[y0:y1, x0:x1] = True
    mask[y0, x0] = False  # no full box: what is beside the mask must turn black
    return instance(score, person, mask)


FOUND = [box(0.9, 4, 2, 10, 32), box(0.8, 20, 5, 30, 15), box(0.7, 0, 0, 40, 2, person=False)]


def test_frame_shows_all_people_where_they_are():
    cut = cut_out(IMAGE, FOUND, "frame")
    assert cut is not None
    people = FOUND[0].mask | FOUND[1].mask
    assert (cut[people] == IMAGE[people]).all() and not cut[~people].any()


def test_person_shows_the_first_in_the_square_of_their_box():
    cut = cut_out(IMAGE, FOUND, "person")
    assert cut is not None and cut.shape == (30, 30, 3)
    assert (cut[1:, 12:18] == IMAGE[3:32, 4:10]).all()
    assert not cut[:, :12].any() and not cut[:, 18:].any() and not cut[0, 12].any()


@pytest.mark.parametrize("crop", ["frame", "person"])
def test_nobody_is_found(crop: str):
    assert cut_out(IMAGE, [], crop) is None
    assert cut_out(IMAGE, FOUND[2:], crop) is None
    assert cut_out(IMAGE, [box(0.49, 4, 2, 10, 32)], crop) is None


def test_unknown_crops_and_detectors_are_refused():
    with pytest.raises(UserError, match="--crop square: there are frame and person"):
        people_cutter(None, None, "square", torch.device("cpu"))
    with pytest.raises(UserError, match="--detector yolo=x: write mask2former=FOLDER or detectron2=FILE"):
        people_cutter("yolo=x", None, "frame", torch.device("cpu"))


def test_no_file_that_a_data_set_names_is_opened(tiny_detector):
    """Its job.json may come from a stranger."""
    named = DetectorSpec(model=str(tiny_detector))
    with pytest.raises(UserError, match=f"--humans: name the detector; .*--detector mask2former={tiny_detector}"):
        people_cutter(None, named, "frame", torch.device("cpu"))


def test_any_size_is_looked_at_in_299_px(tiny_detector):
    cut, how = people_cutter(f"mask2former={tiny_detector}", None, "frame", torch.device("cpu"))
    cuts = cut([IMAGE, np.zeros((80, 50, 3), np.uint8)])
    assert all(each is None or each.shape == (299, 299, 3) for each in cuts) and len(cuts) == 2
    assert "score >= 0.5" in how and str(tiny_detector) in how
