"""Pickles of untrusted origin read as data, for weights, body models and exports: nothing in them is run.

Python's own reader imports what a pickle names and calls it. Here a name stays a name, and a call is only recorded
(`Thing`). Afterwards `inert_values` turns the recorded calls of a short vocabulary (arrays, containers, paths) into
values by its own code. An object of any other class becomes an empty `Placeholder`. A call of a function outside the
vocabulary raises Unsafe: the call would never be made, but plain data hold none, so the file is not what it seems.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, ClassVar

from factory.untrusted import Unsafe
from factory.untrusted.inert_values import BUILTINS, MEMBER, PERSISTENT, VOCABULARY, Name, Thing, Values, Vocabulary

# Types of Python's own that a pickle may name.
TYPES = frozenset(
    "object type bool int long float complex str unicode bytes bytearray list tuple dict set frozenset slice range "
    "xrange ellipsis NoneType".split()
)
# Modules whose functions and classes no file of data needs: a pickle that names one is refused, even without a call.
NEVER = frozenset(
    "os posix nt subprocess sys shutil socket importlib imp runpy ctypes pty commands popen2 pickle marshal".split()
)
# Functions and small classes of the standard library that files of data do call. Where the vocabulary does not know
# one, its recorded call becomes a placeholder.
HARMLESS = frozenset({
    ("_operator", "getitem"), ("operator", "getitem"), ("functools", "partial"), ("uuid", "UUID"),
    ("datetime", "datetime"), ("datetime", "date"), ("datetime", "time"), ("datetime", "timedelta"),
    ("datetime", "timezone"), ("decimal", "Decimal"), ("fractions", "Fraction"), ("builtins", "slice"),
    ("builtins", "range"), ("builtins", "complex"), ("__builtin__", "slice"), ("__builtin__", "xrange"),
    ("__builtin__", "complex"),
})  # fmt: skip


def load(file: BinaryIO, vocabulary: Vocabulary | None = None, persistent: Callable[[Any], Any] | None = None) -> Any:
    """The value of the pickle that starts at the file's position. Afterwards the file stands just behind the pickle.

    vocabulary: further entries, (module, name) -> the function that makes the value of a Thing of that name, whose args
    and state are values by then. persistent: makes the value of a persistent id; None: such ids are refused.
    Raises Unsafe, or whatever error a damaged pickle leads to.
    """
    return PickleReader(file, vocabulary, persistent).load()


# Python's own reader, the one written in Python: there each opcode's method can be replaced. It has no type hints.
_Unpickler: Any = pickle._Unpickler


class PickleReader(_Unpickler):
    """Reads a pickle without an import or a call. `modules`: the names of the modules that it has named so far."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)

    def __init__(
        self, file: BinaryIO, vocabulary: Vocabulary | None = None, persistent: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__(file, encoding="latin1")
        self.vocabulary = {**VOCABULARY, **(vocabulary or {})}
        self.persistent = persistent
        self.modules: set[str] = set()

    def load(self) -> Any:
        return Values(self.vocabulary, self.persistent).of(super().load())

    def find_class(self, module: str, name: str) -> Name:
        self.modules.add(module)
        named = Name(module, name)
        harmless = module in BUILTINS and (name in TYPES or named in MEMBER)
        if module.partition(".")[0] in NEVER or (module in BUILTINS and not harmless):
            raise Unsafe(f"names {named}, which is no plain data and is not run")
        return named

    def persistent_load(self, pid: Any) -> Thing:
        if self.persistent is None:
            raise pickle.UnpicklingError("it refers to data outside itself")
        return Thing(PERSISTENT, (pid,))

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

    def _instantiate(self, kind: Any, args: list[Any]) -> None:
        self.append(_built(kind, tuple(args)))

    def _called(self, function: Any, args: Any) -> Thing:
        if not isinstance(function, Name) or not isinstance(args, tuple):
            raise Unsafe("calls what is no name")
        if function.module in ("copyreg", "copy_reg"):
            return _from_copyreg(function, args)
        if function in MEMBER:
            return self._member(function, args)
        if function.key in self.vocabulary or function.key in HARMLESS:
            return Thing(function, args)
        last = function.name.rpartition(".")[2].lstrip("_")
        if function.module.partition(".")[0] in sys.stdlib_module_names or not last[:1].isupper():
            raise Unsafe(f"calls {function}, which is no plain data and is not run")
        return Thing(function, args)

    def _member(self, function: Name, args: tuple[Any, ...]) -> Thing:
        """The member of an enum. Python 3.11.0 to 3.11.4 write it as getattr(its class, its name)."""
        if len(args) == 2 and isinstance(args[0], Name) and isinstance(args[1], str) and args[1][:1].isalpha():
            return self._called(args[0], ())
        raise Unsafe(f"calls {function}, which is no plain data and is not run")

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
        self.append(bytearray(self.read(size)))  # Python takes the memory before it looks whether the bytes are there

    def load_frozenset(self) -> None:
        items = self.pop_mark()  # before `append` is looked up: pop_mark replaces the list that it appends to
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

    def _extend(self, new: list[Any]) -> None:
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
    """An object of a class that the pickle names. Python would only allocate it, so every class is accepted."""
    if not isinstance(kind, Name) or not isinstance(args, tuple):
        raise Unsafe("builds an object of what is no class")
    return Thing(kind, args)


def _from_copyreg(function: Name, args: tuple[Any, ...]) -> Thing:
    """The object that a call of `copyreg` would build: protocols 0 to 2 write objects by such calls."""
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
    """The key, unchanged. Unsafe for a nested tuple: to hash one takes time exponential in its depth."""
    flat = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, str | bytes | int | float | complex | None | Name | Thing) for part in flat):
        raise Unsafe(f"has a {type(key).__name__} of more than plain values as a key")
    return key


def loads(data: bytes) -> tuple[Any, set[str]]:
    """(the value of a pickle in memory, the names of the modules that it names). Raises as `load`."""
    reader = PickleReader(io.BytesIO(data))
    return reader.load(), reader.modules
