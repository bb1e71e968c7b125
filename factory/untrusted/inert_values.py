"""What `inert` makes of a pickle's names, calls and objects: values of arrays and containers, and placeholders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

DEPTH = 100  # containers inside each other; real files have ten or so
KINDS = "biufcSUmM"  # numpy's kinds of numbers, texts and times
BUILTINS = frozenset({"builtins", "__builtin__"})


class Unsafe(ValueError):
    """The pickle names, calls or alters what plain data never need."""


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names; it is not imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def key(self) -> tuple[str, str]:
        """The same for numpy 1 and 2."""
        return self.module.replace("numpy._core", "numpy.core"), self.name


@dataclass(eq=False)
class Thing:
    """A call that was not made, or an object that was not built, with all that the pickle puts into it."""

    name: Name
    args: tuple
    state: Any = None
    items: list[tuple[Any, Any]] = field(default_factory=list)
    elements: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Placeholder:
    """Stands in for an object of a class that is not loaded; holds nothing."""

    kind: str


STORED = Name("", "persistent")  # the name of a Thing whose args are one persistent id
Words = Mapping[tuple[str, str], Callable[[Thing], Any]]


class Values:
    """Turns what the reader left into values, each shared part once."""

    def __init__(self, words: Words, persistent: Callable[[Any], Any] | None) -> None:
        self.words, self.persistent = words, persistent
        self.done: dict[int, Any] = {}  # by id: the reader's tree lives as long as this does
        self.open: set[int] = set()

    def of(self, node: Any, depth: int = 0) -> Any:
        if not isinstance(node, list | dict | tuple | set | frozenset | bytearray | Name | Thing):
            return node
        if id(node) in self.done:
            return self.done[id(node)]
        if depth > DEPTH:
            raise Unsafe(f"is nested deeper than {DEPTH}")
        if isinstance(node, list):
            made: list[Any] = []
            self.done[id(node)] = made  # before its items, which may hold it
            made += [self.of(item, depth + 1) for item in node]
            return made
        if isinstance(node, dict):
            mapping: dict[Any, Any] = {}
            self.done[id(node)] = mapping
            mapping.update(self._pairs(node.items(), depth))
            return mapping
        self.done[id(node)] = value = self._other(node, depth)
        return value

    def _other(self, node: Any, depth: int) -> Any:
        if isinstance(node, tuple):
            if id(node) in self.open:
                raise Unsafe("holds a tuple that holds itself")
            self.open.add(id(node))
            return tuple([self.of(item, depth + 1) for item in node])
        if isinstance(node, set | frozenset):
            return type(node)(key for item in node for key in [self.of(item, depth + 1)] if _plain(key))
        if isinstance(node, bytearray):
            return bytes(node)
        if isinstance(node, Name):
            return Placeholder(str(node))
        return self._thing(node, depth)

    def _thing(self, thing: Thing, depth: int) -> Any:
        if thing.name is STORED:
            assert self.persistent is not None
            return self.persistent(self._pid(thing.args[0]))
        word = self.words.get(thing.name.key)
        if word is None:  # its state is dropped unread; only what makes it a mapping or a list stays
            if thing.items:
                return dict(self._pairs(thing.items, depth))
            return self.of(thing.elements, depth + 1) if thing.elements else Placeholder(str(thing.name))
        if id(thing) in self.open:
            raise Unsafe(f"holds a {thing.name} that holds itself")
        self.open.add(id(thing))
        args = tuple([arg if isinstance(arg, Name) else self.of(arg, depth + 1) for arg in thing.args])
        elements = [self.of(item, depth + 1) for item in thing.elements]
        items = list(self._pairs(thing.items, depth))
        return word(Thing(thing.name, args, self.of(thing.state, depth + 1), items, elements))

    def _pid(self, pid: Any) -> Any:
        return tuple([part if isinstance(part, Name) else self.of(part) for part in pid]) if type(pid) is tuple else pid

    def _pairs(self, pairs: Iterable[tuple[Any, Any]], depth: int) -> Iterable[tuple[Any, Any]]:
        for key, value in pairs:
            name = self.of(key, depth + 1)
            if _plain(name) or isinstance(name, Placeholder):
                yield name, self.of(value, depth + 1)


def _plain(value: Any) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return all(isinstance(part, str | bytes | int | float | complex | np.generic | None) for part in parts)


def _dtype(thing: Thing) -> np.dtype:
    """numpy.dtype(name, align, copy), and a state that says the byte order (its second item) and any fields."""
    kind = np.dtype(_text(thing.args[0]))
    if thing.state is not None:
        _, order, part, names, *_ = thing.state
        if part is not None or names is not None:
            raise ValueError("structured arrays are not read")
        kind = kind.newbyteorder(order) if order in ("<", ">") else kind
    if kind.kind not in KINDS + "O":
        raise ValueError(f"arrays of {kind} are not read")
    return kind


def _array(shape: Any, dtype: np.dtype, data: Any, order: Any = "C") -> np.ndarray:
    """A writable array of its own. data: bytes, or a list for an array of objects."""
    size = math.prod(shape)
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"{shape} is no shape")
    if dtype.hasobject:
        if not isinstance(data, list) or len(data) != size:
            raise ValueError("an array of objects holds another number of them")
        array = np.empty(size, object)
        for i, item in enumerate(data):
            array[i] = item
    else:
        data = data.encode("latin-1") if isinstance(data, str) else data  # Python 2's bytes
        if not isinstance(data, bytes) or len(data) != size * dtype.itemsize:
            raise ValueError("an array holds another number of bytes than its shape and type say")
        array = np.frombuffer(data, dtype).copy() if size else np.empty(0, dtype)
    return array.reshape(shape, order="F" if order in (True, "F") else "C")


def _reconstruct(thing: Thing) -> np.ndarray:
    """numpy's `_reconstruct(class, shape, type)`, and the state (version, shape, dtype, by columns, data)."""
    kind = thing.args[0]
    if not (isinstance(kind, Name) and kind.module.partition(".")[0] == "numpy"):
        raise Unsafe(f"makes an array of {kind}")
    shape, dtype, by_columns, data = thing.state[-4:]
    return _array(shape, dtype, data, by_columns)


def _frombuffer(thing: Thing) -> np.ndarray:
    data, dtype, shape, order = thing.args
    return _array(shape if isinstance(shape, tuple) else (shape,), dtype, data, order)


def _ndarray(thing: Thing) -> np.ndarray:
    shape, dtype, data = thing.args
    return _array(shape, np.dtype(dtype), data)


def _scalar(thing: Thing) -> Any:
    dtype, data = thing.args
    return _array((), dtype, data)[()]


def _boxed(thing: Thing) -> np.ndarray:
    """numpy.array(value): the 0-d array of objects that `numpy.save` keeps of a mapping."""
    (value,) = thing.args
    array = np.empty((), object)
    array[()] = value
    return array


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a name is no text")
    return value


def _encode(thing: Thing) -> bytes:
    """_codecs.encode(text, 'latin1'): how protocol 2 keeps bytes. Other codecs unpack or compute, and are refused."""
    text, *codec = thing.args
    if codec not in (["latin1"], ["latin-1"]):
        raise Unsafe(f"calls {thing.name} with {codec}")
    return _text(text).encode("latin-1")


def _bytes(thing: Thing) -> bytes:
    data = thing.args[0] if thing.args else b""
    if not isinstance(data, bytes | str):
        raise Unsafe(f"calls {thing.name} with {type(data).__name__}")
    return data if isinstance(data, bytes) else data.encode("latin-1")


def _mapping(thing: Thing) -> dict:
    """collections' mappings, by what they hold: items set one by one, or all given at first."""
    first = next((arg for arg in thing.args if isinstance(arg, list | dict)), [])
    pairs = first.items() if isinstance(first, dict) else first
    return {key: value for key, value in [*pairs, *thing.items] if _plain(key) or isinstance(key, Placeholder)}


def _sequence(thing: Thing) -> list:
    first = thing.args[0] if thing.args and isinstance(thing.args[0], list | tuple) else []
    return [*first, *thing.elements]


def _set(thing: Thing) -> set | frozenset:
    kind = frozenset if thing.name.name == "frozenset" else set
    return kind(value for value in _sequence(thing) if _plain(value))


def _path(thing: Thing) -> str:
    return "/".join(_text(part) for part in thing.args).replace("//", "/") or "."


WORDS: Words = {
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "array"): _boxed,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
    **{(module, name): _bytes for module in BUILTINS for name in ("bytearray", "bytes")},
    **{(module, name): _set for module in BUILTINS for name in ("set", "frozenset")},
    **{("collections", name): _mapping for name in ("OrderedDict", "defaultdict", "Counter")},
    ("collections", "deque"): _sequence,
    **{
        (module, name): _path
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath")
    },
}
