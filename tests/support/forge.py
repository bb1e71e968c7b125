"""A data set like any other whose samples say something else: what a stranger may hand us, or a disk may make of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from factory.store import tar
from factory.store.index import FINGERPRINT, SCHEMA, index_bytes, index_table, tar_digest

Change = Callable[[dict[str, bytes], dict], None]


def forge(out: Path, change: Change) -> None:
    """Change every sample (member's name -> bytes) and its index row, and seal the shards again: all hashes fit."""
    for path in sorted(out.glob("*.parquet")):
        if not path.with_suffix(".tar").exists():  # every record of it was rejected
            continue
        table, head = index_table(path.read_bytes())
        whole, data, rows = path.with_suffix(".tar").read_bytes(), b"", []
        for row in table.to_pylist():
            if row["size"]:
                files = dict(tar.tar_members(whole[row["offset"] : row["offset"] + row["size"]]))
                change(files, row)
                segment = tar.tar_segment(files.items())
                row |= {"offset": len(data), "size": len(segment)}
                data += segment
            rows.append(row)
        data += tar.tar_trailer(len(data))
        path.with_suffix(".tar").write_bytes(data)
        path.write_bytes(
            index_bytes(pa.Table.from_pylist(rows, SCHEMA), {**tar_digest(data), FINGERPRINT: head.fingerprint})
        )


def told(**fields: object) -> Change:
    """Other fields in each sample's json."""

    def change(files: dict[str, bytes], row: dict) -> None:
        name = f"{row['key']}.json"
        files[name] = json.dumps({**json.loads(files[name]), **fields}).encode()

    return change


def arrays(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Change:
    """Other arrays in each sample's smpl.npz."""

    def changed(files: dict[str, bytes], row: dict) -> None:
        name, buffer = f"{row['key']}.smpl.npz", io.BytesIO()
        np.savez(buffer, allow_pickle=False, **change(dict(np.load(io.BytesIO(files[name])))))
        files[name] = buffer.getvalue()

    return changed


def rewrite(out: Path, change) -> None:
    """Forge shard 0: its rows and members go through `change`, and its hash is made to fit again."""
    from factory.store.index import tar_digest

    name = out / "small-000000"
    table = index_table(name.with_suffix(".parquet").read_bytes())[0]
    rows, members = change(table.to_pylist(), list(tar.tar_members(name.with_suffix(".tar").read_bytes())))
    data = tar.tar_segment(members)
    data += tar.tar_trailer(len(data))
    name.with_suffix(".tar").write_bytes(data)
    name.with_suffix(".parquet").write_bytes(index_bytes(table.from_pylist(rows, table.schema), tar_digest(data)))


def replaced(members, ending, data):
    return [(name, data if name.endswith("00000000." + ending) else content) for name, content in members]
