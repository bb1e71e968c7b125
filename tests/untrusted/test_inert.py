"""Pickles of strangers: what is inert is read, whatever wrote it; what would run something is refused and runs nothing.

The hostile pickles are written opcode by opcode, so that they need no library; each of them does harm when Python's own
reader opens it, or would if the libraries were there.
"""

from __future__ import annotations

import collections
import copyreg
import io
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from factory.untrusted import Unsafe, inert
from factory.untrusted.inert_values import Placeholder


def read(data: bytes) -> Any:
    return inert.load(io.BytesIO(data))


ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, -(2**70), 2.5, None, True, "é", b"\xff", (1, (2,))]}, None),
        ({1, 2}, None),
        (frozenset("ab"), None),
        (bytearray(b"ab"), b"ab"),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.deque([1, 2], 5), [1, 2]),
        (PurePosixPath("/a/b.pt"), "/a/b.pt"),
        (Path("a/b"), "a/b"),
        (np.float32(0.5), np.float32(0.5)),
        (np.int64(7), np.int64(7)),
        (np.bool_(True), np.bool_(True)),
        (complex, Placeholder("builtins.complex")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_data_of_every_protocol(protocol: int, value: object, expected: object) -> None:
    found = read(pickle.dumps(value, protocol))
    wanted = value if expected is None else expected
    assert type(found) is type(wanted)
    assert found == wanted or found == Placeholder("__builtin__.complex")  # Python 2's name of it


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "array",
    [ARRAY, np.asfortranarray(ARRAY), ARRAY.astype(">f4"), np.array(3.0), np.zeros((0, 3)), np.array(["a", "bc"]),
     np.array([True]), np.array([1 + 2j]), ARRAY[:, ::2], np.array([{"a": 1}, None], object)],
    ids=lambda array: f"{array.dtype}{array.shape}",
)  # fmt: skip
def test_arrays_of_every_protocol(protocol: int, array: np.ndarray) -> None:
    found = read(pickle.dumps([array, array], protocol))
    assert found[0] is found[1] and found[0].flags.writeable
    assert found[0].dtype == array.dtype
    np.testing.assert_array_equal(found[0], array)


def test_arrays_of_numpy_1_are_read() -> None:
    assert b"numpy._core" in pickle.dumps(ARRAY, 2)
    np.testing.assert_array_equal(read(pickle.dumps(ARRAY, 2).replace(b"numpy._core", b"numpy.core")), ARRAY)


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A trainer's package that is here while the file is written and gone when it is read."""
    module = types.ModuleType("their_trainer")
    source = """
import enum
class Callback:
    def __init__(self): self.best, self.parent = 0.5, self
class CfgNode(dict):
    def __init__(self, *args): super().__init__(*args); self.frozen = True
class Items(list): pass
class Mode(enum.Enum): MIN = "min"
class Slots:
    __slots__ = ("a",)
    def __init__(self): self.a = 1
def function(): pass
"""
    monkeypatch.setitem(sys.modules, "their_trainer", module)
    exec(source, module.__dict__)
    for value in vars(module).values():
        if getattr(value, "__module__", "") == "builtins":
            value.__module__ = "their_trainer"
    for name in ("Callback", "CfgNode", "Items", "Mode", "Slots", "function"):
        getattr(module, name).__module__ = "their_trainer"
    return module


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_objects_of_classes_that_are_not_there(foreign: Any, monkeypatch: pytest.MonkeyPatch, protocol: int) -> None:
    """Callbacks, enums and functions become empty placeholders; settings that are mappings stay mappings."""
    content = {
        "callbacks": {foreign.Callback: foreign.Callback()},
        "settings": foreign.CfgNode({"lr": 0.1, "model": foreign.CfgNode({"width": 2})}),
        "items": foreign.Items([1]),
        "mode": foreign.Mode.MIN,
        "activation": foreign.function,
        "weights": ARRAY,
    }
    if protocol > 1:
        content["slots"] = foreign.Slots()
    data = pickle.dumps(content, protocol)
    monkeypatch.delitem(sys.modules, "their_trainer")
    found = read(data)
    callback = Placeholder("their_trainer.Callback")
    assert found["callbacks"] == {callback: callback}
    assert found["settings"] == {"lr": 0.1, "model": {"width": 2}}
    assert found["items"] == [1]
    assert found["mode"] == Placeholder("their_trainer.Mode")
    assert found["activation"] == Placeholder("their_trainer.function")
    np.testing.assert_array_equal(found["weights"], ARRAY)


def test_a_member_of_an_enum_as_python_3_11_2_writes_it() -> None:
    assert read(called("builtins", "getattr", name("theirs", "Mode"), text("MIN")) + b".") == Placeholder("theirs.Mode")


def text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def name(module: str, called: str) -> bytes:
    return f"c{module}\n{called}\n".encode()


def called(module: str, function: str, *arguments: bytes) -> bytes:
    return name(module, function) + b"(" + b"".join(arguments) + b"tR"


RUN = text("touch ran")
SYSTEM = name("os", "system")
GETATTR = name("builtins", "getattr")
HOSTILE = {
    "os.system called": called("os", "system", RUN),
    "posix.system called": called("posix", "system", RUN),
    "nt.system by its Python 2 module": called("nt", "system", RUN),
    "subprocess.Popen": called("subprocess", "Popen", text("true")),
    "a dotted name of protocol 4": b"\x80\x04" + text("os") + text("path.os.system") + b"\x93" + b"(" + RUN + b"tR",
    "pathlib's method": called("pathlib", "Path.touch", called("pathlib", "Path", text("ran"))),
    "INST": b"(" + RUN + b"ios\nsystem\n",
    "OBJ": b"(" + SYSTEM + RUN + b"o",
    "NEWOBJ": SYSTEM + b"(" + RUN + b"t\x81",
    "NEWOBJ_EX": b"\x80\x04" + SYSTEM + b"(" + RUN + b"t}\x92",
    "builtins.eval": called("builtins", "eval", text("1")),
    "__builtin__.eval of Python 2": called("__builtin__", "eval", text("1")),
    "builtins.__import__": called("builtins", "__import__", text("os")),
    "getattr of an array": called("builtins", "getattr", called("numpy", "ndarray"), text("tofile")),
    "getattr, merely named": GETATTR,
    "getattr of os": called("builtins", "getattr", name("os", "path"), text("join")),
    "getattr of a function": called("builtins", "getattr", name("theirs", "run"), text("value")),
    "getattr of what is private": called("builtins", "getattr", name("theirs", "Mode"), text("__subclasses__")),
    "a member called": called("builtins", "getattr", name("theirs", "Mode"), text("MIN")) + b")R",
    "a chain of getattr": GETATTR + b"(" + GETATTR + b"(" + name("numpy", "dtype") + text("__class__") + b"tR"
    + text("mro") + b"tR)R",
    "operator.attrgetter": called("operator", "attrgetter", text("system")) + b"(" + name("numpy", "dtype") + b"tR",
    "operator.methodcaller": called("operator", "methodcaller", text("tofile"), text("ran")),
    "functools.partial of it": called("functools", "partial", SYSTEM, RUN) + b")R",
    "functools.partial called": called("functools", "partial", name("numpy", "array"), RUN) + b")R",
    "defaultdict of it": called("collections", "defaultdict", SYSTEM),
    "a placeholder called": name("theirs", "Callback") + b")R" + b")R",
    "a third party's function": called("their_package.run", "run_script", text("x")),
    "numpy's own evaluator": called("numpy.testing._private.utils", "runstring", text("1"), b"}"),
    "torch's loader of bytes": called("torch.storage", "_load_from_bytes", b"C\x01x"),
    "copyreg over a function": called("copyreg", "_reconstructor", SYSTEM, name("builtins", "object"), b"N"),
    "copyreg.__newobj__": called("copyreg", "__newobj__", SYSTEM, RUN),
    "copyreg adds an extension": called("copyreg", "add_extension", text("os"), text("system"), b"K\x01"),
    "copyreg._reconstructor of an array": called("copyreg", "_reconstructor", ARRAY.tobytes()[:0] + b")", b")", b"N"),
    "_reconstruct of a foreign type": called(
        "numpy.core.multiarray", "_reconstruct", name("theirs", "Evil"), b"K\x00\x85", b"C\x01b")
    + b"(K\x01K\x00\x85" + called("numpy", "dtype", text("f4")) + b"\x89C\x00tb",
    "a codec that unpacks": called("_codecs", "encode", text("x"), text("zlib_codec")),
    "bytearray of a size": called("builtins", "bytearray", b"\x8a\x06\0\0\0\0\0\1"),
    "BUILD over a class": name("theirs", "Callback") + b"N}" + text("__setstate__") + SYSTEM + b"s\x86b",
    "BUILD over a list": b"]" + b"}" + text("append") + b"Nsb",
    "BUILD over an array's class": name("numpy", "ndarray") + b"N}" + text("__array_finalize__") + b"Ns\x86b",
    "items set on a class": name("numpy", "ndarray") + text("a") + b"Ns",
    "items added to a name": name("numpy", "ndarray") + b"(Ne",
    "items added to a text": text("a") + b"(Ne",
    "hashing that takes 2 to the 60": b"}" + b")" + b"2\x86" * 60 + b"Ns",
    "a set of such": b"\x80\x04\x8f(" + b")" + b"2\x86" * 60 + b"\x90",
    "a frozenset of such": b"\x80\x04(" + b")" + b"2\x86" * 60 + b"\x91",
    "lists 2,000 deep": b"]" * 2000 + b"a" * 1999,
    "tuples 2,000 deep": b")" + b"\x85" * 2000,
    "an array that holds itself": called(
        "numpy.core.multiarray", "_reconstruct", name("numpy", "ndarray"), b"K\x00\x85", b"C\x01b")
    + b"q\x00(K\x01K\x01\x85" + called("numpy", "dtype", text("O")) + b"\x89]h\x00atb",
}  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_pickles_are_refused_and_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Unsafe):
        read(data + b".")
    assert not list(tmp_path.iterdir())


def test_what_is_called_by_registered_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """EXT codes: Python's reader takes the function from its cache, past any `find_class`."""
    copyreg.add_extension("os", "system", 77)
    try:
        copyreg._extension_cache[77] = pytest.fail  # type: ignore[attr-defined]
        for code in (b"\x82\x4d", b"\x83\x4d\0", b"\x84\x4d\0\0\0"):
            with pytest.raises(Unsafe, match="extension 77"):
                read(code + b"(" + RUN + b"tR.")
    finally:
        copyreg.remove_extension("os", "system", 77)


@pytest.mark.parametrize(
    "data",
    [
        b"Pkey\n.",  # a persistent id where no storage is
        b"Nr\xff\xff\xff\x7f.",  # kept under number 2^31: the C reader makes room for all the others
        b"\x96\0\0\0\0\0\0\0\1.",  # bytes that are not there
        b"\x97.",  # a buffer outside the pickle
        called("numpy", "ndarray", b"\x8a\x06\0\0\0\0\0\1\x85", text("f4"), b"C\x00") + b".",
        called("numpy.core.multiarray", "scalar", called("numpy", "dtype", text("f4")), b"C\x01x") + b".",
        called("numpy.core.multiarray", "scalar", called("numpy", "dtype", text("O")), b"C\x01x") + b".",
        b"I" + b"9" * 100_000 + b"\n.",
    ],
)  # fmt: skip
def test_bombs_end_at_once(data: bytes) -> None:
    try:
        assert read(data) is None
    except Exception as error:
        assert not isinstance(error, MemoryError)


def test_shared_parts_are_read_once() -> None:
    """A list of ten lists of ten lists ...: 10^40 items if it were written out."""
    data = b"]" + b"".join(b"q" + bytes([i]) + b"](" + (b"h" + bytes([i])) * 10 + b"e" for i in range(40)) + b"."
    found = read(data)
    for _ in range(40):
        assert len(found) == 10 and all(item is found[0] for item in found)
        found = found[0]
