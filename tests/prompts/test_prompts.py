"""Prompt sets: shipped, the user's, and MPII's own file."""

import random

import numpy as np
import pytest
import yaml
from scipy.io import savemat

from factory.errors import UserError
from factory.job import JobSpec, PromptsSpec
from factory.prompts import SHIPPED
from factory.untrusted import mat


def test_shipped_sets_are_the_papers():
    mpii, smart, finetune = (PromptsSpec(set=name) for name in ("mpii", "smart", "finetune"))
    assert (len(mpii.description), len(mpii.person), len(mpii.action)) == (9, 14, 18)
    assert smart.template.format(description=smart.description[0], person=smart.person[0], action=smart.action[0]) == (
        "a photo of an athlete doing high jump"
    )
    assert len(smart.action) == 6 and len(finetune.template) == 8
    assert set(SHIPPED) == {"mpii", "smart", "finetune"}


def test_what_the_job_says_itself_goes_first(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"template": ["{person} {action}"], "person": {"a man": 2, "a woman": 1}}))
    prompts = PromptsSpec(set=str(path), action=["diving"])
    assert prompts.template == ["{person} {action}"] and prompts.person == {"a man": 2, "a woman": 1}
    assert prompts.action == ["diving"] and prompts.description == ["a photo of"]


def test_a_stored_job_needs_no_set(tmp_path, values):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"action": ["diving"]}))
    job = JobSpec.model_validate({**values, "prompts": {"set": str(path)}})
    path.unlink()
    assert JobSpec.model_validate(job.model_dump(mode="json")) == job


def test_sets_that_do_not_fit(tmp_path):
    with pytest.raises(UserError, match="neither a file nor one of finetune, mpii, smart"):
        PromptsSpec(set="mpi")
    for content, words in (
        ("[1, 2]", "must be a mapping"),
        ("negative: x", "must be a mapping"),
        ("{", "not valid YAML"),
    ):
        (tmp_path / "bad.yaml").write_text(content)
        with pytest.raises(UserError, match=words):
            PromptsSpec(set=str(tmp_path / "bad.yaml"))


def release(path, categories, **options):
    """mpii_human_pose_v1_u12_1.mat's layout: RELEASE.act, one struct per image, [] where it has no activity."""
    act = np.zeros((len(categories), 1), [("act_name", object), ("cat_name", object), ("act_id", object)])
    for i, name in enumerate(categories):
        act[i, 0] = ("somehow", name, i) if name else (np.zeros((0, 0)), np.zeros((0, 0)), -1)
    annolist = np.zeros((1, len(categories)), [("image", object)])
    savemat(
        path, {"RELEASE": {"annolist": annolist, "img_train": np.ones((1, len(categories))), "act": act}}, **options
    )


def test_categories_of_mpii(tmp_path):
    path = tmp_path / "mpii.mat"
    release(path, ["sports", "", "dancing", "sports", "inactivity quiet/light", "miscellaneous", "walking"])
    prompts = PromptsSpec(set="mpii", categories=str(path))
    assert prompts.action == ["dancing", "sports", "walking"] and len(prompts.person) == 14
    assert PromptsSpec(set="mpii", categories=str(path), action=["yoga"]).action == ["yoga"]


def test_not_mpiis_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        PromptsSpec(categories=str(tmp_path / "gone.mat"))
    (tmp_path / "a.mat").write_bytes(b"x" * 600)
    with pytest.raises(UserError, match="not MPII's"):
        PromptsSpec(categories=str(tmp_path / "a.mat"))
    savemat(tmp_path / "b.mat", {"other": 1})
    with pytest.raises(UserError, match="not MPII's"):
        PromptsSpec(categories=str(tmp_path / "b.mat"))


def test_a_packed_mat_reads_the_same(tmp_path):
    for packed in (False, True):
        release(tmp_path / "a.mat", ["jumping jäck", "", "dancing"] * 40, do_compression=packed)
        assert PromptsSpec(categories=str(tmp_path / "a.mat")).action == ["dancing", "jumping jäck"]


def test_a_mat_that_unpacks_to_far_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mat, "MEMORY", 1 << 29)
    savemat(tmp_path / "a.mat", {"RELEASE": {"act": np.zeros(1 << 29, np.uint8)}}, do_compression=True)
    with pytest.raises(UserError, match="not MPII's annotation file"):
        PromptsSpec(categories=str(tmp_path / "a.mat"))


def test_every_damaged_mat_is_one_line(tmp_path):
    release(tmp_path / "a.mat", ["sports", "dancing"])
    data, chance = (tmp_path / "a.mat").read_bytes(), random.Random(0)
    for _ in range(5):
        broken = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            broken[chance.randrange(120, len(broken))] = chance.choice((0, 255, chance.randrange(256)))
        (tmp_path / "b.mat").write_bytes(broken[: chance.choice((len(broken), chance.randrange(len(broken))))])
        try:
            PromptsSpec(categories=str(tmp_path / "b.mat"))
        except UserError as error:
            assert str(error).startswith("prompts.categories: ") and "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: &a [x]\nb: &b [*a, *a]\ntemplate: &t [*t]", r"bad.yaml:3: \*t stands inside of what it names"),
        ('template: "\\ud800"', "bad.yaml:1: a text with half of a surrogate pair"),
        ("[" * 5000, "nested too deeply"),
        ("person: 0x" + "f" * 6000, "a number of 6,002 characters"),
    ],
)
def test_a_set_of_a_stranger_is_read_within_limits(tmp_path, content, words):
    (tmp_path / "bad.yaml").write_text(content)
    with pytest.raises(UserError, match=words):
        PromptsSpec(set=str(tmp_path / "bad.yaml"))


def test_a_set_that_never_ends_is_not_read():
    with pytest.raises(UserError, match="not a plain file"):
        PromptsSpec(set="/dev/zero")
