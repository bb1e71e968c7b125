"""Job files, prompts, images and data sets are strangers' work. More of it: YAML tags in test_config.py, pickles in
tests/models and tests/export, HTML in prompts in tests/present/test_report.py, images in tests/sources."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib

import pytest

from factory import config
from factory.errors import UserError
from factory.job import PosesSpec
from factory.sources import keypoints, poses
from factory.store import tar
from factory.store.status import status
from factory.store.verify import verify
from tests.support.forge import replaced, rewrite


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
        config.load_job(job_file)


def test_a_strangers_job_lists_no_folder_and_opens_no_file(out):
    """Its images would be looked for where job.json says, its prompts in a file that it names."""
    stored = json.loads((out / "job.json").read_text())
    described = [{"records": 0, "images": {"kind": "folder", "path": "/"}}, {"prompts": {"set": "/dev/zero"}}]
    for change, words in zip(described, ["records is 0", "prompts.action is missing"], strict=True):
        (out / "job.json").write_text(json.dumps({**stored, "job": {**stored["job"], **change}}))
        with pytest.raises(UserError, match=words):
            status(str(out))


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b"[" + b"[]," * 3_000_000 + b"[]]", b'{"job": NaN}', b'{"job": ' + b"9" * 5000 + b"}", b"\xff"],
    ids=range(5),
)
def test_a_job_json_that_is_none_is_one_line(out, content):
    (out / "job.json").write_bytes(content)
    with pytest.raises(UserError, match="not a job this version can read") as caught:
        status(str(out))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def sparse() -> bytes:
    """A member of a few bytes that tarfile reads as eight gigabytes."""
    info = tarfile.TarInfo("small-00000000.jpg")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:398], header[398:410] = b"00000000000\0", b"00000001000\0"
    header[483:495] = b"77777777777\0"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    return bytes(header) + bytes(512)


def test_a_sparse_member_is_not_made_whole():
    with pytest.raises(tarfile.ReadError, match="no plain file"):
        list(tar.tar_members(sparse() + tar.tar_trailer(1024)))


@pytest.mark.parametrize("name", ["poses", "keypoints"])
@pytest.mark.parametrize("member", [greedy_npy(), b"", bytes(10_000_000)], ids=["greedy", "empty", "zeros"])
def test_labels_that_would_unpack_to_far_more_are_one_line(tmp_path, name, member):
    with zipfile.ZipFile(tmp_path / "labels.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for column in ("pose", "betas", "camera", "imgname", "part"):
            archive.writestr(f"{column}.npy", member)
    with pytest.raises(UserError, match="no plain .npz") as caught:
        if name == "poses":
            poses.load_poses(PosesSpec(path=str(tmp_path / "labels.npz")))
        else:
            keypoints.load_keypoints(str(tmp_path / "labels.npz"))
    assert "\n" not in str(caught.value)


def test_deeply_nested_fits_are_one_line(tmp_path):
    for content in ('{"data": ' + "[" * 100_000, '{"data": [{"parm_pose": ' + "[" * 100_000):
        (tmp_path / "fits.json").write_text(content)
        with pytest.raises(UserError, match="nested too deeply"):
            poses.load_poses(PosesSpec(path=str(tmp_path / "fits.json")))


@pytest.mark.parametrize(
    ("ending", "bomb"), [("jpg", huge_png()), ("smpl.npz", zip_bomb()), ("depth.npy", greedy_npy())]
)
def test_a_bomb_in_a_sample_is_one_line_in_inspect_export_and_load(out, ending, bomb):
    import factory
    from factory.export.run import export
    from factory.present.report import write_report
    from factory.store.dataset import open_data

    rewrite(out, lambda rows, members: (rows, replaced(members, ending, bomb)))
    readers = {
        "inspect": lambda: write_report(open_data(out)),
        "export": lambda: export(str(out), str(out.parent / "to"), "spin"),
        "load": lambda: list(factory.load(out, crop=32, train=False)),
    }
    for name, read in readers.items():
        if name == "load" and ending == "depth.npy":  # it does not read the depth
            continue
        with pytest.raises(UserError, match="damaged"):
            read()
