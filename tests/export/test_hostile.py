"""Data sets that are damaged or made to harm: one line that names the sample, and nothing outside is touched."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factory.errors import UserError
from factory.export.formats import FORMATS
from factory.export.run import export
from factory.export.validate import validate
from factory.store.dataset import open_data
from factory.store.index import index_table
from tests.support.files import export_tree
from tests.support.forge import Change, arrays, forge, told

pytestmark = pytest.mark.heavy(1)


@pytest.fixture
def copied(dataset: Path, tmp_path: Path) -> Path:
    """One shard of the data set, to be spoilt."""
    out = tmp_path / "data" / "out"
    out.mkdir(parents=True)
    for name in ("job.json", "hard_poses-000000.tar", "hard_poses-000000.parquet"):
        shutil.copy(dataset / name, out)
    return out


def renamed(old: str, new: str) -> Change:
    def change(files: dict[str, bytes], row: dict) -> None:
        files[f"{row['key']}.{new}"] = files.pop(f"{row['key']}.{old}")

    return change


def elsewhere(files: dict[str, bytes], row: dict) -> None:
    """The files of another sample."""
    for name in list(files):
        files[f"../../../{name}"] = files.pop(name)


def bomb(files: dict[str, bytes], row: dict) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, pose=np.zeros(10_000_000, np.float32))
    files[f"{row['key']}.smpl.npz"] = buffer.getvalue()


def cut(files: dict[str, bytes], row: dict) -> None:
    name = f"{row['key']}.jpg"
    files[name] = files[name][: len(files[name]) // 2]


def index_key(files: dict[str, bytes], row: dict) -> None:
    row["key"] = "../../evil-" + row["key"][-8:]


def outside(files: dict[str, bytes], row: dict) -> None:
    files[f"{row['key']}.depth.npy"] = b"\x93NUMPY"


CASES: list[tuple[Change, str]] = [
    (told(key="other-00000001"), "its json says that it is 'other-00000001'"),
    (told(key="/{tmp}/evil"), "key: String should match pattern"),
    (told(key="../../../evil"), "key: String should match pattern"),
    (told(key=["x"]), "key: Input should be a valid string"),
    (told(width=10**9), "its json says 1000000000 x 64 px"),
    (told(people=10**9), "1 people, not the 1000000000"),
    (elsewhere, "is no file of this sample"),
    (renamed("jpg", "jpeg"), "has no jpg"),
    (renamed("json", "js"), "has no json"),
    (bomb, "pose: 40,000,000 bytes, more than are read"),
    (cut, "its jpg is cut off"),
    (outside, "damaged"),
    (index_key, "its keys are not those that the plan has"),
    (arrays(lambda a: {**a, "pose": a["pose"] * np.nan}), "pose: not finite"),
    (arrays(lambda a: {**a, "pose": a["pose"].astype(complex)}), "pose: complex128 is not numbers"),
    (arrays(lambda a: {**a, "bbox": a["bbox"][:, :3]}), "bbox: float32 .1, 3., not float32"),
    (arrays(lambda a: {name: a[name] for name in a if name != "K"}), "lacks K"),
]


@pytest.mark.parametrize("name", ["spin", "hmr2"])
@pytest.mark.parametrize(("change", "words"), CASES, ids=[words[:24] for _, words in CASES])
def test_a_strangers_data_set_writes_nowhere_else(copied: Path, tmp_path: Path, name: str, change, words: str) -> None:
    forge(copied, change)
    before = export_tree(tmp_path)
    with pytest.raises(UserError, match=words) as error:
        export(str(copied), str(tmp_path / "to" / "here"), name)
    line = str(error.value)
    assert "\n" not in line and "hard_poses-000000" in line and "factory verify tells" in line
    after = {path: data for path, data in export_tree(tmp_path).items() if not path.startswith("to/here/")}
    assert after == before  # the export's own folder may have been begun; its parent and the data set are as they were


def test_a_sample_of_another_name_is_not_read(copied: Path) -> None:
    forge(copied, elsewhere)
    row = next(row for row in index_table((copied / "hard_poses-000000.parquet").read_bytes())[0].to_pylist() if row["size"])  # noqa: E501  # fmt: skip
    with pytest.raises(KeyError, match=row["key"]):
        open_data(str(copied)).sample_files(row)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: data[:-9] + b"?" + data[-8:]])
def test_a_damaged_index_is_named(copied: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    index = copied / "hard_poses-000000.parquet"
    index.write_bytes(damage(index.read_bytes()))
    with pytest.raises(UserError, match="hard_poses-000000.parquet: damaged .*factory verify"):
        export(str(copied), str(tmp_path / "to"), "hmr2")
    assert not (tmp_path / "to").exists()


def test_a_shard_that_was_cut_is_told_before_anything_is_written(copied: Path, tmp_path: Path) -> None:
    shard = copied / "hard_poses-000000.tar"
    shard.write_bytes(shard.read_bytes()[:-10240])
    with pytest.raises(UserError, match="it tells of .* bytes, hard_poses-000000.tar has"):
        export(str(copied), str(tmp_path / "to"), "hmr2")
    assert not (tmp_path / "to").exists()


def nobody(files: dict[str, bytes], row: dict) -> None:
    arrays(lambda stored: {name: array[:0] for name, array in stored.items()})(files, row)
    told(people=0)(files, row)
    row["people"] = 0


def point(files: dict[str, bytes], row: dict) -> None:
    """Everybody's box is empty."""
    arrays(lambda stored: {**stored, "bbox": stored["bbox"] * 0 + 7})(files, row)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("change", "there"), [(nobody, False), (point, True)])
def test_images_without_people_are_no_export(copied: Path, tmp_path: Path, name: str, change, there: bool) -> None:
    forge(copied, change)
    with pytest.raises(UserError, match="shows a person; export others"):
        export(str(copied), str(tmp_path / "to"), name)
    assert (tmp_path / "to").exists() == there and not (tmp_path / "to" / "README.md").exists()


def first_is_a_point(files: dict[str, bytes], row: dict) -> None:
    """Of two people the first one's box is empty."""

    def change(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if len(stored["bbox"]) == 2:
            stored["bbox"][0] = 7
        return stored

    arrays(change)(files, row)
    depth = io.BytesIO()
    np.save(depth, np.ones((64, 64), np.float32))
    files[f"{row['key']}.depth.npy"] = depth.getvalue()


def test_whoever_is_left_keeps_the_own_mask(copied: Path, tmp_path: Path) -> None:
    from tests.support.exports import people

    forge(copied, first_is_a_point)
    export(str(copied), str(tmp_path / "to"), "hmr2", where="people = 2")
    assert {int(entry["extra_info"]["detection_npz_idx"]) for _, entry in people(tmp_path / "to")} == {1}
    assert not list(validate(str(tmp_path / "to"), "hmr2"))
