"""`factory launch` against a real Ray of two nodes that asks for a token and believes it has four GPUs."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import config
from factory.engine.run import run_job
from tests.support.command import Run, needs_weights, refused
from tests.support.seeded_stages import STAGES

RAY = Path(sys.executable).with_name("ray")
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, str]]:
    """(dashboard, GCS address)"""
    port, dashboard, *others = free_ports(8)
    environment = {**os.environ, **TOKEN, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    environment["PATH"] = f"{RAY.parent}:{environment['PATH']}"  # the driver is what `python` names there
    common = ["--block", "--num-cpus=8", "--num-gpus=2", "--object-store-memory=100000000", "--disable-usage-stats"]
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as folder, contextlib.ExitStack() as stack:

        def start(*arguments: str) -> None:
            ports = [f"--dashboard-agent-listen-port={others.pop()}", f"--dashboard-agent-grpc-port={others.pop()}"]
            command = [RAY, "start", *arguments, *common, *ports, f"--metrics-export-port={others.pop()}"]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            node = stack.enter_context(subprocess.Popen(command, env=environment, **quiet))
            stack.callback(node.terminate)

        head = ["--head", f"--port={port}", f"--dashboard-port={dashboard}", f"--temp-dir={folder}"]
        start(*head, "--node-ip-address=127.0.0.1")
        url = f"http://127.0.0.1:{dashboard}"
        wait_for(url, nodes=1)
        start(f"--address=127.0.0.1:{port}")
        wait_for(url, nodes=2)
        yield url, f"127.0.0.1:{port}"


def wait_for(url: str, nodes: int, patience: float = 120) -> None:
    """Until the dashboard knows of so many."""
    bearer = {"Authorization": f"Bearer {TOKEN['RAY_AUTH_TOKEN']}"}
    request, deadline, known = urllib.request.Request(f"{url}/api/v0/nodes", headers=bearer), time.monotonic(), 0
    while known < nodes:
        assert time.monotonic() < deadline + patience, f"{known} of {nodes} nodes of Ray have started"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            answer = json.load(urllib.request.urlopen(request, timeout=5))
            known = sum(node["state"] == "ALIVE" for node in answer["data"]["result"]["result"])
        time.sleep(0.2)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TOKEN.items():
        monkeypatch.setenv(name, value)


def test_shows_the_log_and_hands_on_the_exit_code(command: Run, cluster, token, job_file: Path) -> None:
    done = config.load_job(job_file)
    run_job(done, STAGES)
    result = command("launch", job_file, "--address", cluster[0])
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"Nothing to do: {done.output} is complete." in result.stdout
    assert "Submitted small-" in result.stdout

    large = ["--set", "stages.refine.workers=5", "--set", "stages.refine.gpus=0.8", "--set", "seed=9"]
    elsewhere = Path(done.output).with_name("elsewhere")
    result = command("launch", job_file, "--address", cluster[0], *large, "--set", f"output={elsewhere}")
    assert result.returncode == 2, result.stdout + result.stderr
    assert "stages.refine: worker 5 of 5" in result.stdout and "fits nowhere" in result.stdout
    assert not elsewhere.exists()


def test_plan_says_who_sits_where(command: Run, cluster, token, job_file: Path) -> None:
    pools = ["--set", "stages.refine.workers=2", "--set", "stages.refine.gpus=1", "--set", "stages.generate.gpus=0.5"]
    result = command("plan", job_file, "--set", "engine=ray", "--set", f"ray_address={cluster[1]}", *pools)
    assert result.returncode == 0, result.stderr
    placement = result.stdout.split("placement")[1].splitlines()
    assert sum("refine" in line for line in placement) >= 1 and "0.5" in result.stdout.split("placement")[1]


def test_a_wrong_token_is_refused_in_one_line(command: Run, cluster, job_file: Path, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # no token of the user's own
    refused(command("launch", job_file, "--address", cluster[0]), "--address", "RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "fedcba9876543210" * 4)
    refused(command("launch", job_file, "--address", cluster[0]), "--address", "RAY_AUTH_TOKEN")


def test_nobody_there(command: Run, job_file: Path) -> None:
    refused(command("launch", job_file, "--address", f"http://127.0.0.1:{free_ports(1)[0]}"), "--address")
    refused(command("launch", job_file, "--address", "os://127.0.0.1"), "http://HEAD:8265")


def test_an_output_that_would_go_with_the_job(command: Run, job_file: Path) -> None:
    refused(command("launch", job_file, "--address", "http://x:1", "--set", "output=out"), "absolute path")


@needs_weights
@pytest.mark.slow
def test_makes_the_same_bytes_as_one_process(command: Run, cluster, token, job_file: Path, tmp_path: Path) -> None:
    from tests.support.files import tree

    assert command("run", job_file, "--set", f"output={tmp_path / 'inline'}").returncode == 0
    pools = ["--set", "stages.refine.gpus=0.5", "--set", "stages.generate.gpus=1"]
    result = command("launch", job_file, "--address", cluster[0], *pools)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 records in 1 shard" in result.stdout
    assert tree(tmp_path / "out") == tree(tmp_path / "inline")
