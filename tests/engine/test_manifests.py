"""What jobs/cluster holds must be what Kubernetes, KubeRay, Slurm and Ray accept."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from factory import config
from tests.support.command import ROOT

RAYJOB, SLURM = ROOT / "jobs/cluster/rayjob.yaml", ROOT / "jobs/cluster/slurm.sh"
VERSION = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)[1]

# The fields of KubeRay's ray.io/v1 types, as far as a run may use them: group -> name -> type.
JOB = {
    "entrypoint": str, "backoffLimit": int, "shutdownAfterJobFinishes": bool, "ttlSecondsAfterFinished": int,
    "rayClusterSpec": dict, "submitterPodTemplate": dict, "runtimeEnvYAML": str, "submissionMode": str,
    "activeDeadlineSeconds": int, "suspend": bool, "metadata": dict,
}  # fmt: skip
CLUSTER = {
    "rayVersion": str, "enableInTreeAutoscaling": bool, "autoscalerOptions": dict, "headGroupSpec": dict,
    "workerGroupSpecs": list,
}  # fmt: skip
AUTOSCALER = {"idleTimeoutSeconds": int, "env": list, "upscalingMode": str, "resources": dict}
HEAD = {"rayStartParams": dict, "template": dict, "serviceType": str}
WORKERS = {**HEAD, "groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int, "numOfHosts": int}


def rayjob() -> dict:
    return yaml.safe_load(RAYJOB.read_text())


def fits(values: dict, fields: dict[str, type]) -> dict:
    for name, value in values.items():
        assert name in fields, f"KubeRay knows no {name}"
        assert type(value) is fields[name], name
    return values


def pods() -> list[dict]:
    spec = rayjob()["spec"]
    groups = [spec["rayClusterSpec"]["headGroupSpec"], *spec["rayClusterSpec"]["workerGroupSpecs"]]
    return [spec["submitterPodTemplate"], *(group["template"] for group in groups)]


def test_the_rayjob_has_kuberays_fields() -> None:
    manifest = rayjob()
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    cluster = fits(fits(manifest["spec"], JOB)["rayClusterSpec"], CLUSTER)
    fits(cluster["autoscalerOptions"], AUTOSCALER)
    for group in [fits(cluster["headGroupSpec"], HEAD), *(fits(g, WORKERS) for g in cluster["workerGroupSpecs"])]:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    assert cluster["rayVersion"] == VERSION


@pytest.mark.parametrize("pod", pods(), ids=["submitter", "head", "worker"])
def test_its_pods_fit_the_schema_of_kubernetes(pod) -> None:
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, **pod}
    kubernetes_validate.validate(whole, "1.31", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**whole, "spec": {**pod["spec"], "container": []}}, "1.31", strict=True)


def test_ray_asks_for_its_token_everywhere() -> None:
    for pod in pods():
        assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} <= {item["name"] for item in pod["spec"]["containers"][0]["env"]}
    assert "RAY_AUTH_MODE=token" in SLURM.read_text()


def test_the_workers_it_may_add_are_those_that_the_job_counts_on(job_file) -> None:
    spec = rayjob()["spec"]
    words = shlex.split(spec["entrypoint"])
    assert words[:2] == ["factory", "run"]
    grows = config.load_job(job_file, [word for word in words[3:] if word != "--set"]).autoscaler
    (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert grows is not None
    assert (grows.nodes, grows.cpus, grows.gpus) == (
        group["maxReplicas"],
        float(limits["cpu"]),
        int(limits["nvidia.com/gpu"]),
    )


def test_the_slurm_script_is_sound_shell() -> None:
    subprocess.run(["bash", "-n", SLURM], check=True)
    options = re.findall(r"^#SBATCH (--[a-z-]+)(?:=(\S+))?$", SLURM.read_text(), re.M)
    assert len(options) == SLURM.read_text().count("#SBATCH")
    assert {"--nodes", "--ntasks-per-node", "--gpus-per-node", "--requeue"} <= dict(options).keys()


def test_the_slurm_script_runs_what_ray_and_the_factory_accept(job_file, tmp_path) -> None:
    """With what Slurm provides stood in for, the command that reaches Ray is taken apart by Ray's own parser."""
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args, symmetric_run

    binaries = tmp_path / "bin"
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/activate").touch()
    binaries.mkdir()
    for name, does in {"scontrol": "echo node7; echo node8", "srun": 'printf "%s\\n" "$@" > srun.txt'}.items():
        (binaries / name).write_text(f"#!/bin/sh\n{does}\n")
        (binaries / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_NUM_NODES": "2"}
    slurm |= {"SLURM_CPUS_PER_TASK": "32", "SLURM_GPUS_PER_NODE": "4"}
    slurm["PATH"] = f"{binaries}:{Path(sys.executable).parent}:/usr/bin:/bin"
    subprocess.run(["bash", SLURM, job_file, "--set", "seed=7"], check=True, cwd=tmp_path, env=slurm)
    words = (tmp_path / "srun.txt").read_text().split()
    ray = words[words.index("symmetric-run") + 1 :]
    context = symmetric_run.make_context("symmetric-run", list(ray[: ray.index("--")]))
    assert (context.params["address"], context.params["min_nodes"]) == ("node7:6379", 2)
    start = list(context.params["ray_args_and_entrypoint"])
    assert curate_and_validate_ray_start_args(start) == ["--num-cpus=32", "--num-gpus=4"]
    _, verb, path, *overrides = ray[ray.index("--") + 1 :]
    assert verb == "run"
    job = config.load_job(path, [word for word in overrides if word != "--set"])
    assert (job.seed, job.engine, job.ray_address) == (7, "ray", "auto")
    assert not list(tmp_path.glob(".ray-token*")), "the secret outlives the job"
