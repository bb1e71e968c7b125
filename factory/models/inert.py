"""Pickles of strangers read as data, for every reader of weights, bodies and exports: nothing in them is run.

Python's own reader imports what a pickle names and calls it. Here a name stays a name and a call stays a note of the
call (`Thing`). Afterwards the notes of a short vocabulary (arrays, containers, paths) become values by code of our own.
An object of any other class becomes an empty `Placeholder`. A call of a function outside the vocabulary raises Unsafe:
it would never be made, but plain data hold none, so the file is not what it seems.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

import numpy as np

DEPTH = 100  # containers inside each other; real files have ten or so
KINDS = "biufcSUmM"  # numpy's kinds of numbers, texts and times
TYPES = frozenset(
    "object type bool int long float complex str unicode bytes bytearray list tuple dict set frozenset slice range "
    "xrange ellipsis NoneType".split()
)
BUILTINS = frozenset({"builtins", "__builtin__"})
# Modules whose functions and classes no weights file needs, whichever way it names them.
NEVER = frozenset(
    "os posix nt subprocess sys shutil socket importlib imp runpy ctypes pty commands popen2 pickle marshal".split()
)
# Functions and small classes of the standard library that data do call; those that are no word below are dropped.
HARMLESS = frozenset({
    ("_operator", "getitem"), ("operator", "getitem"), ("functools", "partial"), ("uuid", "UUID"),
    ("datetime", "datetime"), ("datetime", "date"), ("datetime", "time"), ("datetime", "timedelta"),
    ("datetime", "timezone"), ("decimal", "Decimal"), ("fractions", "Fraction"), ("builtins", "slice"),
    ("builtins", "range"), ("builtins", "complex"), ("__builtin__", "slice"), ("__builtin__", "xrange"),
    ("__builtin__", "complex"),
})  # fmt: skip


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


def load(file: BinaryIO, words: Words | None = None, persistent: Callable[[Any], Any] | None = None) -> Any:
    """The value of the pickle that starts here in the file, which is left just behind it.

    words: further vocabulary, (module, name) -> the value of a Thing of that name, whose args and state are values by
    then. persistent: the value of a persistent id; none: ids are refused.
    Raises Unsafe, or whatever a damaged pickle leads to.
    """
    return Reader(file, words, persistent).load()


# Python's own reader in its version in Python, where each opcode can be replaced; Any, because its types are not given.
_Unpickler: Any = pickle._Unpickler


class Reader(_Unpickler):
    """`modules`: which modules the pickle has named so far."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)

    def __init__(
        self, file: BinaryIO, words: Words | None = None, persistent: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__(file, encoding="latin1")
        self.words = {**WORDS, **(words or {})}
        self.persistent = persistent
        self.modules: set[str] = set()

    def load(self) -> Any:
        return _Values(self.words, self.persistent).of(super().load())

    def find_class(self, module: str, name: str) -> Name:
        self.modules.add(module)
        named = Name(module, name)
        harmless = module in BUILTINS and name in TYPES
        if module.partition(".")[0] in NEVER or (module in BUILTINS and not harmless):
            raise Unsafe(f"names {named}, which is no plain data and is not run")
        return named

    def persistent_load(self, pid: Any) -> Thing:
        if self.persistent is None:
            raise pickle.UnpicklingError("it refers to data outside itself")
        return Thing(STORED, (pid,))

    def get_extension(self, code: int) -> None:
        raise Unsafe(f"names the registered extension {code}, which is no plain data")

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._called(self.stack[-1], args)

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = _built(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # the arguments by name
        self.load_newobj()

    def _instantiate(self, kind: Any, args: list) -> None:
        self.append(_built(kind, tuple(args)))

    def _called(self, function: Any, args: Any) -> Thing:
        if not isinstance(function, Name) or not isinstance(args, tuple):
            raise Unsafe("calls what is no name")
        if function.module in ("copyreg", "copy_reg"):
            return _from_copyreg(function, args)
        if function.key in self.words or function.key in HARMLESS:
            return Thing(function, args)
        last = function.name.rpartition(".")[2].lstrip("_")
        if function.module.partition(".")[0] in sys.stdlib_module_names or not last[:1].isupper():
            raise Unsafe(f"calls {function}, which is no plain data and is not run")
        return Thing(function, args)

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Thing):
            raise Unsafe("alters what is no object of its own")
        self.stack[-1].state = state

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    def load_append(self) -> None:
        self._extend([self.stack.pop()])

    def load_additems(self) -> None:
        new = self.pop_mark()
        if isinstance(self.stack[-1], set):
            self.stack[-1].update(map(_key, new))
        else:
            self._extend(new)

    def load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))  # not made before the bytes are there, as Python does

    def load_frozenset(self) -> None:
        items = self.pop_mark()  # first: it changes what `append` appends to
        self.append(frozenset(map(_key, items)))

    def load_dict(self) -> None:
        flat = self.pop_mark()
        self.append({_key(key): value for key, value in zip(flat[::2], flat[1::2], strict=True)})

    def load_setitems(self) -> None:
        flat = self.pop_mark()
        self._set(zip(flat[::2], flat[1::2], strict=True))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([(key, value)])

    def _extend(self, new: list) -> None:
        goal = self.stack[-1]
        if not isinstance(goal, list | Thing):
            raise Unsafe("adds to what is no list")
        (goal if isinstance(goal, list) else goal.elements).extend(new)

    def _set(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        goal = self.stack[-1]
        if not isinstance(goal, dict | Thing):
            raise Unsafe("sets what is no mapping")
        if isinstance(goal, dict):
            goal.update((_key(key), value) for key, value in pairs)
        else:
            goal.items.extend((_key(key), value) for key, value in pairs)

    dispatch |= {
        pickle.REDUCE[0]: load_reduce, pickle.NEWOBJ[0]: load_newobj, pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build, pickle.APPENDS[0]: load_appends, pickle.APPEND[0]: load_append,
        pickle.ADDITEMS[0]: load_additems, pickle.FROZENSET[0]: load_frozenset, pickle.DICT[0]: load_dict,
        pickle.SETITEMS[0]: load_setitems, pickle.SETITEM[0]: load_setitem, pickle.BYTEARRAY8[0]: load_bytearray8,
    }  # fmt: skip


def _built(kind: Any, args: Any) -> Thing:
    """An object whose class is named: Python would only allocate it, so any class may be stood in for."""
    if not isinstance(kind, Name) or not isinstance(args, tuple):
        raise Unsafe("builds an object of what is no class")
    return Thing(kind, args)


def _from_copyreg(function: Name, args: tuple) -> Thing:
    """What `copyreg` does for objects of the protocols 0 to 2."""
    if function.name == "_reconstructor" and len(args) == 3:
        thing = _built(args[0], ())
        if isinstance(args[2], dict):
            thing.items.extend(args[2].items())
        elif isinstance(args[2], list):
            thing.elements.extend(args[2])
        return thing
    if function.name in ("__newobj__", "__newobj_ex__") and args:
        return _built(args[0], tuple(args[1:]) if function.name == "__newobj__" else ())
    raise Unsafe(f"calls {function}, which is no plain data and is not run")


def _key(key: Any) -> Any:
    """The key itself. Nested tuples are refused: hashing one takes time exponential in its depth."""
    flat = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, str | bytes | int | float | complex | None | Name | Thing) for part in flat):
        raise Unsafe(f"has a {type(key).__name__} of more than plain values as a key")
    return key


class _Values:
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
    array = np.empty((), object)
    array[()] = thing.args[0]
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


def loads(data: bytes) -> tuple[Any, set[str]]:
    """The value, and the modules that the pickle names. Raises as `load`."""
    reader = Reader(io.BytesIO(data))
    return reader.load(), reader.modules
