"""The one list of the models that a job may name: where each comes from, under which licence, what its folder must
hold, and which package it needs. For the doctor, the card and the loaders."""

from __future__ import annotations

from dataclasses import dataclass

from factory.job import JobSpec
from factory.weights.locate import PREFIX


@dataclass(frozen=True)
class Need:
    """A model that a job names. hub: whether a hub id will do, and not only a path on this disk."""

    field: str
    model: str
    hub: bool
    revision: str | None = None
    part: str = ""


OURS = "Apache-2.0"  # the starter pack's licence
# A word of the model's name, or the part it is for -> (source, licence). The first entry that fits counts.
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
    "inception": (
        "the releases of https://github.com/toshas/torch-fidelity: weights-inception-2015-12-05-6726825d.pth",
        "Apache-2.0",
    ),
    "dinov2": ("the hub: facebook/dinov2-large", "Apache-2.0"),
    "clip": ("the hub: openai/clip-vit-large-patch14-336", "MIT"),
}
# What a folder must hold, by part.
FILES = {"vposer-v1": ("snapshots/*.pt", "*.ini"), "vposer-v2": ("snapshots/*.ckpt",)}
# Packages that a choice in the job needs: (module, how to get it).
SIMPLE_ROMP = "pip install cython numpy && pip install --no-build-isolation --no-deps simple_romp opencv-python"
# An unpinned torchvision would replace torch; detectron2's setup imports torch, which an isolated build does not see.
DETECTRON2 = (
    "pip install -c constraints.txt torchvision && pip install -c constraints.txt --no-build-isolation "
    "'git+https://github.com/facebookresearch/detectron2' (beside a CPU build of torch no torchvision fits: a machine "
    "with a GPU is needed); or take kind mask2former"
)
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


def source(need: Need) -> str:
    """Where the model can be had, as the end of a sentence; empty where that is not known."""
    if need.model.startswith(PREFIX):
        return "; it is part of a full checkout of this repository"
    known = _known(need)
    return f"; from {known[0]} ({known[1]})" if known else ""


def licence(need: Need) -> str:
    """The licence of the model, in words for the card."""
    if need.model.startswith(PREFIX):
        return OURS
    known = _known(need)
    return known[1] if known else "not known: ask its source"


def _known(need: Need) -> tuple[str, str] | None:
    """(source, licence) of SOURCES."""
    name = f"{need.model.lower()} {need.part}"
    return next((value for word, value in SOURCES.items() if word in name), None)
