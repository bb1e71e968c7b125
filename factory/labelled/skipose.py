"""Ski-Pose's skiers: 2D keypoints and 3D joints, which the data set gives in metres."""

from __future__ import annotations

import numpy as np

from factory.geometry.joints import OPENPOSE_AND_H36M17
from factory.job import ImagesSpec
from factory.labelled.base import SKELETON_H36M17, ImageFiles, LabelledPeople, from_openpose
from factory.sources.skipose import ACTION, labels


def open_skipose(name: str, spec: ImagesSpec) -> LabelledPeople:
    """The people of one split, in the order of labels.h5. Their J24 keypoints are arms and legs, as in the paper's
    code. UserError as `sources.skipose.labels`."""
    found = labels(spec)
    count = len(found.names)
    openpose = np.zeros((count, 25, 3), np.float32)
    places, picks = np.transpose(OPENPOSE_AND_H36M17)
    openpose[:, places, :2] = found.joints2d[:, picks]
    openpose[:, places, 2] = 1
    joints3d = None
    if found.joints3d is not None:
        joints3d = np.concatenate([found.joints3d, np.ones((count, 17, 1))], 2).astype(np.float32)
    return LabelledPeople(
        name=name,
        images=tuple(found.names),
        crop=np.array(found.windows(), np.float32).reshape(-1, 3),
        keypoints=from_openpose(openpose),
        action=(ACTION,) * count,
        pose=None,
        betas=None,
        joints3d=joints3d,
        skeleton=None if joints3d is None else SKELETON_H36M17,
        body=None,
        reader=ImageFiles(name, spec),
    )
