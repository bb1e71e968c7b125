"""Tars of strangers: none makes the reader fill the memory or run in a circle."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from factory.untrusted.tars import walk

MOST = 10_000


def header(size: int, kind: bytes = tarfile.REGTYPE, name: str = "a.txt") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


def test_members_and_their_contents_come_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("a.txt", "ä" * 150, "folder/b"):
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(b"x" * len(name)))
    assert [(info.name, content()) for info, content in walk(path, MOST)] == [
        ("a.txt", b"x" * 5), ("ä" * 150, b"x" * 150), ("folder/b", b"x" * 8)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        header(10**12, tarfile.XHDTYPE),
        header(10**12, tarfile.GNUTYPE_LONGNAME),
        header(-512, tarfile.XHDTYPE) + header(0),
        header(0) + header(-1024),
        header(20_000) + bytes(30_000),
    ],
    ids=["long header", "long name", "negative header", "negative content", "long content"],
)
def test_a_size_that_no_header_has_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(data.ljust(1 << 16, b"\0"))
    with pytest.raises(tarfile.TarError):
        for _, content in walk(tmp_path / "a.tar", MOST):
            content()
