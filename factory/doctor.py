"""What a run needs and whether it is here: models, PyTorch, Ray, disk, GL. Each answer says how to mend a fault."""

from __future__ import annotations

import ctypes.util
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path

from factory.errors import UserError
from factory.job import JobSpec
from factory.models.locate import PREFIX, locate, resolve
from factory.models.smpl_file import EXTRA_FILE


@dataclass(frozen=True)
class Check:
    """One line of the doctor. ok: True, False, or None where a fault does not stop a run."""

    ok: bool | None
    name: str
    says: str


@dataclass(frozen=True)
class Need:
    """A model that a job names. hub: whether a hub id will do, and not only a path on this disk."""

    field: str
    model: str
    hub: bool
    revision: str | None = None
    part: str = ""


# Where weights come from. A word of the model's name, or the part it is for: (source, licence). The first that fits.
SOURCES = {
    "stable-diffusion-v1-4": ("the hub: CompVis/stable-diffusion-v1-4", "CreativeML OpenRAIL-M"),
    "stable-diffusion-2-depth": ("a mirror on the hub; the original left in November 2025", "OpenRAIL++-M"),
    "controlnet-depth-sdxl": ("the hub: diffusers/controlnet-depth-sdxl-1.0", "OpenRAIL++-M"),
    "control_v11f1p": ("the hub: lllyasviel/control_v11f1p_sd15_depth", "CreativeML OpenRAIL-M"),
    "stable-diffusion-xl": ("the hub: stabilityai/stable-diffusion-xl-base-1.0", "OpenRAIL++-M"),
    "flux": ("the hub: black-forest-labs, after login", "see its model card; FLUX.1-dev is non-commercial"),
    "mask2former": ("the hub: facebook/mask2former-*-coco-instance", "see its model card"),
    "detectron2": ("detectron2's model zoo: mask_rcnn_R_50_FPN_3x/model_final_f10217.pkl", "Apache-2.0 code"),
    "body": ("https://smpl.is.tue.mpg.de after registration: SMPL_NEUTRAL.pkl as it is", "non-commercial"),
    "vposer-v1": ("https://smpl-x.is.tue.mpg.de after registration: VPoser v1.0", "non-commercial"),
    "vposer-v2": ("https://smpl-x.is.tue.mpg.de after registration: V02_05", "non-commercial"),
    "spin": ("SPIN's fetch_data.sh: model_checkpoint.pt", "bound to SMPL's, non-commercial"),
    "bev": ("the releases of https://github.com/Arthur151/ROMP: BEV.pth", "see its repository, bound to SMPL's"),
}
# What a folder must hold, by part.
FILES = {"vposer-v1": ("snapshots/*.pt", "*.ini"), "vposer-v2": ("snapshots/*.ckpt",)}
# Packages that a choice in the job needs: (module, how to get it).
SIMPLE_ROMP = "pip install cython numpy && pip install --no-build-isolation --no-deps simple_romp opencv-python"
DETECTRON2 = "pip install 'git+https://github.com/facebookresearch/detectron2' torchvision; or take kind mask2former"
PEFT = "pip install -c constraints.txt peft; a LoRA adapter needs it"


def needs(job: JobSpec) -> list[Need]:
    """Every model that the job names, in the order of use."""
    generate, estimate, refine = job.stages.generate, job.stages.estimate, job.stages.refine
    found = []
    if generate.model and not job.images:
        found.append(Need("stages.generate.model", generate.model, True, generate.revision))
        if generate.adapter:
            found.append(Need("stages.generate.adapter", generate.adapter, True))
    if estimate.hmr:
        found.append(Need("stages.estimate.hmr.model", estimate.hmr.model, False, part=estimate.hmr.kind))
    seer = estimate.detector
    found += [
        Need("stages.estimate.prior.model", estimate.prior.model, False, part=estimate.prior.kind),
        Need("stages.estimate.detector.model", seer.model, seer.kind == "mask2former", part=seer.kind),
        Need("body.model", job.body.model, False, part="body"),
        Need("stages.refine.model", refine.model, True, refine.revision),
    ]
    if refine.controlnet:
        found.append(Need("stages.refine.controlnet", refine.controlnet, True))
    if refine.adapter:
        found.append(Need("stages.refine.adapter", refine.adapter, True))
    return found


def require_models(job: JobSpec) -> None:
    """UserError for the first model that is neither on this disk, nor in the hub's cache, nor on the hub."""
    for need in needs(job):
        check = look(need)
        if check.ok is False:
            raise UserError(f"{check.name}: {check.says}")


def look(need: Need) -> Check:
    """Is the model here? Asks the hub only about an id that its local cache lacks."""
    try:
        path = locate(need.model)
    except UserError:
        path = None if need.model.startswith(PREFIX) else Path(need.model)
        if path is None or not path.exists():
            return Check(False, need.field, f"no such file or folder: {need.model}{_source(need)}")
    if path is not None:
        if path.is_dir() and not any(path.iterdir()):
            return Check(False, need.field, f"empty folder: {need.model}{_source(need)}")
        return Check(True, need.field, f"{need.model}")
    if not need.hub:
        return Check(False, need.field, f"no such file or folder: {need.model}{_source(need)}")
    return _look_on_hub(need)


def _look_on_hub(need: Need) -> Check:
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RevisionNotFoundError

    for file in ("model_index.json", "config.json"):
        if isinstance(try_to_load_from_cache(need.model, file, revision=need.revision), str):
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
        return Check(False, need.field, f"{need.model}: {says}{_source(need)}")
    except Exception as error:  # offline: each transport has exceptions of its own
        says = f"no such folder, not in the hub's cache, and the hub is out of reach ({type(error).__name__})"
        return Check(False, need.field, f"{need.model}: {says}{_source(need)}")
    return Check(True, need.field, f"{need.model} (on the hub; the first run fetches it){_source(need)}")


def _source(need: Need) -> str:
    name = f"{need.model.lower()} {need.part}"
    if name.startswith(PREFIX):
        return "; it is part of a full checkout of this repository"
    known = next((value for key, value in SOURCES.items() if key in name), None)
    return f"; from {known[0]} ({known[1]})" if known else ""


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
    parts = [*(_whole(need, look(need)) for need in needs(job)), *_packages(job)]
    yield from parts
    yield from _sources(job)
    if all(check.ok for check in parts):
        yield from _memory(job)


def _whole(need: Need, check: Check) -> Check:
    """What lies inside or beside a model that is here."""
    path = Path(resolve(need.model)).expanduser()
    if not check.ok or need.model.startswith(PREFIX):
        return check
    for pattern in FILES.get(need.part, ()):
        if not any(path.glob(pattern)):
            return Check(False, need.field, f"{need.model} lacks {pattern}{_source(need)}")
    if need.part == "body" and path.suffix == ".pkl" and not path.with_name(EXTRA_FILE).is_file():
        says = f"{EXTRA_FILE} must lie beside {need.model}; from SPIN's fetch_data.sh (non-commercial)"
        return Check(False, need.field, says)
    return check


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
    from factory.plan import Plan

    name, spec = ("images", job.images) if job.images else ("poses", job.poses)
    if spec is None:
        return
    try:
        found = Plan(job).listing
        says = [
            f"{spec.path}: {len(found):,} {name}",
            *found.notes,
            *(f"left out: {n}" for n in found.left_out.lines()),
        ]
        yield Check(True, f"{name}.path", "; ".join(says))
    except UserError as error:
        field, _, what = str(error).partition(": ")
        yield Check(False, field, what)


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

    folder = Path(job.output if job else ".").absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if job is None:
        return Check(True, "disk", f"{size(free)} free")
    try:
        planned = plan(job).bytes
    except UserError as error:
        return Check(False, "plan", str(error))
    return Check(free > planned, "disk", f"{size(free)} free at {folder}, the plan takes about {size(planned)}")


def _gl(job: JobSpec | None) -> Check:
    found = [name for name in ("EGL", "OSMesa") if ctypes.util.find_library(name)]
    wanted = job is not None and job.stages.render.rasteriser == "pyrender"
    says = ", ".join(found) or "no EGL or OSMesa; only rasteriser pyrender needs them (Debian: libegl1, libgl1)"
    return Check(True if found else (False if wanted else None), "gl", says)
