"""What a run needs and whether it is here: models, PyTorch, Ray, disk, GL. Each answer says how to mend a fault."""

from __future__ import annotations

import ctypes.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path

from factory.cut_prompts import cut_prompts
from factory.errors import UserError, redacted
from factory.job import JobSpec
from factory.models.checkup import check_family, check_files
from factory.models.diffusion.layout import in_cache, unreachable
from factory.weights.catalogue import DETECTRON2, PEFT, SIMPLE_ROMP, Need, needs, source
from factory.weights.locate import locate, unreadable


@dataclass(frozen=True)
class Check:
    """One line of the doctor. ok: True, False, or None where a fault does not stop a run."""

    ok: bool | None
    name: str
    says: str


def require_models(job: JobSpec) -> None:
    """UserError for the first model that is neither on this disk, nor in the hub's cache, nor on the hub, or that is
    not what the job takes it for."""
    for need in needs(job):
        check = look(need, job)
        if check.ok is False:
            raise UserError(f"{check.name}: {check.says}")


def look(need: Need, job: JobSpec) -> Check:
    """Is the model here, and is it what its field takes? Opens headers, never whole networks. Asks the hub only about
    an id that its local cache lacks."""
    try:
        path = locate(need.model)
    except UserError as error:
        there = isinstance(error.__cause__, OSError)  # but closed to this user
        says = str(error) if there else f"no such file or folder: {need.model}{source(need)}"
        return Check(False, need.field, says)
    if path is None and not need.hub:
        return Check(False, need.field, f"no such file or folder: {need.model}{source(need)}")
    if path is None:
        return _look_on_hub(need, job)
    try:
        if path.is_dir() and not any(path.iterdir()):
            return Check(False, need.field, f"empty folder: {need.model}{source(need)}")
        check_files(need, job, path)
    except UserError as error:
        return Check(False, need.field, str(error))
    except OSError as error:
        return Check(False, need.field, unreadable(error, need.model))
    return Check(True, need.field, f"{need.model}")


def _look_on_hub(need: Need, job: JobSpec) -> Check:
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RevisionNotFoundError

    cached = in_cache(need.model, need.revision)
    if cached is not None:
        try:
            check_files(need, job, cached)
        except UserError as error:
            if HF_HUB_OFFLINE:
                return Check(False, need.field, f"the hub's cache: {error}")
            return Check(
                True, need.field, f"{need.model} (a part is in the hub's cache; the first run fetches the rest)"
            )
        return Check(True, need.field, f"{need.model} (in the hub's cache)")
    try:
        HfApi().model_info(need.model, revision=need.revision, timeout=10)
    except GatedRepoError:
        says = f"{need.model} is gated: accept its licence on the hub, then log in with `hf auth login`"
        return Check(False, need.field, says)
    except RevisionNotFoundError:
        return Check(False, need.field, f"{need.model} has no revision {need.revision} on the hub")
    except HfHubHTTPError as error:
        missing = error.response is not None and error.response.status_code in (401, 404)
        says = "neither a folder here nor a model on the hub" if missing else "the hub does not answer"
        return Check(False, need.field, f"{need.model}: {says}{source(need)}")
    except Exception as error:  # offline: each transport has exceptions of its own
        return Check(False, need.field, f"{need.model}: no such folder, and {unreachable(error)}{source(need)}")
    return Check(True, need.field, f"{need.model} (on the hub; the first run fetches it){source(need)}")


def checks(job: JobSpec | None) -> Iterator[Check]:
    """Lines of the doctor, the quick ones first."""
    found = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    yield Check(sys.version_info >= (3, 11), "python", f"{found} (3.11 or newer is needed)")
    for package in ("ray", "diffusers", "transformers", "smplx", "human_body_prior", "webdataset"):
        try:
            yield Check(True, package, version(package))
        except PackageNotFoundError:
            yield Check(False, package, f"not installed; pip install -c constraints.txt {package}")
    yield _torch(job)
    yield _disk(job)
    yield _gl(job)
    if job is None:
        return
    parts = [*(_whole(need, job) for need in needs(job)), *_packages(job)]
    yield from parts
    yield from _output(job)
    yield from _prompts(job)
    yield from _sources(job)
    if all(check.ok for check in parts):
        yield from _memory(job)


def _whole(need: Need, job: JobSpec) -> Check:
    """As `look`, and whether the job's parameters fit the family of the model."""
    check = look(need, job)
    folder = in_cache(need.model, need.revision) if check.ok and locate(need.model) is None else None
    try:
        if check.ok and (folder is not None or locate(need.model) is not None):
            check_family(need, job, folder)
    except UserError as error:
        return Check(False, need.field, str(error))
    return check


def _output(job: JobSpec) -> Iterator[Check]:
    """Whether the job may write to its output, and how much of it is done there."""
    from factory.plan import plan
    from factory.store.ledger import check

    try:
        planned = plan(job)
    except UserError:
        return  # `_disk` reports it
    try:
        left = check(job, planned)
        yield Check(True, "output", f"{planned.units - left:,} of {planned.units:,} units are there")
    except UserError as error:
        yield Check(False, "output", str(error).removeprefix("output: "))


def _prompts(job: JobSpec) -> Iterator[Check]:
    from factory.plan import plan

    try:
        for field, says in cut_prompts(plan(job)):
            yield Check(None, field, says)
    except UserError:
        return  # `_disk` reports it


def _packages(job: JobSpec) -> list[Check]:
    """What the job's choices need beyond the factory's own packages."""
    estimate = job.stages.estimate
    wanted = []
    kind = estimate.hmr.kind if estimate.hmr and not job.poses else "spin"
    if kind == "bev":
        wanted.append(("bev", "simple_romp", SIMPLE_ROMP))
    if estimate.detector.kind == "detectron2":
        wanted.append(("detectron2", "detectron2", DETECTRON2))
    if job.stages.generate.adapter or job.stages.refine.adapter:
        wanted.append(("peft", "peft", PEFT))
    checks = []
    if estimate.detector.kind == "detectron2" and estimate.detector.config:
        from factory.models.detectors.detectron_config import require_readable

        try:
            require_readable(estimate.detector.config)
        except UserError as error:
            checks.append(Check(False, "stages.estimate.detector.config", str(error)))
    for module, name, how in wanted:
        here = find_spec(module) is not None
        checks.append(Check(here, name, "installed" if here else f"not installed; {how}"))
    if kind not in ("spin", "bev") and not entry_points(group="factory.hmr", name=kind):
        says = f"no installed package brings {kind} in the entry point group factory.hmr; there are spin and bev"
        checks.append(Check(False, "stages.estimate.hmr.kind", says))
    return checks


def _memory(job: JobSpec) -> Iterator[Check]:
    """The most GPU memory that each stage holds at once; nothing without a GPU."""
    import torch

    from factory.present.words import size

    if not torch.cuda.is_available():
        return
    from factory.stages.peaks import peaks

    for name, peak in peaks(job):
        if isinstance(peak, str):
            yield Check(False, f"memory of {name}", peak)
        else:
            yield Check(True, f"memory of {name}", f"{size(peak)} at its peak, with {job.unit_size} records at a time")


def _sources(job: JobSpec) -> Iterator[Check]:
    """The real images and given poses of the job: what was found, what is left out, what belongs together."""
    from factory.plan import plan

    name, spec = ("images", job.images) if job.images else ("poses", job.poses)
    if spec is None:
        return
    try:
        found = plan(job).listing
        says = [
            f"{spec.path}: {len(found):,} {name}",
            *found.notes,
            *(f"left out: {n}" for n in found.left_out.lines()),
        ]
        yield Check(True, f"{name}.path", "; ".join(says))
    except UserError:
        return  # told with the disk


def _torch(job: JobSpec | None) -> Check:
    try:
        import torch
    except ImportError as error:
        return Check(False, "torch", f"{error}; pip install -c constraints.txt torch")
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
            return Check(
                False, "torch", f"{says}; the job asks for {wanted:g} GPU{'s' * (wanted != 1)}: lower gpus or workers"
            )
    return Check(True, "torch", says)


def _disk(job: JobSpec | None) -> Check:
    from factory.plan import plan
    from factory.present.words import size
    from factory.store.disk import expanded, free_space

    if job is None:
        return Check(True, "disk", f"{size(free_space(Path('.'))[1])} free")
    try:
        planned = plan(job).bytes
    except UserError as error:
        field, _, what = str(error).partition(": ")
        return Check(False, field, what)
    if "://" in job.output:
        return Check(True, "disk", f"the plan takes about {size(planned)} at {redacted(job.output)}")
    folder, free = free_space(Path(expanded(job.output)))
    return Check(free > planned, "disk", f"{size(free)} free at {folder}, the plan takes about {size(planned)}")


def _gl(job: JobSpec | None) -> Check:
    found = [name for name in ("EGL", "OSMesa") if ctypes.util.find_library(name)]
    wanted = job is not None and job.stages.render.rasteriser == "pyrender"
    says = ", ".join(found) or "no EGL or OSMesa; only rasteriser pyrender needs them (Debian: libegl1, libgl1)"
    return Check(True if found else (False if wanted else None), "gl", says)
