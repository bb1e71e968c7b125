"""Prompt sets: templates and lists that a job names instead of writing them out. The sets that come with the factory
are YAML files in this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.untrusted import Unreadable, mat, text, yaml_text

SHIPPED = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
WORDS = ("template", "description", "person", "action")
NO_ACTION = ("inactivity", "miscellaneous")  # MPII's categories that are no activity; the paper leaves them out too


def fill(values: dict[str, Any]) -> dict[str, Any]:
    """The `prompts` of a job; fields that it leaves out are taken from its `categories` and then from its `set`.

    A file is opened only when a field is missing. UserError: no such set or file, or the wrong content.
    """
    values = dict(values)
    if values.get("categories") and "action" not in values:
        values["action"] = categories(str(values["categories"]))
    if values.get("set") and any(name not in values for name in WORDS):
        values = {**read_prompts(str(values["set"])), **values}
    return values


def read_prompts(name: str) -> dict[str, Any]:
    """The fields (WORDS) of a prompt set: one that comes with the factory, by its name, or a YAML file."""
    path = SHIPPED.get(name) or Path(name)
    try:
        if path.exists() and not path.is_file():
            raise Unreadable("not a plain file")
        values = yaml_text.load(text.decoded(text.read_text(path, yaml_text.BYTES)))
    except OSError:
        raise UserError(f"prompts.set: {name} is neither a file nor one of {', '.join(SHIPPED)}") from None
    except Unreadable as error:
        raise UserError(f"prompts.set: {name}{f':{error.line}' if error.line else ''}: {error}") from None
    if not isinstance(values, dict) or not set(values) <= set(WORDS):
        raise UserError(f"prompts.set: {name} must be a mapping with some of {', '.join(WORDS)}, and nothing else")
    return values


def categories(path: str) -> list[str]:
    """The categories of MPII's annotation file that are activities, in alphabetical order."""
    try:
        if not Path(path).is_file():
            raise UserError(f"prompts.categories: {path} cannot be read; it is mpii_human_pose_v1_u12_1.mat")
        names = set(mat.mpii_categories(Path(path)))
    except OSError as error:
        raise UserError(f"prompts.categories: {path} cannot be read ({error.strerror})") from None
    except Unreadable as error:
        raise UserError(f"prompts.categories: {path} is not MPII's annotation file ({error})") from None
    if not names:
        raise UserError(f"prompts.categories: {path} is not MPII's annotation file (it names no category)")
    return sorted(name for name in names if name and not name.startswith(NO_ACTION))
