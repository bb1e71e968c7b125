"""`LabelledPeople`: N people, each in an image, with what is known of their joints and bodies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from factory.errors import UserError
from factory.geometry.joints import ANNOTATED_ONCE, J24_PART, OPENPOSE_PART
from factory.job import ImagesSpec
from factory.sources import images
from factory.sources.picture import Refused, whole
from factory.untrusted import Unreadable
from factory.weights.locate import PREFIX

SKELETON_H36M17, SKELETON_J24 = "h36m17", "j24"  # of joints3d: geometry.joints.H36M17 and J24
OPEN_BODY = "open-body"  # the name of the starter pack's body
STARTER_BODY = f"{PREFIX}body"  # how jobs and commands name it
ReadImages = Callable[[Sequence[str]], list[np.ndarray]]  # names -> (H, W, 3) uint8 RGB each; UserError


@dataclass(frozen=True, eq=False)
class LabelledPeople:
    """N people, each in an image. The arrays are read once; images are read on demand.

    name: what the user called them.
    images: the name of each person's image; people of one image share it.
    crop (N, 3) float32: the square around each person: centre x, centre y, side, px of the image (SPIN's center and
        200 * scale).
    keypoints (N, 49, 3) float32: SPIN-49: x, y px of the image and confidence; 0 = unknown. `[:, 25:]` is the J24 part.
    action: what each person does; "" where the source does not say.
    pose (N, 72) float32: axis-angles in radians, camera frame (OpenCV); NaN rows for people without a pose. None:
        nobody has one.
    betas (N, 10) float32: NaN and None as for `pose`.
    joints3d (N, J, 4) float32: m and confidence, in axes parallel to the camera's, from an origin of their own: metrics
        subtract the root. None: nobody has any.
    skeleton: which joints `joints3d` holds: SKELETON_H36M17 or SKELETON_J24.
    body: the name of the body model that `betas` belong to; None where the source does not say.
    reader: gives the pixels of images by name. It can be sent to another process.
    gender: "m", "f" or "" of each person, where `betas` belong to SMPL's male and female bodies. None: to the neutral.
    """

    name: str
    images: tuple[str, ...]
    crop: np.ndarray
    keypoints: np.ndarray
    action: tuple[str, ...]
    pose: np.ndarray | None
    betas: np.ndarray | None
    joints3d: np.ndarray | None
    skeleton: str | None
    body: str | None
    reader: ReadImages
    gender: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def read(self, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """The images of those people, (H, W, 3) uint8 RGB each, in that order; the image of several of them is read
        once. UserError for an image that is not there or cannot be read."""
        names = [self.images[int(row)] for row in rows]
        distinct = list(dict.fromkeys(names))
        pixels = dict(zip(distinct, self.reader(distinct), strict=True))
        return [pixels[name] for name in names]

    def take(self, rows: Sequence[int] | np.ndarray) -> LabelledPeople:
        """Those people, by number, in that order."""
        picks = np.asarray(rows, np.int64).reshape(-1)

        def texts(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[pick] for pick in picks)

        def some(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[picks]

        return replace(
            self,
            images=texts(self.images),
            crop=self.crop[picks],
            keypoints=self.keypoints[picks],
            action=texts(self.action),
            pose=some(self.pose),
            betas=some(self.betas),
            joints3d=some(self.joints3d),
            gender=None if self.gender is None else texts(self.gender),
        )


@dataclass(frozen=True)
class ImageFiles:
    """Reads the images of a source: a `ReadImages`. name: what messages call the source."""

    name: str
    spec: ImagesSpec

    def __call__(self, names: Sequence[str]) -> list[np.ndarray]:
        return [self._read(name) for name in names]

    def _read(self, image: str) -> np.ndarray:
        try:
            return whole(images.read_image(self.spec, image), 1, self.spec.max_pixels)
        except (OSError, KeyError):
            raise UserError(f"{self.name}: the image {image} is not in {self.spec.path}") from None
        except (Refused, Unreadable) as error:
            why = error.reason.value if isinstance(error, Refused) else str(error)
            raise UserError(f"{self.name}: the image {image} in {self.spec.path} cannot be read ({why})") from None


def from_openpose(openpose: np.ndarray) -> np.ndarray:
    """openpose (N, 25, 3) px and confidence -> (N, 49, 3) float32 in SPIN-49 order: the J24 part has the joints of
    ANNOTATED_ONCE, and confidence 0 elsewhere."""
    keypoints = np.zeros((len(openpose), 49, 3), np.float32)
    keypoints[:, OPENPOSE_PART] = openpose
    picks, places = np.transpose(ANNOTATED_ONCE)
    keypoints[:, J24_PART][:, places] = openpose[:, picks]
    return keypoints


def spread_rows(count: int, limit: int | None) -> np.ndarray:
    """Which of `count` rows are taken: at most `limit`, evenly spread. (M,) int64, ascending."""
    taken = count if limit is None else min(limit, count)
    return np.arange(taken) * count // max(taken, 1)
