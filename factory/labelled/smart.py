"""SMART's athletes: 2D keypoints of six actions."""

from __future__ import annotations

import numpy as np

from factory.job import ImagesSpec
from factory.labelled.base import ImageFiles, LabelledPeople, from_openpose
from factory.sources.smart import frames


def open_smart(name: str, spec: ImagesSpec) -> LabelledPeople:
    """The people of one split, in the order of the annotations. UserError as `sources.smart.frames`."""
    found, _ = frames(spec)
    openpose = np.array([frame.keypoints for frame in found], np.float32).reshape(-1, 25, 3)
    return LabelledPeople(
        name=name,
        images=tuple(frame.name for frame in found),
        crop=np.array([frame.window for frame in found], np.float32).reshape(-1, 3),
        keypoints=from_openpose(openpose),
        action=tuple(frame.action for frame in found),
        pose=None,
        betas=None,
        joints3d=None,
        skeleton=None,
        body=None,
        reader=ImageFiles(name, spec),
    )
