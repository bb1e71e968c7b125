"""Reads a job file into a JobSpec, or another file of the kind into its model: safe YAML, `--set` overrides, and one
clear line for each kind of mistake.

Such a file is data: nothing that it names is imported, unpickled or run here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from factory.errors import UserError
from factory.job import JobSpec
from factory.untrusted import Unreadable, text, yaml_text

Location = tuple[int | str, ...]
Place = Callable[[Location], str]
SpecT = TypeVar("SpecT", bound=BaseModel)
SHOWN = 100  # characters of a wrong value that a message shows at most


@dataclass(frozen=True)
class FileKind(Generic[SpecT]):
    """A kind of YAML file: its model, what messages call it, and an override as an example."""

    model: type[SpecT]
    noun: str
    example: str

    def load(self, path: str | Path, overrides: Sequence[str] = ()) -> SpecT:
        """The values of a YAML file. overrides: texts a.b=c, where c is YAML too; they replace values of the file.

        UserError: unreadable file, broken YAML, unknown or missing key, wrong type or value.
        """
        node = _compose(Path(path), self.noun)
        values = _construct(node, str(path), self.noun)
        for override in overrides:
            _override(self, values, override)
        return self.validate(values, place=lambda location: _line(path, node, location))

    def validate(self, values: dict[str, Any], place: Place | None = None) -> SpecT:
        """The model of plain values. UserError; `place(location)` says in its message where the wrong field is
        written."""
        try:
            return self.model.model_validate(values)
        except ValidationError as error:
            faults = sorted(error.errors(), key=_weight)
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            location: Location = tuple(key for key in faults[0]["loc"] if not str(key).startswith(("list[", "dict[")))
            where = place(location) if place else self.noun
            raise UserError(f"{where}: {_explain(self.model, faults[0], location)}{more}") from None


JOB = FileKind(JobSpec, "job", "stages.refine.strength=0.6")


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> JobSpec:
    """The job of a YAML file, see `FileKind.load`."""
    return JOB.load(path, overrides)


def validate(values: dict[str, Any], place: Place | None = None) -> JobSpec:
    """The job of plain values, see `FileKind.validate`."""
    return JOB.validate(values, place)


def _weight(fault: Any) -> int:
    """Sort key of pydantic's faults: the one with the least weight is reported. An unknown key comes first, because a
    misspelt key also makes another one missing. "Not a list" and "not a mapping" come last: where a field may be
    either, pydantic reports both, and the fault inside the value says more."""
    return 0 if fault["type"] == "extra_forbidden" else 2 if fault["type"] in ("list_type", "dict_type") else 1


def dump(job: JobSpec) -> str:
    """The job as YAML, with every field written out."""
    return yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False, width=120, allow_unicode=True)


def _compose(path: Path, noun: str) -> yaml.Node:
    try:
        node = yaml_text.compose(text.decoded(text.read_text(path, yaml_text.BYTES)))
    except FileNotFoundError:
        others = {p.stem: p for p in path.parent.glob("*.y*ml")}
        near = get_close_matches(path.stem, others, 1)
        hint = f"; did you mean {others[near[0]]}?" if near else ""
        raise UserError(f"{path}: no such {noun} file{hint}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except Unreadable as error:
        raise UserError(f"{_place(path, error)}: {error}") from None
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path}: {_mapping(noun)}")
    return node


def _mapping(noun: str) -> str:
    article = "an" if noun[0] in "aeiou" else "a"
    return f"{article} {noun} is a mapping of keys to values; see schemas/{noun}.schema.json"


def _construct(node: yaml.Node, path: str, noun: str) -> dict[str, Any]:
    """The plain values of a node. UserError when a key is given twice: YAML would silently take the last one."""
    _refuse_repeats(node, path)
    try:
        values = yaml_text.construct(node)
    except Unreadable as error:
        raise UserError(f"{_place(path, error)}: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: {_mapping(noun)}")
    return values


def _place(path: str | Path, error: Unreadable) -> str:
    return f"{path}:{error.line}" if error.line else str(path)


def _refuse_repeats(node: yaml.Node, path: str, done: set[int] | None = None) -> None:
    done = set() if done is None else done  # nodes that were checked: an alias may even stand for a node around it
    if id(node) in done:
        return
    done.add(id(node))
    seen = set()
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        if str(key.value) in seen:
            raise UserError(f"{path}:{key.start_mark.line + 1}: '{key.value}' is given twice; keep one")
        seen.add(str(key.value))
        _refuse_repeats(value, path, done)


def _override(kind: FileKind[Any], values: dict[str, Any], override: str) -> None:
    name, equals, value_text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise UserError(f"--set {override}: write it as --set {kind.example}")
    try:
        value = yaml_text.load(value_text)
    except Unreadable as error:
        raise UserError(f"--set {_short(override)}: {error}") from None
    at: Any = values
    for depth, key in enumerate(keys):
        fields = _fields(kind.model, tuple(keys[:depth]))
        if fields is not None and key not in fields:
            raise UserError(f"--set {override}: {_unknown(kind.model, key, keys[:depth], fields)}")
        if depth == len(keys) - 1:
            at[key] = value
        else:
            at[key] = at = dict(at[key]) if isinstance(at.get(key), dict) else {}


def _fields(root: Any, location: Location) -> list[str] | None:
    """Names of the fields that a file may have below this location; None: its author names what is there."""
    at: Any = root
    for key in location:
        if get_origin(at) is dict:
            at = get_args(at)[1]
        elif _is_spec(at) and key in at.model_fields:
            at = _unwrapped(at.model_fields[str(key)].annotation)
        else:
            return []
    if get_origin(at) is dict and _is_spec(get_args(at)[1]):
        return None
    return list(at.model_fields) if _is_spec(at) else []


def _unwrapped(annotation: Any) -> Any:
    """A model, or a mapping to models, that a field may hold; else the annotation."""
    options = (annotation, *get_args(annotation)) if get_origin(annotation) is not dict else (annotation,)
    for option in options:
        if _is_spec(option) or (get_origin(option) is dict and _is_spec(get_args(option)[1])):
            return option
    return annotation


def _is_spec(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _unknown(root: Any, key: str, parents: Sequence[int | str], fields: list[str] | None) -> str:
    place = ".".join(map(str, parents))
    fields = fields or []
    near = get_close_matches(key, fields, 1, cutoff=0.5)
    if near:
        hint = f"did you mean '{near[0]}'?"
    elif elsewhere := _elsewhere(root, key):
        hint = f"did you mean '{elsewhere}'?"
    elif fields:
        hint = f"known here: {', '.join(fields)}"
    else:
        hint = f"{place} has no keys below it"
    return f"unknown key '{key}'{' in ' + place if place else ''}; {hint}"


def _elsewhere(root: Any, key: str, location: Location = ()) -> str | None:
    """The full name of a field with this name elsewhere in a file, such as stages.refine.strength for strength."""
    fields = _fields(root, location) or []
    if key in fields and location:
        return ".".join([*map(str, location), key])
    return next(filter(None, (_elsewhere(root, key, (*location, field)) for field in fields)), None)


def _explain(root: Any, fault: Any, location: Location) -> str:
    name = ".".join(map(str, location))
    if fault["type"] == "job":  # raised by a model's own checks of fields that do not fit together
        return fault["msg"]
    if fault["type"] == "extra_forbidden":
        return _unknown(root, str(location[-1]), location[:-1], _fields(root, location[:-1]))
    if fault["type"] == "missing":
        return f"{name} is missing"
    given = fault["input"]
    what = f"a {type(given).__name__}" if isinstance(given, dict | list) else _short(repr(given))
    return f"{name}: {fault['msg'][:1].lower()}{fault['msg'][1:]}, not {what}"


def _short(words: str) -> str:
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}..."


def _line(path: str | Path, node: yaml.Node, location: Location) -> str:
    """`path:line` of the location, or of the deepest part of it that the file holds."""
    line = None
    for key in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(key)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            found = node.value[key], node.value[key]
        else:
            found = None
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return f"{path}:{line}" if line else str(path)
