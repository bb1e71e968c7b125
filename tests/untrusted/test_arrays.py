"""Arrays of strangers: what is expected is read; what would take far more memory than it should is refused."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.untrusted import Unreadable, arrays

LIMIT = 100_000


def npy(shape: str = "(2, 3)", kind: str = "<f4", data: bytes = bytes(24)) -> bytes:
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.ljust(117) + b"\n" + data


def npz(pack: int = zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", pack) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def saved(save, *given, **named) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *given, **named)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "array", [np.arange(6).reshape(2, 3), np.asfortranarray(np.eye(3)), np.zeros((0, 72)), np.float32(1)]
)
def test_what_numpy_wrote_comes_back(array, tmp_path):
    np.testing.assert_array_equal(arrays.npy(saved(np.save, array)), array)
    for save in (np.savez, np.savez_compressed):
        data = saved(save, a=array, words=np.array(["x", "yz"]))
        (tmp_path / "a.npz").write_bytes(data)
        for source in (data, tmp_path / "a.npz"):
            found = arrays.npz(source, {"a": arrays.NUMBERS, "words": arrays.TEXTS, "absent": "f"}, LIMIT)
            np.testing.assert_array_equal(found["a"], array)
            assert list(found["words"]) == ["x", "yz"] and len(found) == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npy("(1000000000000,)"), "24 bytes are no float32"),
        (npy("(-1, 3)"), "no array has the shape"),
        (npy("(2,", data=b""), "not an .npy"),
        (npy("(2, 3)", "|O"), "holds objects"),
        (npy("(2, 3)", "<U1", bytes(24)), "not numbers"),
        (npy("(2, 4)"), "24 bytes are no"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65_535, "header is longer"),
        (b"", "not an .npy"),
        (npy("(" * 50), "not an .npy"),
    ],
)
def test_an_npy_that_is_not_what_it_says(data, words):
    with pytest.raises(Unreadable, match=words):
        arrays.npy(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npz(pose=npy("(100000, 72)", data=bytes(28_800_000))), "pose: 28,800,000 bytes, more than"),
        (npz(pose=npy("(1000000000000,)")), "more than are read here"),
        (npz(pose=npy("(2, 3)", data=bytes(5_000_000))), "25 bytes are no"),
        (npz(pose=npy("(1,)", "<U100000000")), "not numbers"),
        (npz(words=npy("(1,)", "<U100000000")), "texts of"),
        (npz(words=npy("(1,)", "<f4")), "not text"),
        (npz(pose=npy("(2, 3)", "|O")), "holds objects"),
        (npz(zipfile.ZIP_BZIP2, pose=npy()), "packed in a way"),
        (npz(**{f"a{i}": b"" for i in range(30_000)}), "directory is longer"),
        (npz(pose=npy())[:-30], "zip"),
        (b"", "zip"),
    ],
)
def test_an_npz_that_would_take_more_than_it_should(data, words):
    with pytest.raises(Unreadable, match=words):
        arrays.npz(data, {"pose": arrays.NUMBERS, "words": arrays.TEXTS}, LIMIT)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_damage_is_one_kind_of_error(data):
    content = bytearray(saved(np.savez, a=np.arange(6.0), words=np.array(["x"])))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        arrays.npz(bytes(content), {"a": arrays.NUMBERS, "words": arrays.TEXTS}, LIMIT)
    except Unreadable as error:
        assert "\n" not in str(error) and len(str(error)) < 300
