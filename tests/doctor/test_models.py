"""What a run asks of its models before it starts: each fault is one line, with the field and the remedy."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from factory.doctor.cut_prompts import cut_prompts
from factory.doctor.models import require_models
from factory.errors import UserError
from factory.job import JobSpec
from factory.plan import plan


@pytest.mark.parametrize("closed", ["the folder", "what holds it"])
def test_a_model_that_this_user_may_not_read_is_told(values: dict, closed: str) -> None:
    outer = Path(tempfile.mkdtemp(prefix="models-"))
    outer.chmod(0o755)
    model = outer / "inner" / "model"
    model.mkdir(parents=True)
    values["stages"]["generate"]["model"] = str(model)
    spec = JobSpec(**values)
    model.chmod(0o000 if closed == "the folder" else 0o755)
    model.parent.chmod(0o000 if closed == "what holds it" else 0o755)
    user = os.geteuid()
    try:
        if user == 0:  # whom no mode keeps out
            os.seteuid(65534)
        with pytest.raises(UserError, match=r"^stages\.generate\.model: .*cannot be read .*let this user read it"):
            require_models(spec)
        assert list(cut_prompts(plan(spec))) == []
    finally:
        os.seteuid(user)
        model.parent.chmod(0o755)
        model.chmod(0o755)
        shutil.rmtree(outer)


def test_a_folder_in_place_of_the_body_is_told_whatever_lies_in_it(values: dict, tmp_path: Path) -> None:
    (tmp_path / "pointer.bin").write_text("version https://git-lfs.github.com/spec/v1\n")
    values["body"]["model"] = str(tmp_path)
    with pytest.raises(UserError, match=r"is a folder; give the file in it: SMPL_NEUTRAL\.pkl"):
        require_models(JobSpec(**values))


def test_the_home_of_an_unknown_user_holds_nothing(values: dict) -> None:
    values["body"]["model"] = "~nobody-is-called-so/SMPL_NEUTRAL.pkl"
    with pytest.raises(UserError, match="no such file or folder: ~nobody-is-called-so"):
        require_models(JobSpec(**values))
    values["poses"] = {"path": "~nobody-is-called-so/poses.npz"}
    del values["stages"]["estimate"]["hmr"], values["stages"]["estimate"]["easy"]
    with pytest.raises(UserError, match="no such file: ~nobody-is-called-so"):
        plan(JobSpec(**values)).listing  # noqa: B018
