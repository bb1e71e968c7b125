"""The whole command line against an S3 server, as a user has it: environment variables and s3:// addresses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from factory.config import load_job
from tests.support import s3, small
from tests.support.command import ROOT, needs_weights
from tests.support.seeded_stages import STAGES


@pytest.fixture
def say(factory):
    """Run a verb, which ends with `code` and in no traceback, and give all that it says. No secret is in it."""

    def said(*arguments: object, code: int = 0) -> str:
        done = factory(*arguments)
        words = done.stdout + done.stderr
        assert done.returncode == code and "Traceback" not in words, (arguments, words)
        assert s3.SECRET not in words and "AKIAEXAMPLE" not in words
        return words

    return said


def written(values: dict, tmp_path: Path, out: str, **changes: object) -> Path:
    path = tmp_path / "job.yaml"
    values |= {"output": out, "image_size": 64, "unit_size": 1, "samples_per_shard": 2, **changes}
    path.write_text(yaml.safe_dump(values))
    return path


@needs_weights  # which the command looks for before it runs
def test_a_run_is_killed_goes_on_and_is_repaired(say, values, url, proxy, tmp_path, monkeypatch):
    """plan, run, kill -9 within an upload, status, verify, run, damage, verify --repair, run."""
    monkeypatch.setattr("factory.engine.run.default_stages", lambda job: STAGES)
    out = f"s3://{s3.BUCKET}/killed"
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(4):
        picture = np.random.default_rng(i).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(picture).save(folder / f"{i}.png")
    del values["stages"]["generate"]["model"]
    job = written(values, tmp_path, out, records=0, images={"path": str(folder)})
    assert "records" in say("plan", job) and not s3.objects(url, "killed")
    assert "no data set is there" in say("status", out, code=2)

    proxy.freeze = "parts/000001/000001.tar"
    command = [sys.executable, "-m", "tests.support.seeded_command", "run", str(job)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert proxy.held.wait(300)
        process.kill()
    proxy.thawed.set()
    assert "1 of 2 shards are not sealed; 1 of their units are there" in say("verify", out, code=3)
    told = say("run", job)
    assert "resumed: 3 of 4 units found" in told and "Done" in told

    client, key = s3.client(url), "killed/small-000001.parquet"
    index = client.get_object(Bucket=s3.BUCKET, Key=key)["Body"].read()
    client.put_object(Bucket=s3.BUCKET, Key=key, Body=index[:-40] + bytes([index[-40] ^ 1]) + index[-39:])
    assert "small-000001.parquet: damaged" in say("stats", out, code=2)
    assert "small-000001.parquet: unreadable" in say("verify", out, "--repair", code=3)
    say("run", job)
    assert "Sound: 2 shards" in say("verify", out)


@needs_weights
def test_a_failed_record_is_retried_and_the_data_set_looked_at_and_exported(say, values, url, proxy, tmp_path):
    """verify, retry, run, inspect, stats, export, validate."""
    out, to = f"s3://{s3.BUCKET}/retried", tmp_path / "spin"
    job = written(values, tmp_path, out, records=4)
    small.make(load_job(job), rejected=(), failed=(2,))
    say("verify", out)
    assert "1 of 1 failed records are open again" in say("retry", out)
    assert "1 of 2 shards are not sealed" in say("verify", out, code=3)
    assert "resumed: 3 of 4 units found" in say("run", job)
    assert "report.html" in say("inspect", out)
    assert "poses per action" in say("stats", out)
    assert "Done" in say("export", out, "--format", "spin", "--to", to)
    assert "Sound" in say("validate", to, "--format", "spin")
    assert "Sound: 2 shards" in say("verify", out)
    beside = {"job.json", "report.html", "contact.png", "README.md", "preview.jpg", "wids.json"}
    assert beside <= s3.objects(url, "retried").keys()
