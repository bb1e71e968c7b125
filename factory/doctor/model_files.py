"""Whether the file or folder of a model is what its field takes: names and headers first, then what is in it."""

from __future__ import annotations

from pathlib import Path

from factory.errors import UserError
from factory.job import JobSpec
from factory.job_stages import GenerateSpec, RefineSpec
from factory.models.diffusion import adapters, controlnet_config
from factory.models.diffusion.layout import Layout
from factory.weights.catalogue import ADAPTER, CONTROLNET, DIFFUSION, MASK2FORMER, SMPL, ModelKind, Need
from factory.weights.files import check_file, read_json, tensor_shapes
from factory.weights.folders import TEXTS, check_pointers, choose_variant
from factory.weights.hub import in_cache
from factory.weights.locate import locate
from factory.weights.pickles import load_checkpoint
from factory.weights.smpl_file import require_extra_regressor, require_file


def check_files(need: Need, job: JobSpec, path: Path) -> None:
    """UserError where the file or folder is not of the kind that its field takes, or is incomplete. Reads json files
    and headers, and imports no library of models."""
    if need.embedded:
        return
    if need.kind is SMPL:
        require_file(path)
    if not need.kind.hub:
        need.kind.require(path, need.model)
    if path.is_dir():
        check_pointers(path, need.model, TEXTS if need.kind.hub else ())
    else:
        check_file(path, need.model)
    if need.kind.title == DIFFUSION.title:
        _check_diffusion(need, job, path)
    elif need.kind.title == CONTROLNET.title:
        _check_controlnet(need, job, path)
    elif need.kind is ADAPTER:
        _check_adapter(need, job, path)
    elif need.kind is MASK2FORMER:
        _check_mask2former(need, path)
    elif need.kind is SMPL and path.suffix == ".pkl":
        require_extra_regressor(path)


def check_content(need: Need, job: JobSpec, path: Path) -> None:
    """UserError where a checkpoint does not open or holds other tensors than its kind, or where the family of a
    diffusion model cannot do what the job asks: it draws no images from text, ignores the job's guidance or knows no
    such scheduler. Reads no tensor's numbers. Imports PyTorch or diffusers."""
    if need.kind.title == DIFFUSION.title:
        _check_abilities(need, job, path)
    elif file := need.kind.checkpoint_in(path):
        _check_checkpoint(need.kind, file)


def _spec(need: Need, job: JobSpec) -> GenerateSpec | RefineSpec:
    """The settings of the stage that needs the model or adapter."""
    return job.stages.generate if need.field.startswith("stages.generate.") else job.stages.refine


def _layout(need: Need, path: Path) -> Layout:
    return Layout.of(need.model, need.revision) if path.is_file() else Layout(need.model, path, need.revision)


def _check_diffusion(need: Need, job: JobSpec, path: Path) -> None:
    layout = _layout(need, path)
    layout.check_networks(_spec(need, job).variant)
    if need.field == "stages.generate.model":
        layout.require_text()
    elif job.stages.refine.kind == "depth2img":
        layout.require_depth()


def _check_abilities(need: Need, job: JobSpec, path: Path) -> None:
    from factory.models.device import quiet_diffusers
    from factory.models.diffusion.guidance import guidance
    from factory.models.diffusion.schedulers import check_scheduler

    quiet_diffusers()
    spec, layout = _spec(need, job), _layout(need, path)
    draws = need.field == "stages.generate.model"
    pipeline = layout.text_to_image() if draws else layout.known("pipeline", "diffusers", layout.name)
    network = layout.config("transformer") or layout.config("unet")
    guidance(pipeline, layout.index, network).check(spec.guidance_scale, spec.negative_prompt)
    if spec.scheduler is not None and layout.has("scheduler"):
        own = layout.known("scheduler", *layout.index["scheduler"])
        check_scheduler(own, spec.scheduler, pipeline.__name__)


def _check_controlnet(need: Need, job: JobSpec, path: Path) -> None:
    refine = job.stages.refine
    _, config = controlnet_config.read_config(need.model, path)
    base = _folder(refine.model, refine.revision)
    layout = Layout(refine.model, base, refine.revision) if base is not None else None
    controlnet_config.check_config(config, need.model, layout)
    choose_variant(path, f"ControlNet {need.model}", refine.variant)


def _check_adapter(need: Need, job: JobSpec, path: Path) -> None:
    path = adapters.file_in(path, need.model)
    spec = _spec(need, job)
    base = _folder(spec.model, spec.revision) if spec.model else None
    if path.suffix == ".safetensors" and base is not None and base.is_dir():
        shapes = tensor_shapes(path, f"adapter {need.model}")
        adapters.require_family(path, shapes, Layout(spec.model or "", base).config("unet"))


def _folder(model: str, revision: str | None) -> Path | None:
    try:
        return locate(model) or in_cache(model, revision)
    except UserError:
        return None  # the check of that model itself reports it


def _check_mask2former(need: Need, path: Path) -> None:
    label = f"detector {need.model}"
    if path.is_file():
        says = "is a file; a transformers folder of Mask2Former is wanted, or kind: detectron2 with its own weights"
        raise UserError(f"{label} {says}")
    config = read_json(path / "config.json", label)
    kind = config.get("model_type")
    if kind != "mask2former":
        raise UserError(f"{label} is a {kind or 'folder without a model_type'}; Mask2Former is wanted{need.remedy}")
    choose_variant(path, label, None)
    read_json(path / "preprocessor_config.json", label)


def _check_checkpoint(kind: ModelKind, file: Path) -> None:
    assert kind.checkpoint is not None
    stored = load_checkpoint(file, kind.title, numbers=False)
    tensors = stored.get(kind.checkpoint.key) if kind.checkpoint.key and isinstance(stored, dict) else stored
    entries = tensors.items() if isinstance(tensors, dict) else ()
    names = [str(name) for name, value in entries if hasattr(value, "shape")]
    if not names:
        raise UserError(f"{kind.title} {file} is no mapping of names to tensors; get {kind.origin}")
    for layer in kind.checkpoint.layers:
        if not any(name.endswith(layer) for name in names):
            raise UserError(f"{kind.title} {file} holds no {layer}, so it is of another kind; get {kind.origin}")
