"""What a trainer's loader demands of a field (`Field`), and the check of arrays against it (`problems`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from factory.export.people import LEAST, PX
from factory.geometry.joints import J24, OPENPOSE25, SMPL24, picks

ValueCheck = Callable[[np.ndarray], str | None]  # what is wrong with the values, if anything
HMR2_PELVIS = len(OPENPOSE25) + J24.index("pelvis_mpii")
KINDS = {"f": "float", "i": "int", "u": "int", "b": "bool", "U": "text"}


@dataclass(frozen=True)
class Field:
    """One field of a trainer's format. shape: of one person's entry; None stands for any length, (a, b) for a length
    from a to b. unit: what the values are, for messages. kinds: the letters of the allowed numpy dtypes. must: without
    the field the loader fails, or silently uses wrong labels."""

    name: str
    shape: tuple[int | tuple[int, int] | None, ...]
    unit: str
    kinds: str = "fiu"
    must: bool = True
    checks: tuple[ValueCheck, ...] = ()


def problems(fields: Iterable[Field], arrays: Mapping[str, np.ndarray], rows: bool = True) -> Iterator[str]:
    """Yield texts 'field: what is wrong'. With `rows`, the first axis of every array counts the people and must have
    the same length everywhere."""
    lengths: dict[str, int] = {}
    for field in fields:
        if field.name not in arrays:
            if field.must:
                yield f"{field.name}: missing; it must hold {field.unit}, {_shape(field, rows)}"
            continue
        array = arrays[field.name]
        if not isinstance(array, np.ndarray):
            yield f"{field.name}: a {type(array).__name__}, not a numpy array"
            continue
        shape = array.shape[1:] if rows else array.shape
        if array.dtype.kind not in field.kinds:
            yield f"{field.name}: {array.dtype}, not {' or '.join(dict.fromkeys(KINDS[k] for k in field.kinds))}"
        elif (rows and not array.ndim) or not _fits(shape, field.shape):
            yield f"{field.name}: {array.shape}, not {_shape(field, rows)}"
        else:
            if rows:
                lengths[field.name] = len(array)
            if array.size:
                yield from (f"{field.name}: {what}" for what in _values(field, array))
    if len(set(lengths.values())) > 1:
        yield f"rows: {', '.join(f'{name} has {count:,}' for name, count in lengths.items())}; they must be as many"


def _values(field: Field, array: np.ndarray) -> Iterator[str]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        yield f"{int((~np.isfinite(array)).sum()):,} values are not finite"
        return
    yield from filter(None, (check(array) for check in field.checks))


def _fits(shape: tuple[int, ...], wanted: tuple[int | tuple[int, int] | None, ...]) -> bool:
    def one(length: int, want: int | tuple[int, int] | None) -> bool:
        return want is None or (want[0] <= length <= want[1] if isinstance(want, tuple) else length == want)

    return len(shape) == len(wanted) and all(map(one, shape, wanted))


def _shape(field: Field, rows: bool) -> str:
    lengths = ["*" if n is None else f"{n[0]}..{n[1]}" if isinstance(n, tuple) else str(n) for n in field.shape]
    whole = (["N"] if rows else []) + lengths
    return f"({', '.join(whole)}{',' * (len(whole) == 1)})"


# The checks of values. Each finds one common mistake. The bounds are wide, so that unusual but correct data pass.


def box_over_200(scale: np.ndarray) -> str | None:
    """Whether sides of boxes are given in px / 200."""
    if (scale * PX < LEAST).any():
        return f"{int((scale * PX < LEAST).sum()):,} boxes are smaller than {LEAST:g} px (a scale of {scale.min():g})"
    if np.median(scale) > 15:
        return f"its median is {np.median(scale):g}, a box of {np.median(scale) * PX:,.0f} px: divide pixels by 200"
    return None


def box_of_pixels(box: np.ndarray) -> str | None:
    """Whether boxes x, y, width, height are given in px."""
    if (box[..., 2:4] < LEAST).any():
        return f"{int((box[..., 2:4] < LEAST).any(-1).sum()):,} boxes have a side of less than {LEAST:g} px"
    return "boxes of a few pixels: these must be px, not px / 200" if np.median(box[..., 2:4].max(-1)) < 8 else None


def pelvis(joints: np.ndarray) -> str | None:
    """joints (M, 44, 4) in HMR2's order: the pelvis must have a confidence where any joint has one. A person without
    any confidence has no 3D loss, so nothing is demanded there."""
    valid = joints[..., 3] > 0
    if (valid.any(-1) & ~valid[..., HMR2_PELVIS]).any():
        return (
            f"joint {HMR2_PELVIS} (25 + 14, the pelvis) has no confidence, others have: the loss subtracts it from them"
        )
    return None


def pixels(values: np.ndarray) -> str | None:
    if np.abs(values[..., :2]).max() <= 2:
        return "all within -2..2: these must be pixels of the stored image, not normalised"
    return None


def axis_angle(pose: np.ndarray) -> str | None:
    largest = np.abs(pose).max()
    return f"up to {largest:g}: these must be axis-angles in radians, not degrees" if largest > 10 else None


def shape_space(betas: np.ndarray) -> str | None:
    largest = np.abs(betas).max()
    return f"up to {largest:g}: shape coefficients lie within about -5..5" if largest > 20 else None


def confidence(joints: np.ndarray) -> str | None:
    last = joints[..., -1]
    return f"confidences run from {last.min():g} to {last.max():g}, not within 0..1" if (
        last.min() < 0 or last.max() > 1
    ) else None  # fmt: skip


def flag(values: np.ndarray) -> str | None:
    return None if np.isin(values, (0, 1)).all() else "must be 0 or 1"


def gender(values: np.ndarray) -> str | None:
    other = sorted({str(value) for value in values} - {"m", "f"})
    return f"holds {other[0]!r}: the loader takes all but 'm' for female; leave it out for neutral" if other else None


def metres(joints: np.ndarray) -> str | None:
    """Whether 3D joints are given in metres, judged by the extent of the bodies."""
    extent = np.median(np.ptp(joints[..., :3], axis=-2).max(-1))
    return f"bodies are {extent:,.0f} long: these must be metres, not millimetres" if extent > 10 else None


def intrinsics(K: np.ndarray) -> str | None:
    if not (np.allclose(K[..., 2, :], (0, 0, 1)) and (K[..., 0, 0] > 0).all() and (K[..., 1, 1] > 0).all()):
        return "no camera: the last row must be 0 0 1 and the focal lengths above 0"
    return "focal lengths of less than 10 px: these must be pixels" if K[..., 0, 0].min() < 10 else None


def openpose_order(joints: np.ndarray) -> str | None:
    """The mid hip (8) lies between the hips (9, 12), and the neck (1) does not."""
    pelvis, right, left, neck = picks(("pelvis", "right_hip", "left_hip", "neck"), OPENPOSE25)
    return _middle(joints, pelvis, (right, left), neck, "OpenPose's")


def smpl_order(joints: np.ndarray) -> str | None:
    """The pelvis (0) lies between the hips (1, 2), and the neck (12) does not."""
    pelvis, left, right, neck = picks(("pelvis", "left_hip", "right_hip", "neck"), SMPL24)
    return _middle(joints, pelvis, (left, right), neck, "SMPL's")


APART = 0.22  # of the torso's length; SMPL's own pelvis lies 0.15 off the middle of its hips


def _middle(joints: np.ndarray, middle: int, sides: tuple[int, int], far: int, whose: str) -> str | None:
    """Whether the joint `middle` lies between the joints `sides`; the distance to the joint `far` gives the scale."""
    rows = joints.reshape(-1, *joints.shape[-2:]).astype(np.float64)
    rows = rows[(rows[:, [middle, *sides, far], -1] > 0).all(1)]
    if not len(rows) or (rows.shape[-1] == 3 and len(rows) < 8):  # in 2D, a few bodies may be seen from above
        return None
    between = (rows[:, sides[0], :-1] + rows[:, sides[1], :-1]) / 2
    off = np.linalg.norm(rows[:, middle, :-1] - between, axis=-1)
    torso = np.linalg.norm(rows[:, far, :-1] - between, axis=-1)
    if np.median(off) > APART * np.median(torso):
        return f"joint {middle} does not lie between {sides[0]} and {sides[1]}: the order is not {whose}"
    return None


# The checks that most fields of joints share.
JOINTS2D = (pixels, confidence)
JOINTS3D = (metres, confidence)
