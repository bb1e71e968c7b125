"""Pictures of the people that were estimated worst, in the middle and best: crop, estimate, truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from factory.errors import UserError
from factory.evaluate.bodies import MeasuredBody
from factory.evaluate.hmr import PersonErrors, project_estimates
from factory.geometry.camera import CROP, full_image_K, weak_to_transl
from factory.geometry.crops import cut
from factory.geometry.joints import J24_PART
from factory.labelled.base import LabelledPeople
from factory.models.hmr.base import BodyEstimate
from factory.present import pictures

EACH = 8  # people of a picture
COLUMNS = 2
MIDDLE = np.array([[CROP / 2, CROP / 2, CROP]], np.float32)  # the whole crop, as a crop
ESTIMATED, TRUE = (255, 120, 60), (90, 230, 120)


def write_pictures(folder: Path, people: LabelledPeople, body: MeasuredBody, errors: PersonErrors) -> list[Path]:
    """Write worst.png, median.png and best.png, up to EACH people in each, worst first: by PA-MPJPE or, without 3D
    labels, by the mean distance of the keypoints. Each person: the crop; the estimated body over it; the true body, or
    else the true keypoints (green) with the estimated ones (orange). UserError: the folder cannot be written."""
    order = ranked(errors)
    middle = max(0, (len(order) - EACH) // 2)
    chosen = {"worst": order[:EACH], "median": order[middle : middle + EACH], "best": order[-EACH:]}
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in chosen.items():
            panels = [_panels(people.take([row]), body, errors.estimates[row]) for row in rows]
            sheet = pictures.contact_sheet(panels, COLUMNS, CROP)
            written.append(folder / f"{name}.png")
            Image.fromarray(sheet).save(written[-1])
    except OSError as error:
        raise UserError(f"--pictures {folder}: cannot be written ({error.strerror or error})") from error
    return written


def ranked(errors: PersonErrors) -> list[int]:
    """The people whom the estimator found, worst first."""
    with np.errstate(invalid="ignore"):
        known = np.isfinite(errors.distances)
        apart = np.where(known, errors.distances, 0).sum(1) / known.sum(1)
    error = apart if np.isnan(errors.pa_mpjpe).all() else errors.pa_mpjpe
    rows = np.flatnonzero(np.isfinite(error))
    return rows[np.argsort(-error[rows], kind="stable")].tolist()


def _panels(person: LabelledPeople, body: MeasuredBody, estimate: BodyEstimate | None) -> list[np.ndarray]:
    """Crop, estimate, truth, (CROP, CROP, 3) uint8 each."""
    assert estimate is not None
    image, crop = person.read([0])[0], person.crop[0]
    picture = cut(image, crop, CROP)
    to_crop = CROP / crop[2]
    posed = body.pose(np.concatenate([estimate.global_orient, estimate.body_pose], 1), estimate.betas)
    points = (project_estimates([estimate], posed.spin49)[0] - crop[:2]) * to_crop + CROP / 2
    keypoints = person.keypoints[0].astype(np.float64)
    keypoints[:, :2] = (keypoints[:, :2] - crop[:2]) * to_crop + CROP / 2
    estimated = _drawn(picture, estimate, body, posed.spin49[0], points, np.ones(49))
    pose, betas = person.pose, person.betas
    has_body = pose is not None and betas is not None and bool(np.isfinite(pose).all())
    if pose is not None and betas is not None and has_body:
        truth = BodyEstimate(pose[:, :3], pose[:, 3:], betas, np.array([[1, 0, 0]]), MIDDLE)
        joints = body.pose(pose, betas, person.gender).spin49[0]
        target, sure = (keypoints[:, :2], keypoints[:, 2]) if (keypoints[:, 2] > 0).sum() > 1 else (points, np.ones(49))
        true = _drawn(picture, truth, body, joints, target, sure)
    else:
        true = picture
    return [picture, estimated, _dots(true, points, keypoints, with_estimate=not has_body)]


def _drawn(
    picture: np.ndarray, estimate: BodyEstimate, body: MeasuredBody, joints: np.ndarray, points: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """The body over the picture, by the camera that puts its joints (49, 3) m closest to the points (49, 2) px."""
    camera = fitted_camera(joints, points * 2 / CROP - 1, weight)[None]
    K = full_image_K(CROP, CROP)
    people = {
        "global_orient": estimate.global_orient, "body_pose": estimate.body_pose, "betas": estimate.betas,
        "transl": weak_to_transl(camera, MIDDLE, K).astype(np.float32), "K": K[None],
    }  # fmt: skip
    return pictures.overlay(picture, people, body.neutral, CROP)


def fitted_camera(joints: np.ndarray, points: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """joints (J, 3) m, points (J, 2) in -1 ... 1 across the crop, weight (J,) -> (3,) float32: the weak-perspective
    camera s, tx, ty that fits them best in the sum of squares."""
    share = weight / weight.sum()
    middle, goal = share @ joints[:, :2], share @ points
    flat, target = joints[:, :2] - middle, points - goal
    s = max(float((share[:, None] * flat * target).sum() / (share[:, None] * flat**2).sum().clip(1e-9)), 1e-3)
    return np.array([s, *(goal / s - middle)], np.float32)


def _dots(picture: np.ndarray, points: np.ndarray, keypoints: np.ndarray, with_estimate: bool) -> np.ndarray:
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for joint in range(J24_PART.start, J24_PART.stop):
        if keypoints[joint, 2] > 0:
            if with_estimate:
                draw.line([*map(float, points[joint]), *map(float, keypoints[joint, :2])], ESTIMATED, 1)
                _dot(draw, points[joint], ESTIMATED)
            _dot(draw, keypoints[joint], TRUE)
    return np.asarray(image)


def _dot(draw: ImageDraw.ImageDraw, point: np.ndarray, colour: tuple[int, int, int]) -> None:
    x, y = (float(value) for value in point[:2])
    draw.ellipse((x - 2, y - 2, x + 2, y + 2), colour)
