"""SMART, the sports videos of SportsCap (Chen et al. 2021): annotations/*.json beside images/*.jpg.

Each .json is a list of clips. A clip has VideoName, action_labels (a code whose meaning depends on the file) and
frames. A frame has img_name and joints: 25 in OpenPose's order as (x px, y px, flag). The flag is 0 where the joint is
visible, 1 where it is hidden, and 2 (in diving alone) where it is not there. In the other sports only the first 15
joints are annotated: those of the face and of the feet are guesses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from factory.errors import UserError
from factory.geometry.crops import LOOSE, person_crop
from factory.geometry.joints import OPENPOSE_TORSOS
from factory.job import ImagesSpec
from factory.sources.item import Item, Listing, Tally, file_size, root
from factory.untrusted import text

DIVING = "Table_VideoInfo_diving.json"
JUMPS = "Table_VideoInfo_polevalut_highjump_badminton.json"  # as the data set spells it
GYM = "Table_VideoInfo_gym.json"
LEAST_JOINTS = 4
VISIBLE, NOT_THERE = 0, 2
BODY = 15  # the first so many of OpenPose's joints: without eyes, ears and feet
MOST, VALUES = 400_000_000, 20_000_000  # bytes and values of one file: those of 200,000 frames


@dataclass(frozen=True)
class Sport:
    """The clips of `file` whose code is one of `codes`; all clips where `codes` is empty. The first `train` clips, some
    100 images, are for training, as in the authors' code. Every `step`-th frame is used."""

    action: str
    file: str
    codes: tuple[str, ...]
    train: int
    step: int = 1


SPORTS = (
    Sport("high jump", JUMPS, ("tg",), 2),
    Sport("vault", GYM, ("vt",), 4),
    Sport("pole vault", JUMPS, ("cgt",), 2),
    Sport("diving", DIVING, (), 15, 10),
    Sport("gymnastics on uneven bars", GYM, ("271",), 3),
    Sport("gymnastics on a balance beam", GYM, ("184", "204"), 5),
)


@dataclass(frozen=True, eq=False)
class Frame:
    """One annotated image. name: below SMART's folder. window: (centre x, centre y, side) px of the person's square.
    keypoints (25, 3): x, y px and confidence in OpenPose's order, as the paper's code trains and scores with them: 1
    for joints that are visible, in diving also for hidden ones; 0 for the others, and for faces and feet where these
    are guesses."""

    name: str
    action: str
    window: tuple[float, float, float]
    keypoints: np.ndarray


def listing(spec: ImagesSpec) -> Listing:
    """The images of one split, sport by sport, in the order of the annotations. Frames with fewer than LEAST_JOINTS
    joints are left out. UserError where files are missing or laid out otherwise."""
    found, left = frames(spec)
    folder = root(spec)
    return Listing([Item(one.name, one.action, one.window, file_size(f"{folder}/{one.name}")) for one in found], left)


def frames(spec: ImagesSpec) -> tuple[list[Frame], Tally]:
    """(the frames of one split in the order of `listing`, those left out). UserError as `listing`."""
    folder, found, left = root(spec), list[Frame](), Tally()
    tables = {file: _clips(folder / "annotations" / file) for file in (DIVING, JUMPS, GYM)}
    for sport in SPORTS:
        try:
            clips = [clip for clip in tables[sport.file] if _has(sport, clip["action_labels"])]
            for clip in clips[: sport.train] if spec.split == "train" else clips[sport.train :]:
                for frame in clip["frames"][:: sport.step]:
                    name, joints = f"images/{_plain(frame['img_name'])}", _joints(frame["joints"])
                    if joints is not None:
                        found.append(Frame(name, sport.action, _window(joints), _keypoints(joints, sport)))
                    else:
                        left.add("frames without enough of a person", name)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise UserError(
                f"images.path: {folder}/annotations/{sport.file} is not as SMART's: clips of action_labels, frames; "
                f"frames of img_name, joints (25, 3) ({type(error).__name__}: {error})"
            ) from None
    return found, left


def _clips(path: Any) -> list[dict[str, Any]]:
    try:
        clips = text.loads(text.read_text(path, MOST), MOST, VALUES)
    except FileNotFoundError:
        raise UserError(f"images.path: {path} is missing; give the folder of SMART, from SportsCap's authors") from None
    except (OSError, ValueError) as error:
        raise UserError(f"images.path: {path} cannot be read ({error})") from None
    if not isinstance(clips, list):
        raise UserError(f"images.path: {path} is not as SMART's: a list of clips")
    return clips


def _has(sport: Sport, label: str) -> bool:
    """Whether the label is of the sport. In the gymnasts' file a label is a code; in the jumpers' it contains one."""
    return not sport.codes or (label in sport.codes if sport.file == GYM else any(c in label for c in sport.codes))


def _joints(listed: list[Any]) -> np.ndarray | None:
    """(25, 3) x, y px and flag; None where there is not enough of a person."""
    if not listed:
        return None
    joints = np.asarray(listed, np.float64).reshape(25, 3)
    return joints if (joints[:, 2] != NOT_THERE).sum() >= LEAST_JOINTS else None


def _window(joints: np.ndarray) -> tuple[float, float, float]:
    return person_crop(joints[:, :2], joints[:, 2] != NOT_THERE, OPENPOSE_TORSOS, LOOSE)


def _keypoints(joints: np.ndarray, sport: Sport) -> np.ndarray:
    flag = joints[:, 2]
    known = flag != NOT_THERE if sport.file == DIVING else (flag == VISIBLE) & (np.arange(len(flag)) < BODY)
    return np.concatenate([joints[:, :2], known[:, None]], 1).astype(np.float32)


def _plain(name: str) -> str:
    """The name, if it is a plain file name: annotations may come from strangers and must not name files elsewhere."""
    if "/" in name or "\\" in name or name.startswith("."):
        raise ValueError(f"img_name {name!r} is not a plain file name")
    return name
