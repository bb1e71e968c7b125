from __future__ import annotations

import io
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.store import tar

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=40)
members = st.dictionaries(st.builds("{}.{}".format, names, names), st.binary(max_size=3000), max_size=6).map(
    lambda d: list(d.items())
)


@given(st.lists(members, max_size=4))
def test_segments_in_a_row_are_the_archive_that_tarfile_writes(parts):
    """Byte for byte: tarfile is the oracle."""
    segments = b"".join(tar.tar_segment(part) for part in parts)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in (member for part in parts for member in part):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert segments + tar.tar_trailer(len(segments)) == buffer.getvalue()
    assert list(tar.tar_members(segments)) == [member for part in parts for member in part]


def test_members_belong_to_nobody_and_have_no_date():
    with tarfile.open(fileobj=io.BytesIO(tar.tar_segment([("a.txt", b"a")]) + tar.tar_trailer(1024))) as archive:
        (info,) = archive.getmembers()
    assert (info.mtime, info.uid, info.gid, info.uname, info.gname, info.mode) == (0, 0, 0, "", "", 0o644)
    assert info.isreg()


def test_gnu_tar_agrees(tmp_path):
    path = tmp_path / "a.tar"
    data = tar.tar_segment([("k-1.jpg", b"x" * 700), ("k-1.smpl.npz", b"")])
    path.write_bytes(data + tar.tar_trailer(len(data)))
    done = subprocess.run(["tar", "--list", "--verbose", "--numeric-owner", "-f", path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [(line[0], line[1], line[2], line[-1]) for line in lines] == [
        ("-rw-r--r--", "0/0", "700", "k-1.jpg"),
        ("-rw-r--r--", "0/0", "0", "k-1.smpl.npz"),
    ]


def test_a_name_ustar_cannot_hold_is_refused():
    with pytest.raises(ValueError):
        tar.tar_segment([("n" * 120, b"")])
    with pytest.raises(UnicodeError):
        tar.tar_segment([("é", b"")])


def test_damage_is_noticed():
    data = bytearray(tar.tar_segment([("a.txt", b"a" * 600), ("b.txt", b"b")]))
    with pytest.raises(tarfile.ReadError):
        list(tar.tar_members(bytes(data[:900])))
    data[1536 + 3] ^= 1
    with pytest.raises(tarfile.ReadError):
        list(tar.tar_members(bytes(data)))
