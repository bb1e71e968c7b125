"""Sources of images as a command's option names them."""

from __future__ import annotations

import pytest

from factory.errors import UserError
from factory.sources.images import named_source


@pytest.mark.parametrize(
    ("text", "kind", "path", "split"),
    [
        ("photos", "folder", "photos", "train"),
        ("photos/all.txt", "list", "photos/all.txt", "train"),
        ("shards/a.TAR", "webdataset", "shards/a.TAR", "train"),
        ("smart:data/SMART", "smart", "data/SMART", "train"),
        ("smart:data/SMART@test", "smart", "data/SMART", "test"),
        ("skipose:data/a@home/ski", "skipose", "data/a@home/ski", "train"),
        ("folder:photos@test", "folder", "photos@test", "train"),
        ("elsewhere:photos", "folder", "elsewhere:photos", "train"),
    ],
)
def test_kind_and_split_come_before_and_after_the_path_or_from_its_ending(text, kind, path, split):
    spec = named_source(text, "--images")
    assert (spec.kind, spec.path, spec.split) == (kind, path, split)


def test_no_path_and_an_unknown_split_are_refused():
    with pytest.raises(UserError, match="--images smart:: no path"):
        named_source("smart:", "--images")
    with pytest.raises(UserError, match="split val: there are train and test"):
        named_source("smart:data@val", "--images")
