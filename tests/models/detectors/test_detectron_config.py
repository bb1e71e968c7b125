"""detectron2's settings are data: nothing in them is run or fetched; a model without masks is refused."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from factory.doctor.checks import checks
from factory.errors import UserError
from factory.job import JobSpec
from factory.models.detectors import detectron_config
from factory.models.detectors.detectron import MaskRCNN
from factory.models.detectors.detectron_config import CONFIG, flattened, require_readable

MASKS = "MODEL: {META_ARCHITECTURE: GeneralizedRCNN, MASK_ON: true}\nINPUT: {MIN_SIZE_TEST: 800}\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_bases_as_in_the_model_zoo(tmp_path):
    """A base in the folder above, and settings laid over each other mapping by mapping."""
    write(tmp_path / "configs" / "Base.yaml", MASKS)
    middle = "_BASE_: ../Base.yaml\nMODEL: {WEIGHTS: a.pkl}\n"
    write(tmp_path / "configs" / "coco" / "middle.yaml", middle)
    path = write(tmp_path / "configs" / "coco" / "last.yaml", "_BASE_: middle.yaml\nINPUT: {MIN_SIZE_TEST: 640}\n")
    assert flattened(path) == {
        "MODEL": {"META_ARCHITECTURE": "GeneralizedRCNN", "MASK_ON": True, "WEIGHTS": "a.pkl"},
        "INPUT": {"MIN_SIZE_TEST": 640},
    }
    require_readable(str(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "MODEL: {META_ARCHITECTURE: RetinaNet}",
            "finds boxes only .*MASK_ON.* take a Mask R-CNN's",
        ),
        ("MODEL: {MASK_ON: false}", "finds boxes only"),
        ("a: !!python/object/apply:pathlib.Path.touch [ran]", "cannot be read .*python/object/apply"),
        ("a: !!python/name:os.system", "cannot be read"),
        ("a: !!python/object/new:os.system [touch ran]", "cannot be read"),
        ("_BASE_: ../../up.yaml", "'../../up.yaml' leaves .*; put it beside the config"),
        ("_BASE_: sub/../../../up.yaml", "leaves"),
        ("_BASE_: link/up.yaml", "leaves"),
        ("_BASE_: /etc/passwd", "is no path relative to it"),
        ("_BASE_: ~/up.yaml", "is no path relative to it"),
        ("_BASE_: https://example.org/up.yaml", "is no path relative to it"),
        ("_BASE_: detectron2://up.yaml", "is no path relative to it"),
        ("_BASE_: [a.yaml]", "is no path relative to it"),
        ("_BASE_: config.yaml", "more than 8 files are each other's _BASE_"),
        ("_BASE_: absent.yaml", "absent.yaml cannot be read"),
        ("- a", "holds no settings, but a list"),
        ("a: {", "cannot be read"),
        ("[" * 5000, "cannot be read"),
        ("a: " + "x" * 2_000_000, "more than the 1,048,576 bytes that are read here"),
    ],
)
def test_a_config_that_is_not_taken_is_one_line_and_runs_nothing(tmp_path, monkeypatch, text, words):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "up.yaml", MASKS)
    path = write(tmp_path / "configs" / "coco" / "config.yaml", text)
    (path.parent / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match=f"^detector.config .*{words}") as error:
        require_readable(str(path))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_a_config_of_python_is_not_run(tmp_path):
    path = write(tmp_path / "mask_rcnn.py", f"open({str(tmp_path / 'ran')!r}, 'w')")
    for name in (str(path), "new_baselines/mask_rcnn_R_50_FPN_50ep_LSJ.py"):
        with pytest.raises(UserError, match=r"is Python code \(a LazyConfig\), which is not run; take a Mask R-CNN's"):
            require_readable(name)
    assert not (tmp_path / "ran").exists()


def test_doctor_tells_it_before_a_run(tmp_path, values):
    path = write(tmp_path / "boxes.yaml", "MODEL: {META_ARCHITECTURE: RetinaNet}")
    values["stages"]["estimate"]["detector"] |= {"kind": "detectron2", "config": str(path)}
    told = [check.says for check in checks(JobSpec(**values)) if check.name == "stages.estimate.detector.config"]
    assert len(told) == 1 and "finds boxes only" in told[0]
    values["stages"]["estimate"]["detector"] |= {"config": CONFIG}
    assert not [check for check in checks(JobSpec(**values)) if "config" in check.name]


class CfgNode(dict):
    """As much of detectron2's as is used: attributes, and a file merged whose keys must be known."""

    def __getattr__(self, name: str) -> Any:
        return self[name]

    __setattr__ = dict.__setitem__

    def merge_from_file(self, path: str, allow_unsafe: bool) -> None:
        assert not allow_unsafe
        for name, value in yaml.safe_load(Path(path).read_text()).items():
            if name not in self:
                raise KeyError(f"Non-existent config key: {name}")
            self[name].update(value)


@pytest.fixture
def detectron2(monkeypatch) -> None:
    """A package of detectron2's layout, with a zoo of two."""

    def get_config(name: str) -> CfgNode:
        if name not in (CONFIG, "COCO-Detection/retinanet_R_50_FPN_1x.yaml"):
            raise RuntimeError(f"{name} not available in Model Zoo!")
        return CfgNode(MODEL=CfgNode(MASK_ON=name == CONFIG), INPUT=CfgNode())

    def module(name: str, **contents: Any) -> None:
        made = types.ModuleType(name)
        vars(made).update(contents)
        monkeypatch.setitem(sys.modules, name, made)

    zoo = types.SimpleNamespace(get_config=get_config)
    module("detectron2", model_zoo=zoo)
    module("detectron2.config", get_cfg=lambda: CfgNode(MODEL=CfgNode(MASK_ON=False), INPUT=CfgNode()))
    module("detectron2.modeling", build_model=lambda config: pytest.fail("built"))


def test_configs_are_judged_before_a_network_is_built(detectron2, tmp_path):
    assert detectron_config.load(CONFIG).MODEL.MASK_ON
    write(tmp_path / "Base.yaml", MASKS)
    path = write(tmp_path / "a" / "own.yaml", "_BASE_: ../Base.yaml\nINPUT: {MIN_SIZE_TEST: 640}\n")
    assert detectron_config.load(str(path)).INPUT["MIN_SIZE_TEST"] == 640
    (tmp_path / "w.pkl").write_bytes(b"\x80\x02}X\x01\0\0\0aK\x01s.")
    for name, words in (
        ("COCO-Detection/retinanet_R_50_FPN_1x.yaml", "finds boxes only"),
        ("COCO/none.yaml", "is no file, nor in detectron2's model zoo; take a Mask"),
        (str(write(tmp_path / "odd.yaml", MASKS + "MODLE: {A: 1}\n")), "does not fit detectron2 .*MODLE"),
        ("x.py", "is Python code"),
    ):
        with pytest.raises(UserError, match=f"detector.config .*{words}"):
            detectron_config.load(name)
    with pytest.raises(UserError, match="no mapping of names to arrays"):
        MaskRCNN(str(tmp_path / "w.pkl"))
