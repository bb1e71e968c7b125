"""The catalogue of model kinds: every model of every job has an entry, and a missing one is told with its source."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory import config
from factory.errors import UserError
from factory.weights import catalogue
from factory.weights.catalogue import ModelKind, needs
from tests.support.command import ROOT

JOBS = sorted((ROOT / "jobs").glob("*.yaml"))
KINDS = {name: kind for name, kind in vars(catalogue).items() if isinstance(kind, ModelKind)}


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.stem)
def test_every_model_of_every_job_has_a_source_and_a_licence(job: Path) -> None:
    for need in needs(config.load_job(job)):
        assert "not known" not in need.licence and (need.embedded or " from " in need.remedy), need.field


def test_the_controlnet_job_names_all_its_parts() -> None:
    spec = config.load_job(ROOT / "jobs" / "controlnet-sdxl.yaml")
    fields = [need.field for need in needs(spec)]
    assert "stages.refine.controlnet" in fields and len(fields) == len(set(fields)) == 7


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_file_or_folder_of_another_form_is_told_with_what_is_wanted(kind: ModelKind, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path, taken in ((file, kind.file), (tmp_path, False)):
        if taken:
            kind.require(path, "M")
            continue
        with pytest.raises(UserError, match=f"^{kind.title} M (is a|lacks) ") as caught:
            kind.require(path, "M")
        assert kind.origin in str(caught.value) or " wanted" in str(caught.value) or not kind.source


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.source], ids=lambda kind: kind.published)
def test_a_model_that_is_not_there_is_told_with_its_source(kind: ModelKind) -> None:
    with pytest.raises(UserError, match="not found: /no/such/model; get ") as caught:
        kind.find("/no/such/model")
    assert str(caught.value).endswith(f"{kind.published} from {kind.source} ({kind.licence})")


def test_of_several_snapshots_the_last_by_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    for name in ("TR00_E100.pt", "TR00_E010.pt", "notes.txt"):
        (tmp_path / "snapshots" / name).touch()
    assert catalogue.VPOSER_V1.checkpoint_in(tmp_path) == tmp_path / "snapshots" / "TR00_E100.pt"
    assert catalogue.VPOSER_V2.checkpoint_in(tmp_path) is None and catalogue.SMPL.checkpoint_in(tmp_path) is None
