"""What a stranger does to a data set. Each change takes the folder that holds `out`, and a source of chances."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from factory.errors import UserError
from factory.store import tar
from factory.store.index import NO_HASH, OWN_HASH, SCHEMA, index_bytes, index_table, tar_digest
from tests.support.parquet_forge import attacks

NAMES = (
    "../../canary/victim",
    "/tmp/canary",
    "..",
    "",
    "a/b",
    "small-00000000",
    "\x1b[2J",
    "é" * 40,
    "a\nb",
    "x" * 500,
)
NUMBERS = (-1, 0, 1, 7, 10**5, 2**31 - 1, 2**40, 2**62)
FLOATS = (float("nan"), float("inf"), -1e308, 0.0, 1e308)


def _files(root: Path) -> list[Path]:
    """Those that can be read: not the endless ones."""
    found = (path for path in (root / "out").rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in found if path.stat().st_size < 1 << 30)


def _picked(root: Path, chance: random.Random) -> Path:
    return chance.choice(_files(root) or [root / "out" / "job.json"])


def flip(root: Path, chance: random.Random) -> None:
    path = _picked(root, chance)
    data = bytearray(path.read_bytes() or b"\0")
    for _ in range(chance.choice((1, 1, 20))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def cut(root: Path, chance: random.Random) -> None:
    path = _picked(root, chance)
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data) + 1)])


def noise(root: Path, chance: random.Random) -> None:
    _picked(root, chance).write_bytes(chance.randbytes(chance.choice((0, 10, 5000))))


def gone(root: Path, chance: random.Random) -> None:
    _picked(root, chance).unlink()


def swapped(root: Path, chance: random.Random) -> None:
    one, other = _picked(root, chance), _picked(root, chance)
    data = one.read_bytes(), other.read_bytes()
    one.write_bytes(data[1])
    other.write_bytes(data[0])


def copied(root: Path, chance: random.Random) -> None:
    """A file of the data set under another's name."""
    names = ["small-000002.parquet", "small-000007.parquet", "parts/000000/000001.parquet", "parts/000002/000001.tar",
             "parts/000002/000001.parquet", "small-٣٣٣٣٣٣.parquet", "notes.txt", "README.md", "wids.json",
             "report.html", ".lock", "a\nb", os.fsdecode(b"\xff\xfe.jpg")]  # fmt: skip
    to = root / "out" / chance.choice(names)
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_picked(root, chance), to)


def linked(root: Path, chance: random.Random) -> None:
    """A link to the canary, or to nowhere, in the place of a file or a folder."""
    victim = chance.choice([root / "canary" / "victim", root / "canary", root / "nowhere"])
    names = [".lock", "report.html", "contact.png", ".report.html.tmp", "parts", "parts/000002", "README.md"]
    path = chance.choice([*_files(root), *(root / "out" / name for name in names)])
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(victim)


def replaced_by_a_folder(root: Path, chance: random.Random) -> None:
    path = chance.choice([*_files(root), root / "out" / ".lock"])
    path.unlink(missing_ok=True)
    path.mkdir()


def endless(root: Path, chance: random.Random) -> None:
    """A file with a hole: more than fits into memory, or than may be asked for."""
    with open(_picked(root, chance), "r+b") as file:
        file.truncate(chance.choice((1 << 33, 1 << 40)))


def described(root: Path, chance: random.Random) -> None:
    """Another job.json."""
    path = root / "out" / "job.json"
    try:
        told = json.loads(path.read_bytes())
        values = told["job"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    kind = chance.randrange(8)
    if kind == 0:
        values[chance.choice(list(values))] = chance.choice([*NUMBERS, *NAMES, None, [], {}, [[]] * 9, True])
    elif kind == 1:
        values |= {"records": chance.choice([0, 10**8, 13]), "images": {"kind": "folder", "path": "/"}}
    elif kind == 2:
        values["prompts"] = {"set": chance.choice(["/dev/zero", "../canary/victim", "mpii"]), "template": "{action}"}
    elif kind == 3:
        values |= {
            "unit_size": chance.choice((1, 4)),
            "samples_per_shard": chance.choice((1, 4, 10**6)),
            "records": chance.choice((12, 10**8)),
        }
    elif kind == 4:
        values["body"] = {
            "model": chance.choice(["starter:none", "/dev/null", "../canary/victim", "starter:hmr"]),
            "name": chance.choice(NAMES),
        }
    elif kind == 5:
        values["image_size"] = chance.choice((64, 128, 4096))
    elif kind == 6:
        values["prompts"] = {
            **values["prompts"],
            "template": chance.choice(["{", "{0}", "a" * 10**5, "\ud800"]),
            "action": ["<script>", "\x1b[2J"],
        }
    else:
        path.write_text(
            chance.choice(
                ["[" * 10**5, "{}", "[" + "[]," * 10**6 + "[]]", '{"job": NaN}', '{"job": ' + "9" * 5000 + "}"]
            )
        )
        return
    path.write_text(json.dumps(told))


def _shards(root: Path, chance: random.Random) -> Path:
    """A tar with its index beside it, without their endings."""
    files = _files(root)
    found = [path.with_suffix("") for path in files if path.suffix == ".parquet" and path.with_suffix(".tar") in files]
    return chance.choice(found or [root / "out" / "small-000000"])


def _forged(
    root: Path, chance: random.Random, change: Callable[[list[dict], list[tuple[str, bytes]]], bytes | None]
) -> None:
    """Rows and members of a shard changed, and all hashes made to fit again. `change` may return the tar itself."""
    stem = _shards(root, chance)
    try:
        table, head = index_table(stem.with_suffix(".parquet").read_bytes())
        rows, members = table.to_pylist(), list(tar.tar_members(stem.with_suffix(".tar").read_bytes()))
    except (OSError, UserError, tarfile.TarError):
        return
    data = change(rows, members)
    if data is None:
        data = b"".join(_member(name, content) for name, content in members)
        data += tar.tar_trailer(len(data))
    whole = {
        **tar_digest(data),
        **({"units": json.dumps([[len(data), tar_digest(data)["sha256"]]])} if head.units else {}),
    }
    stem.with_suffix(".tar").write_bytes(data)
    try:
        stem.with_suffix(".parquet").write_bytes(index_bytes(pa.Table.from_pylist(rows, SCHEMA), whole))
    except (pa.ArrowException, OverflowError, TypeError):
        return


def _member(name: str, content: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + content + bytes(-len(content) % 512)


def told_otherwise(root: Path, chance: random.Random) -> None:
    """Values of the index."""

    def change(rows: list[dict], members: list[tuple[str, bytes]]) -> None:
        for row in chance.sample(rows, chance.choice((1, len(rows)))):
            column = chance.choice(list(row))
            kind = SCHEMA.field(column).type
            some = NAMES if pa.types.is_string(kind) else FLOATS if pa.types.is_floating(kind) else NUMBERS
            row[column] = chance.choice([*some, None])
            if pa.types.is_boolean(kind):
                row[column] = None

    _forged(root, chance, change)


def repeated(root: Path, chance: random.Random) -> None:
    """A row or a member many times."""

    def change(rows: list[dict], members: list[tuple[str, bytes]]) -> None:
        if chance.random() < 0.5:
            rows *= chance.choice((2, 30_000))
        else:
            members *= 2

    _forged(root, chance, change)


def renamed(root: Path, chance: random.Random) -> None:
    """A sample's key leads elsewhere, in index, tar and json alike."""
    name = chance.choice(
        ["../../canary/victim", str(root / "canary" / "victim"), "small-00000099", "..", "a/../b", "é"]
    )

    def change(rows: list[dict], members: list[tuple[str, bytes]]) -> None:
        old = chance.choice(rows)["key"]
        for row in rows:
            row["key"] = name if row["key"] == old else row["key"]
        for at, (member, content) in enumerate(members):
            key, _, ending = member.partition(".")
            if key == old:
                content = content.replace(old.encode(), name.encode()) if ending == "json" else content
                members[at] = f"{name}.{ending}", content

    _forged(root, chance, change)


def bombed(root: Path, chance: random.Random) -> None:
    """A file of a sample unpacks to far more than it is, or to something else."""

    def change(rows: list[dict], members: list[tuple[str, bytes]]) -> None:
        at = chance.randrange(len(members)) if members else 0
        if members:
            name, content = members[at]
            ending = name.rpartition(".")[2]
            members[at] = name, chance.choice(BOMBS.get(ending, BOMBS["json"]))(content, chance)

    _forged(root, chance, change)


ODD_TYPES = (
    tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
    tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE,
)  # fmt: skip


def odd_tar(root: Path, chance: random.Random) -> None:
    """Members that are no plain files."""

    def change(rows: list[dict], members: list[tuple[str, bytes]]) -> bytes:
        out = b""
        for i, (name, content) in enumerate(members):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if i == 0:
                info.type = chance.choice(ODD_TYPES)
                info.linkname = str(root / "canary" / "victim")[:100]
                info.size = chance.choice((len(content), 1 << 33))
            out += info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)
        return out + tar.tar_trailer(len(out))

    _forged(root, chance, change)


def odd_head(root: Path, chance: random.Random) -> None:
    """The texts that an index carries."""
    stem = _shards(root, chance)
    try:
        table, head = index_table(stem.with_suffix(".parquet").read_bytes())
    except (OSError, UserError):
        return
    key = chance.choice(["sha256", "bytes", "units"])
    written = {"sha256": head.sha256, "bytes": str(head.bytes), "units": json.dumps(head.units)}
    written[key] = chance.choice(
        ["", "-1", "9" * 5000, "[" * 10**5, "null", "{}", '[["a", 1]]', '[[1099511627776, "x"]]', "NaN"]
    )
    stem.with_suffix(".parquet").write_bytes(index_bytes(table, written))


def lying_pages(root: Path, chance: random.Random) -> None:
    """An index whose pages unpack to far more than its footer says, or whose footer lies about its rows."""
    path = _shards(root, chance).with_suffix(".parquet")
    try:
        head = pq.ParquetFile(path).metadata.metadata or {}
    except (OSError, pa.ArrowException):
        return
    kept = {key.decode(): value.decode("utf-8", "replace") for key, value in head.items()}
    data = chance.choice(list(attacks({**kept, OWN_HASH: NO_HASH.decode()}).values()))
    own = hashlib.sha256(data).hexdigest().encode()
    path.write_bytes(own.join(data.rsplit(NO_HASH, 1)))


def _png(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def _large_jpeg(content: bytes, chance: random.Random) -> bytes:
    """The header says 65,000 x 65,000 px."""
    at = content.find(b"\xff\xc0")
    return content[: at + 5] + struct.pack(">HH", 65_000, 65_000) + content[at + 9 :] if at > 0 else b""


def _npy(shape: str, kind: str = "<f4", data: bytes = b"") -> bytes:
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.ljust(117) + b"\n" + data


def _npz(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def _odd_people(content: bytes, chance: random.Random) -> bytes:
    with np.load(io.BytesIO(content)) as stored:
        arrays = dict(stored)
    name = chance.choice(list(arrays))
    arrays[name] = chance.choice([
        arrays[name] * np.nan, arrays[name] + np.float32(1e38), arrays[name].astype("f8"), arrays[name][..., None],
        np.repeat(arrays[name], 500, 0), arrays[name][:0], arrays[name].astype(str), arrays[name] * 0,
    ])  # fmt: skip
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _odd_json(content: bytes, chance: random.Random) -> bytes:
    told = json.loads(content)
    told[chance.choice(list(told))] = chance.choice([*NAMES, *NUMBERS, None, [], {}, float("nan")])
    return json.dumps(told).encode()


def _noise(content: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((0, 100)))


Bomb = Callable[[bytes, random.Random], bytes]
GREEDY = "(1000000000000,)"
BOMBS: dict[str, list[Bomb]] = {
    "jpg": [lambda c, r: _png(60_000), _large_jpeg, _noise],
    "png": [lambda c, r: _png(60_000), lambda c, r: _png(64), _noise],
    "npy": [
        lambda c, r: _npy(GREEDY), lambda c, r: _npy("(64, 64)", "|O", b"cos\nsystem\n"),
        lambda c, r: _npy("(64, 64)", data=b"\x00\x00\x80\x7f" * 64 * 64), lambda c, r: _npy("(-1, 64)"), _noise,
    ],
    "npz": [
        lambda c, r: _npz(("pose", _npy("(100000000, 72)", data=bytes(200_000_000)))),
        lambda c, r: _npz(("pose", _npy(GREEDY))), lambda c, r: _npz(("pose", _npy("(1,)", "<U100000000"))),
        lambda c, r: _npz(*((f"a{i}", b"") for i in range(3000))), _odd_people, _odd_people, _noise,
    ],
    "json": [
        lambda c, r: b"[" * 100_000, lambda c, r: b"[" + b"[]," * 500_000 + b"[]]", lambda c, r: b'{"key": "\\ud800"}',
        lambda c, r: b"{}", _odd_json, _odd_json, _noise,
    ],
}  # fmt: skip

CHANGES: dict[str, Callable[[Path, random.Random], None]] = {
    change.__name__: change
    for change in (
        flip, cut, noise, gone, swapped, copied, linked, replaced_by_a_folder, endless, described, told_otherwise,
        repeated, renamed, bombed, odd_tar, odd_head, lying_pages,
    )
}  # fmt: skip
