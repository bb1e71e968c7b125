"""Job files, prompts, images and data sets are strangers' work. More of it: YAML tags in test_config.py, pickles in
tests/models and tests/export, HTML in prompts in tests/present/test_report.py, images in tests/sources."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib

import pytest

from factory import config
from factory.errors import UserError
from factory.store.status import status
from factory.store.verify import verify
from tests.store.conftest import job  # noqa: F401
from tests.store.test_verify import out as made
from tests.store.test_verify import replaced, rewrite

out = made  # the fixture


@pytest.mark.parametrize("name", ["../up", "a/b", "/etc/x", "a\0b", "..", "a.b", "-a", "é"])
def test_no_name_leads_out_of_the_output(values, name):
    with pytest.raises(UserError, match="name: "):
        config.validate({**values, "name": name})


def test_a_stored_job_with_a_foreign_name_is_refused(out):
    stored = json.loads((out / "job.json").read_text())
    stored["job"]["name"] = "../../up"
    (out / "job.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match="not a job this version can read"):
        status(str(out))


def test_keys_that_lead_elsewhere_are_noticed(out):
    rewrite(out, lambda rows, members: ([{**rows[0], "key": "../../up"}, *rows[1:]], members))
    assert "keys are not those of the plan" in "\n".join(verify(str(out)).problems)
    rewrite(out, lambda rows, members: (rows, [("../../up.jpg", members[0][1]), *members[1:]]))
    assert not (out.parent.parent / "up.jpg").exists()
    assert "members are not those" in "\n".join(verify(str(out)).problems)


class Trap:
    def __reduce__(self):
        return (open, ("/dev/null/trap", "w"))  # raises where it is unpickled


def test_a_pickle_in_a_sample_is_not_opened(out):
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    trap = header + pickle.dumps(Trap())
    rewrite(out, lambda rows, members: (rows, replaced(members, "depth.npy", trap)))
    assert "00000000.depth.npy: unreadable" in "\n".join(verify(str(out)).problems)


def huge_png() -> bytes:
    """A few bytes that say they are 60,000 x 60,000 px."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pose.npy", bytes(50_000_000))
    return buffer.getvalue()


def greedy_npy() -> bytes:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.ljust(117) + b"\n"


@pytest.mark.parametrize(
    ("ending", "bomb"), [("jpg", huge_png()), ("smpl.npz", zip_bomb()), ("depth.npy", greedy_npy())]
)
def test_what_would_unpack_to_far_more_is_not_unpacked(out, ending, bomb):
    rewrite(out, lambda rows, members: (rows, replaced(members, ending, bomb)))
    assert f"00000000.{ending}: unreadable" in "\n".join(verify(str(out)).problems)


def test_nested_aliases_are_refused_quickly(job_file):
    """A few lines of YAML that would be 10^9 words if they were written out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    job_file.write_text("\n".join([*lines, job_file.read_text().replace("action:", "action: *a8 #")]))
    with pytest.raises(UserError):
        config.load(job_file)
