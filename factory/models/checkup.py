"""Whether a model that lies on this disk is what a job takes it for: files and headers first, then its family. For the
doctor, and for a run before it starts."""

from __future__ import annotations

from pathlib import Path

from factory.errors import UserError
from factory.job import JobSpec
from factory.models.diffusion import adapters
from factory.models.diffusion.layout import Layout, check_controlnet, controlnet_config, in_cache
from factory.weights.catalogue import FILES, Need, source
from factory.weights.files import TEXTS, check_file, check_pointers, choose, read_json, shapes
from factory.weights.locate import PREFIX, locate
from factory.weights.smpl_file import EXTRA_FILE, require_file

SINGLE = {"detectron2": "model_final_f10217.pkl", "bev": "BEV.pth"}


def check_files(need: Need, job: JobSpec, path: Path) -> None:
    """UserError where the file or folder is not the kind that its field takes, or is incomplete. Loads no library of
    models; reads json files and headers."""
    if need.model.startswith(PREFIX):
        return
    if need.part == "body":
        require_file(path)
    if path.is_dir():
        if need.part in SINGLE:
            says = f"is a folder; a file is wanted, such as {SINGLE[need.part]}"
            raise UserError(f"{need.model} {says}{source(need)}")
        check_pointers(path, need.model, TEXTS if need.hub else ())
    else:
        check_file(path, need.model)
    stage = need.field.split(".")[1] if need.field.startswith("stages.") else ""
    if need.field in ("stages.generate.model", "stages.refine.model"):
        variant = (job.stages.generate if stage == "generate" else job.stages.refine).variant
        layout = _layout(need, path)
        layout.check_networks(variant)
        if stage == "generate":
            layout.require_text()
        elif job.stages.refine.kind == "depth2img":
            layout.require_depth()
    elif need.field == "stages.refine.controlnet":
        _check_controlnet(need, job, path)
    elif need.field.endswith(".adapter"):
        _check_adapter(need, job, path)
    elif need.part == "mask2former":
        _check_mask2former(need, path)
    elif need.part == "body":
        _check_body(need, path)
    for pattern in FILES.get(need.part, ()):
        if not any(path.glob(pattern)):
            raise UserError(f"{need.model} lacks {pattern}{source(need)}")


def check_family(need: Need, job: JobSpec, folder: Path | None = None) -> None:
    """UserError where the family of a diffusion model cannot do what the job asks of it: it draws no images from text,
    ignores the job's guidance or knows no such scheduler. Imports diffusers."""
    if need.field not in ("stages.generate.model", "stages.refine.model"):
        return
    from factory.models.device import quiet_diffusers
    from factory.models.diffusion.guidance import guidance
    from factory.models.diffusion.pipelines import check_scheduler

    quiet_diffusers()
    spec = job.stages.generate if need.field == "stages.generate.model" else job.stages.refine
    layout = _layout(need, folder or locate(need.model))
    kind = (
        layout.text_to_image()
        if need.field == "stages.generate.model"
        else layout.known("pipeline", "diffusers", layout.name)
    )
    network = layout.config("transformer") or layout.config("unet")
    guidance(kind, layout.index, network).check(spec.guidance_scale, spec.negative_prompt)
    if spec.scheduler is not None and layout.has("scheduler"):
        check_scheduler(layout.known("scheduler", *layout.index["scheduler"]), spec.scheduler, kind.__name__)


def _layout(need: Need, path: Path | None) -> Layout:
    if path is None or path.is_file():
        return Layout.of(need.model, need.revision)
    return Layout(need.model, path, need.revision)


def _check_controlnet(need: Need, job: JobSpec, path: Path) -> None:
    refine = job.stages.refine
    _, config = controlnet_config(need.model, path)
    base = _folder(refine.model, refine.revision)
    check_controlnet(config, need.model, Layout(refine.model, base, refine.revision) if base is not None else None)
    choose(path, f"ControlNet {need.model}", refine.variant)


def _check_adapter(need: Need, job: JobSpec, path: Path) -> None:
    path = adapters.file_in(path, need.model)
    spec = job.stages.generate if need.field.startswith("stages.generate") else job.stages.refine
    base = _folder(spec.model, spec.revision) if spec.model else None
    if path.suffix == ".safetensors" and base is not None and base.is_dir():
        adapters.check_family(
            path, shapes(path, f"adapter {need.model}"), Layout(spec.model or "", base).config("unet")
        )


def _folder(model: str, revision: str | None) -> Path | None:
    try:
        return locate(model) or in_cache(model, revision)
    except UserError:
        return None  # the check of that model itself reports it


def _check_mask2former(need: Need, path: Path) -> None:
    where = f"detector {need.model}"
    if path.is_file():
        says = "is a file; a transformers folder of Mask2Former is wanted, or kind: detectron2 with its own weights"
        raise UserError(f"{where} {says}")
    config = read_json(path / "config.json", where)
    kind = config.get("model_type")
    if kind != "mask2former":
        raise UserError(f"{where} is a {kind or 'folder without a model_type'}; Mask2Former is wanted{source(need)}")
    choose(path, where, None)
    read_json(path / "preprocessor_config.json", where)


def _check_body(need: Need, path: Path) -> None:
    if path.suffix == ".pkl" and not path.with_name(EXTRA_FILE).is_file():
        raise UserError(f"{EXTRA_FILE} must lie beside {need.model}; from SPIN's fetch_data.sh (non-commercial)")
