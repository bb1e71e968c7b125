"""detectron2's settings that a job's `detector.config` names, read as data: nothing in them is run or fetched.

detectron2's own reader would open whatever `_BASE_` names, also by http, and would import settings written in Python.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml

from factory.errors import UserError
from factory.home import at_home
from factory.untrusted import Unreadable, text, yaml_text

CONFIG = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"  # of the paper's detector
BASE = "_BASE_"  # the entry that names the file whose settings these are laid over
CHAIN = 8  # files at most, each the base of the one before; those of the zoo have two
LARGEST = 1 << 20  # bytes of a settings file; the zoo's have a few hundred
TAKE = f"take a Mask R-CNN's, such as {CONFIG}"


def require_readable(name: str) -> None:
    """UserError for faults of a config that show without detectron2: Python code, damaged YAML, boxes without masks."""
    if name.endswith(".py"):
        raise UserError(f"detector.config {name} is Python code (a LazyConfig), which is not run; {TAKE}")
    if at_home(name).is_file():
        values = flattened(at_home(name))
        model = values.get("MODEL")
        if not (isinstance(model, dict) and model.get("MASK_ON")):
            raise UserError(_no_masks(name))


def load(name: str) -> Any:
    """The CfgNode of a name in detectron2's model zoo or of a YAML file. UserError where `name` is neither, cannot be
    read, or is of a network that finds boxes only."""
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
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            # All settings in one file, because detectron2 may have to convert them from an older version.
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
    """The settings of a YAML file, laid over those of its `_BASE_`, which are laid over those of their own, and so on.

    A base must lie in the folder of the job's config, below it, or in the folder above, as in detectron2's model zoo.
    UserError for a base elsewhere, a circle of bases, Python tags, and a file that holds no mapping.
    """
    root = path.resolve().parent.parent
    values: dict[str, Any] = {}
    for _ in range(CHAIN):
        settings = _read(path)
        base = settings.pop(BASE, None)
        values = _over(settings, values)
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
        values = yaml_text.load(text.decoded(text.read_text(path, LARGEST)))
    except (OSError, Unreadable) as error:
        raise UserError(f"detector.config {path} cannot be read ({error})") from error
    if not isinstance(values, dict):
        raise UserError(f"detector.config {path} holds no settings, but a {type(values).__name__}")
    return values


def _over(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """`values` laid over `base`: mappings are merged entry by entry, any other value replaces that of `base`."""
    merged = dict(base)
    for name, value in values.items():
        below = merged.get(name)
        merged[name] = _over(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged
