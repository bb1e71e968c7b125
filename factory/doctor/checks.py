"""The doctor's lines: Python and its packages, PyTorch, disk and GL, and what a job needs."""

from __future__ import annotations

import ctypes.util
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from factory.doctor.cut_prompts import cut_prompts
from factory.doctor.finding import Finding
from factory.doctor.models import examine
from factory.errors import UserError, redacted
from factory.job import JobSpec
from factory.weights.catalogue import needs


def checks(job: JobSpec | None) -> Iterator[Finding]:
    """The findings on this machine and, if there is one, on a job; the quick ones first."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    yield Finding.of(sys.version_info >= (3, 11), "python", f"{python} (3.11 or newer is needed)")
    for package in ("ray", "diffusers", "transformers", "smplx", "human_body_prior", "webdataset"):
        try:
            yield Finding("ok", package, version(package))
        except PackageNotFoundError:
            yield Finding("fault", package, f"not installed; pip install -c constraints.txt {package}")
    yield _torch(job)
    yield _disk(job)
    yield _gl(job)
    if job is None:
        return
    models = [*(examine(need, job) for need in needs(job)), *_packages(job)]
    yield from models
    yield from _output(job)
    yield from _prompts(job)
    yield from _sources(job)
    if all(finding.ok for finding in models):
        yield from _memory(job)


def _output(job: JobSpec) -> Iterator[Finding]:
    """Whether the job may write to its output, and how much of the data set is there."""
    from factory.plan import plan
    from factory.store.ledger import require_writable

    try:
        planned = plan(job)
    except UserError:
        return  # `_disk` reports it
    try:
        left = require_writable(job, planned)
        yield Finding("ok", "output", f"{planned.units - left:,} of {planned.units:,} units are there")
    except UserError as error:
        yield Finding("fault", "output", str(error).removeprefix("output: "))


def _prompts(job: JobSpec) -> Iterator[Finding]:
    from factory.plan import plan

    try:
        for field, says in cut_prompts(plan(job)):
            yield Finding("note", field, says)
    except UserError:
        return  # `_disk` reports it


def _packages(job: JobSpec) -> list[Finding]:
    """What the models of the job need beyond the factory's own packages."""
    estimate = job.stages.estimate
    findings = []
    if estimate.detector.kind == "detectron2" and estimate.detector.config:
        from factory.models.detectors.detectron_config import require_readable

        try:
            require_readable(estimate.detector.config)
        except UserError as error:
            findings.append(Finding("fault", "stages.estimate.detector.config", str(error)))
    packages = {need.kind.package.name: need.kind.package for need in needs(job) if need.kind.package}
    for package in packages.values():
        installed = find_spec(package.module) is not None
        says = "installed" if installed else f"not installed; {package.install}"
        findings.append(Finding.of(installed, package.name, says))
    from factory.models.hmr.choice import GROUP, kinds

    kind = estimate.hmr.kind if estimate.hmr else "spin"
    if kind not in kinds():
        says = f"no installed package brings {kind} in the entry point group {GROUP}; there are {', '.join(kinds())}"
        findings.append(Finding("fault", "stages.estimate.hmr.kind", says))
    return findings


def _memory(job: JobSpec) -> Iterator[Finding]:
    """The most GPU memory that each stage holds at once; no findings without a GPU."""
    import torch

    from factory.present.words import size

    if not torch.cuda.is_available():
        return
    from factory.stages.peaks import peaks

    for name, peak in peaks(job):
        if isinstance(peak, str):
            yield Finding("fault", f"memory of {name}", peak)
        else:
            says = f"{size(peak)} at its peak, with {job.unit_size} records at a time"
            yield Finding("ok", f"memory of {name}", says)


def _sources(job: JobSpec) -> Iterator[Finding]:
    """The real images or given poses of the job: how many there are, which are left out and why, and the notes of their
    listing."""
    from factory.plan import plan

    name, spec = ("images", job.images) if job.images else ("poses", job.poses)
    if spec is None:
        return
    try:
        listing = plan(job).listing
        says = [
            f"{spec.path}: {len(listing):,} {name}",
            *listing.notes,
            *(f"left out: {n}" for n in listing.left_out.lines()),
        ]
        yield Finding("ok", f"{name}.path", "; ".join(says))
    except UserError:
        return  # `_disk` reports it


def _torch(job: JobSpec | None) -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding("fault", "torch", f"{error}; pip install -c constraints.txt torch")
    gpus = torch.cuda.device_count()
    names = ", ".join(sorted({torch.cuda.get_device_name(i) for i in range(gpus)}))
    device = f"{gpus} GPU{'s' * (gpus != 1)}: {names}" if gpus else "no GPU, computing on the CPU"
    says = f"{torch.__version__}, {device}"
    if job and not job.ray_address:
        from factory.engine.run import default_stages
        from factory.engine.worker import spec

        hosts = [spec(stage, job) for stage in default_stages(job)]
        wanted = sum(host.workers * host.gpus for host in hosts)
        if wanted > gpus:
            asked = f"the job asks for {wanted:g} GPU{'s' * (wanted != 1)}: lower gpus or workers"
            return Finding("fault", "torch", f"{says}; {asked}")
    return Finding("ok", "torch", says)


def _disk(job: JobSpec | None) -> Finding:
    from factory.plan import plan
    from factory.present.words import size
    from factory.store.disk import expanded, free_space

    if job is None:
        return Finding("ok", "disk", f"{size(free_space(Path('.'))[1])} free")
    try:
        planned = plan(job).bytes
    except UserError as error:
        field, _, what = str(error).partition(": ")
        return Finding("fault", field, what)
    if "://" in job.output:
        return Finding("ok", "disk", f"the plan takes about {size(planned)} at {redacted(job.output)}")
    folder, free = free_space(Path(expanded(job.output)))
    return Finding.of(free > planned, "disk", f"{size(free)} free at {folder}, the plan takes about {size(planned)}")


def _gl(job: JobSpec | None) -> Finding:
    libraries = [name for name in ("EGL", "OSMesa") if ctypes.util.find_library(name)]
    wanted = job is not None and job.stages.render.rasteriser == "pyrender"
    says = ", ".join(libraries) or "no EGL or OSMesa; only rasteriser pyrender needs them (Debian: libegl1, libgl1)"
    return Finding("ok" if libraries else "fault" if wanted else "note", "gl", says)
