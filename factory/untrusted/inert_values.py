"""What `inert` turns a pickle's names, calls and objects into: arrays, containers, plain values and placeholders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from factory.untrusted import Unsafe, arrays

DEPTH = 100  # containers inside each other at most; real files have ten or so
BUILTINS = frozenset({"builtins", "__builtin__"})


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names. It is not imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def key(self) -> tuple[str, str]:
        """(module, name), the same for numpy 1 and numpy 2, which call one module differently."""
        return self.module.replace("numpy._core", "numpy.core"), self.name


MEMBER = frozenset(Name(module, "getattr") for module in BUILTINS)  # see `inert.PickleReader`; only its call is read


@dataclass(eq=False)
class Thing:
    """A call that was not made, or an object that was not built, with all that the pickle puts into it.

    args: of the call; state: what would be set on the object; items, elements: what would be added to it as to a
    mapping or to a list.
    """

    name: Name
    args: tuple[Any, ...]
    state: Any = None
    items: list[tuple[Any, Any]] = field(default_factory=list)
    elements: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Placeholder:
    """Takes the place of an object of a class that is not loaded. kind: the name of that class; nothing else is
    kept."""

    kind: str


PERSISTENT = Name("", "persistent")  # the name of a Thing whose args are one persistent id
Vocabulary = Mapping[tuple[str, str], Callable[[Thing], Any]]


class Values:
    """Turns the tree that the reader left into values. A part that is shared becomes one value."""

    def __init__(self, vocabulary: Vocabulary, persistent: Callable[[Any], Any] | None) -> None:
        self.vocabulary, self.persistent = vocabulary, persistent
        self.done: dict[int, Any] = {}  # id of a node -> its value; the tree lives on meanwhile, so no id is used twice
        self.open: set[int] = set()  # ids of nodes whose value is being made: such a node inside itself is refused

    def of(self, node: Any, depth: int = 0) -> Any:
        if not isinstance(node, list | dict | tuple | set | frozenset | bytearray | Name | Thing):
            return node
        if id(node) in self.done:
            return self.done[id(node)]
        if depth > DEPTH:
            raise Unsafe(f"is nested deeper than {DEPTH}")
        if isinstance(node, list):
            made: list[Any] = []
            self.done[id(node)] = made  # before its items are made, since one of them may be this list
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
            if node in MEMBER:
                raise Unsafe(f"names {node}, which is no plain data and is not run")
            return Placeholder(str(node))
        return self._thing(node, depth)

    def _thing(self, thing: Thing, depth: int) -> Any:
        if thing.name is PERSISTENT:
            assert self.persistent is not None
            return self.persistent(self._pid(thing.args[0]))
        make = self.vocabulary.get(thing.name.key)
        if make is None:  # an object of another class: its items or elements stay, its state is dropped unread
            if thing.items:
                return dict(self._pairs(thing.items, depth))
            return self.of(thing.elements, depth + 1) if thing.elements else Placeholder(str(thing.name))
        if id(thing) in self.open:
            raise Unsafe(f"holds a {thing.name} that holds itself")
        self.open.add(id(thing))
        args = tuple([arg if isinstance(arg, Name) else self.of(arg, depth + 1) for arg in thing.args])
        elements = [self.of(item, depth + 1) for item in thing.elements]
        items = list(self._pairs(thing.items, depth))
        return make(Thing(thing.name, args, self.of(thing.state, depth + 1), items, elements))

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
    """The type of numpy.dtype(name, align, copy). Its state holds the byte order as second item, then any fields."""
    kind = np.dtype(_text(thing.args[0]))
    if thing.state is not None:
        _, order, part, names, *_ = thing.state
        if part is not None or names is not None:
            raise ValueError("structured arrays are not read")
        kind = kind.newbyteorder(order) if order in ("<", ">") else kind
    if kind.kind not in arrays.ANY + "O":
        raise ValueError(f"arrays of {kind} are not read")
    return kind


def _array(shape: Any, dtype: np.dtype, data: Any, order: Any = "C") -> np.ndarray:
    """A writable array with memory of its own. data: bytes, or for an array of objects a list."""
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
    """The array of numpy's `_reconstruct(class, shape, type)`, whose state is (version, shape, dtype, by columns,
    data)."""
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
    """The array of numpy.array(value): a 0-d array of objects, as `numpy.save` stores a mapping."""
    (value,) = thing.args
    array = np.empty((), object)
    array[()] = value
    return array


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a name is no text")
    return value


def _encode(thing: Thing) -> bytes:
    """The bytes of _codecs.encode(text, 'latin1'), which is how protocol 2 stores bytes. Unsafe for other codecs, some
    of which unpack or compute."""
    text, *codec = thing.args
    if codec not in (["latin1"], ["latin-1"]):
        raise Unsafe(f"calls {thing.name} with {codec}")
    return _text(text).encode("latin-1")


def _bytes(thing: Thing) -> bytes:
    data = thing.args[0] if thing.args else b""
    if not isinstance(data, bytes | str):
        raise Unsafe(f"calls {thing.name} with {type(data).__name__}")
    return data if isinstance(data, bytes) else data.encode("latin-1")


def _mapping(thing: Thing) -> dict[str, Any]:
    """A dict of what a mapping of `collections` holds: its items are set one by one, or given all at first."""
    first = next((arg for arg in thing.args if isinstance(arg, list | dict)), [])
    pairs = first.items() if isinstance(first, dict) else first
    return {key: value for key, value in [*pairs, *thing.items] if _plain(key) or isinstance(key, Placeholder)}


def _sequence(thing: Thing) -> list[Any]:
    first = thing.args[0] if thing.args and isinstance(thing.args[0], list | tuple) else []
    return [*first, *thing.elements]


def _set(thing: Thing) -> set[Any] | frozenset[Any]:
    kind = frozenset if thing.name.name == "frozenset" else set
    return kind(value for value in _sequence(thing) if _plain(value))


def _path(thing: Thing) -> str:
    return "/".join(_text(part) for part in thing.args).replace("//", "/") or "."


VOCABULARY: Vocabulary = {
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
