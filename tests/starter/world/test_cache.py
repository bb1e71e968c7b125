"""Scenes on disk: continued where a build stopped, and refused where they are of another world."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from factory.errors import UserError
from factory.starter.world import cache
from factory.starter.world.identity import PACKAGE, world_hash
from factory.weights.locate import resolve


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the modules that scenes follow from, to be changed."""
    for room in ("starter/world", "geometry"):
        shutil.copytree(PACKAGE / room, tmp_path / "factory" / room, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "factory"


def change(file: Path, pattern: str, replacement: str) -> None:
    text = file.read_text()
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    file.write_text(changed)


def test_a_cache_continues_where_it_stopped(tmp_path):
    cache.build(tmp_path / "whole", 5, 4)
    cache.build(tmp_path / "parts", 5, 4)
    lines = (tmp_path / "parts" / "prompts.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "parts" / "prompts.jsonl").write_text("".join(lines[:2]))
    cache.build(tmp_path / "parts", 5, 4)
    whole, parts = cache.load_cache(tmp_path / "whole"), cache.load_cache(tmp_path / "parts")
    assert whole.prompts == parts.prompts
    assert (whole.images == parts.images).all() and (whole.depth == parts.depth).all()


def test_scenes_of_another_world_are_refused(tmp_path, monkeypatch):
    cache.build(tmp_path, 5, 1)
    monkeypatch.setattr(cache, "world_hash", lambda: "another")
    with pytest.raises(UserError, match='not.*"world": "another"'):
        cache.build(tmp_path, 5, 1)


def test_other_words_leave_the_world_as_it_is(copy):
    """Comments, docstrings, the layout of the code, and modules that no scene follows from."""
    assert world_hash(copy) == world_hash()
    change(copy / "starter/world/scene.py", '"""Draws scenes.', '"""Other words.')
    change(copy / "starter/world/scene.py", '^"""', '"""One more word: ')
    change(copy / "starter/world/props.py", "\nBRIGHT", "\n# A comment.\n\n\nBRIGHT")
    change(copy / "geometry/rasteriser.py", "# pixel candidates", "# some other words; pixel candidates")
    change(copy / "geometry/agreement.py", "BOX_TO_AREA = 0.53", "BOX_TO_AREA = 0.54")
    change(copy / "starter/world/sheet.py", "SIDE, GAP", "SIDE_, GAP")
    assert world_hash(copy) == world_hash()


@pytest.mark.parametrize(
    ("module", "pattern", "replacement"),
    [
        ("starter/world/look.py", "supersampling: int = 2", "supersampling: int = 3"),
        ("starter/world/actions.py", '"hip_l": 28', '"hip_l": 29'),
        ("starter/world/backgrounds.py", "WALL_DISTANCE = \\(2.5", "WALL_DISTANCE = (2.6"),
        ("starter/world/scene.py", '"a photo of"', '"a picture of"'),
        ("geometry/rasteriser.py", "NEAR = 0.05", "NEAR = 0.06"),
        ("geometry/rotations.py", "def axis_angle_to_matrix", "def axis_angle_to_matrix_"),
    ],
)
def test_another_number_makes_another_world(copy, module, pattern, replacement):
    change(copy / module, pattern, replacement)
    assert world_hash(copy) != world_hash()


def test_another_body_makes_another_world(tmp_path):
    body = tmp_path / "body.npz"
    shutil.copyfile(resolve("starter:body"), body)
    assert world_hash(body=body) == world_hash()
    with np.load(body) as stored:
        arrays = dict(stored)
    arrays["v_template"][0, 0] += 0.001
    np.savez_compressed(body, **arrays)
    assert world_hash(body=body) != world_hash()


def test_the_hash_does_not_depend_on_where_the_code_lies(copy, monkeypatch):
    monkeypatch.chdir(os.sep)
    assert world_hash(copy) == world_hash()
