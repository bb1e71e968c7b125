from pathlib import Path

import pytest
import yaml

from factory import config
from factory.errors import UserError
from tests.support.command import ROOT


def save(path: Path, values: dict) -> Path:
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def fault(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        config.load_job(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_loads_and_keeps_values(job_file: Path) -> None:
    job = config.load_job(job_file)
    assert job.name == "small"
    assert job.stages.generate.steps == 2
    assert job.stages.render.rasteriser == "torch"  # a whole section may be left out


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_jobs_load(path: Path) -> None:
    assert config.load_job(path).name == path.stem


def test_dump_is_a_job_again(job_file: Path, tmp_path: Path) -> None:
    job = config.load_job(job_file)
    (tmp_path / "copy.yaml").write_text(config.dump(job))
    assert config.load_job(tmp_path / "copy.yaml") == job


def test_overrides_are_yaml_and_reach_absent_sections(job_file: Path) -> None:
    job = config.load_job(
        job_file, ["stages.refine.strength=0.6", "prompts.action=[running, yoga]", "stages.render.min_inside=0.25"]
    )
    assert job.stages.refine.strength == 0.6
    assert job.prompts.action == ["running", "yoga"]
    assert job.stages.render.min_inside == 0.25


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("stages.refine.stength=0.6", "did you mean 'strength'?"),
        ("stage.refine.strength=0.6", "did you mean 'stages'?"),
        ("strength=0.6", "did you mean 'stages.refine.strength'?"),
        ("records.x=1", "records has no keys below it"),
        ("records", "write it as --set"),
        ("records=[", "not valid YAML"),
        ("records=many", "records: input should be a valid integer"),
        ("stages.generate.gpus=-1", "stages.generate.gpus: input should be greater than or equal to 0, not -1"),
    ],
)
def test_bad_override(job_file: Path, override: str, expected: str) -> None:
    assert expected in fault(job_file, override)


def test_unknown_key_names_line_and_neighbour(job_file: Path, values: dict, tmp_path: Path) -> None:
    values["stages"]["refine"]["stpes"] = 3
    path = save(tmp_path / "bad.yaml", values)
    line = 1 + next(i for i, text in enumerate(path.read_text().splitlines()) if "stpes" in text)
    assert fault(path) == f"{path}:{line}: unknown key 'stpes' in stages.refine; did you mean 'steps'?"


def test_missing_key(values: dict, tmp_path: Path) -> None:
    del values["stages"]["estimate"]["hmr"]
    assert "stages.estimate.hmr is missing" in fault(save(tmp_path / "bad.yaml", values))


def test_counts_further_faults(values: dict, tmp_path: Path) -> None:
    values |= {"records": -1, "unit_size": "x"}
    assert fault(save(tmp_path / "bad.yaml", values)).endswith("(and 1 more)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: [", "bad.yaml:1: not valid YAML"),
        ("name: a\nseed: 1\nname: b\n", "bad.yaml:3: 'name' is given twice"),
        ("- a\n", "a job is a mapping"),
        ("", "a job is a mapping"),
        ("a: !!python/object/apply:os.getcwd []\n", "bad.yaml:1: could not determine a constructor"),
        ("a: &x\n  b: *x\n", "bad.yaml:2: *x stands inside of what it names"),
        ("\x01", "not valid YAML"),
    ],
)
def test_broken_file(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert expected in fault(path)


def test_missing_file_names_a_neighbour(job_file: Path) -> None:
    assert f"did you mean {job_file}?" in fault(job_file.with_name("jbo.yaml"))


def test_binary_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"\xff\xfe\x00a")
    assert "not a text file in UTF-8" in fault(path)


def test_a_password_in_an_address_is_refused_and_never_shown(job_file):
    job_file.write_text(job_file.read_text() + "ray_address: ray://me:s3cr3t@head:10001\n")
    with pytest.raises(UserError, match="ray_address: holds a name or password") as caught:
        config.load_job(job_file)
    assert "s3cr3t" not in str(caught.value)
    assert str(UserError("no answer from http://me:s3cr3t@head:8265/x")) == "no answer from http://head:8265/x"


MERGED = "a0: &a0 {x: 1, y: 2}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 26))


def test_merge_keys_that_would_never_end_are_refused_with_their_line(job_file: Path) -> None:
    job_file.write_text(MERGED + job_file.read_text())
    assert fault(job_file) == f"{job_file}:14: more than 100,000 values, written out"


def test_honest_aliases_are_written_out(job_file: Path) -> None:
    job_file.write_text(job_file.read_text().replace("prior:\n", "prior:\n      <<: {tau: 20}\n", 1))
    assert config.load_job(job_file).stages.estimate.prior.tau == 20


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("records=.inf", "records: input should be a finite number, not inf"),
        ("stages.refine.guidance_scale=.inf", "guidance_scale: input should be a finite number, not inf"),
        ("stages.estimate.prior.tau=.nan", "tau: input should be a finite number, not nan"),
        ("stages.generate.workers=1000000000", "workers: input should be less than or equal to 10000"),
        ("stages.generate.cpus=1e9", "cpus: input should be less than or equal to 10000"),
        ("stages.generate.gpus=1e9", "gpus: input should be less than or equal to 1000"),
        ("stages.generate.steps=1000000000", "steps: input should be less than or equal to 10000"),
        ("image_size=100000000", "image_size: input should be less than or equal to 4096"),
        ("unit_size=1000000000", "unit_size: input should be less than or equal to 10000"),
        ("samples_per_shard=1000000000", "samples_per_shard: input should be less than or equal to 1000000"),
        ("cycles=1000000000", "cycles: input should be less than or equal to 1000"),
        ("records=0x" + "f" * 6000, "a number of 6,002 characters"),
        ("prompts.action={a: .inf}", "finite number"),
        (r'prompts.action=["\ud800"]', "half of a surrogate pair"),
        ("prompts.action=[\udcff]", "not valid YAML"),
        ("prompts.action=[" + "a," * 200_000 + "]", "more than 100,000 values"),
        ("prompts.action=&a [*a]", "stands inside of what it names"),
    ],
    ids=lambda text: text[:40],
)
def test_values_that_no_job_has(job_file: Path, override: str, expected: str) -> None:
    message = fault(job_file, override)
    assert expected in message and len(message) < 500


@pytest.mark.parametrize(
    "content",
    [b'name: "\\ud800"\n', b"name: \xed\xa0\x80\n", b"records: 0x" + b"f" * 6000, b"a" * (1 << 25)],
    ids=range(4),
)
def test_texts_and_numbers_that_are_none(job_file: Path, content: bytes) -> None:
    job_file.write_bytes(content)
    assert len(fault(job_file)) < 500
