"""detectron2's settings for a job's `detector.config`, read as data: nothing in them is run or fetched.

detectron2's own reader would open whatever `_BASE_` names, also by http, and imports a zoo's .py settings.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml

from factory.errors import UserError
from factory.home import at_home
from factory.untrusted import Unreadable, text, yaml_text

CONFIG = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"
BASE = "_BASE_"
CHAIN = 8  # files, each the base of the one before; the zoo's have two
LARGEST = 1 << 20  # bytes of a settings file; the zoo's have a few hundred
TAKE = f"take a Mask R-CNN's, such as {CONFIG}"


def require_readable(name: str) -> None:
    """UserError for what is wrong with a config, as far as it shows without detectron2."""
    if name.endswith(".py"):
        raise UserError(f"detector.config {name} is Python code (a LazyConfig), which is not run; {TAKE}")
    if at_home(name).is_file():
        values = flattened(at_home(name))
        model = values.get("MODEL")
        if not (isinstance(model, dict) and model.get("MASK_ON")):
            raise UserError(_no_masks(name))


def load(name: str) -> Any:
    """The CfgNode of a name in detectron2's model zoo or of a YAML file. UserError where it is neither, cannot be read,
    or finds boxes only."""
    from detectron2 import model_zoo
    from detectron2.config import get_cfg

    require_readable(name)
    path = at_home(name)
    if not path.is_file():
        try:
            config = model_zoo.get_config(name)
        except RuntimeError as error:
            raise UserError(f"detector.config {name} is no file, nor in detectron2's model zoo; {TAKE}") from error
    else:
        config = get_cfg()
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:  # one file, whose version detectron2 may raise
            yaml.safe_dump(flattened(path), file)
            file.flush()
            try:
                config.merge_from_file(file.name, allow_unsafe=False)
            except Exception as error:  # KeyError for an unknown key, ValueError or AssertionError for another type
                words = " ".join(str(error).split())[:300]
                raise UserError(f"detector.config {name} does not fit detectron2 ({words}); {TAKE}") from error
    if not config.MODEL.MASK_ON:
        raise UserError(_no_masks(name))
    return config


def _no_masks(name: str) -> str:
    return f"detector.config {name} finds boxes only (MODEL.MASK_ON is not true), and masks are needed; {TAKE}"


def flattened(path: Path) -> dict[str, Any]:
    """The settings of a YAML file laid over those of its `_BASE_`, and so on.

    A base lies in the folder of the job's config, below it, or in the folder above, as in detectron2's model zoo.
    UserError for bases elsewhere, circles, Python tags, and what is no mapping.
    """
    root = path.resolve().parent.parent
    values: dict[str, Any] = {}
    for _ in range(CHAIN):
        found = _read(path)
        base = found.pop(BASE, None)
        values = _over(found, values)
        if base is None:
            return values
        if not isinstance(base, str) or "://" in base or base.startswith(("/", "~")):
            raise UserError(f"detector.config {path}: {BASE} {base!r} is no path relative to it")
        beside = (path.parent / base).resolve()
        if not beside.is_relative_to(root):
            raise UserError(f"detector.config {path}: {BASE} {base!r} leaves {root}; put it beside the config")
        path = beside
    raise UserError(f"detector.config {path}: more than {CHAIN} files are each other's {BASE}")


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml_text.load(text.decoded(text.read(path, LARGEST)))
    except (OSError, Unreadable) as error:
        raise UserError(f"detector.config {path} cannot be read ({error})") from error
    if not isinstance(values, dict):
        raise UserError(f"detector.config {path} holds no settings, but a {type(values).__name__}")
    return values


def _over(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """values laid over base, mapping by mapping."""
    merged = dict(base)
    for name, value in values.items():
        below = merged.get(name)
        merged[name] = _over(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged
