"""The job file: a pure, typed description of one dataset.

Every field is documented once, here; `factory schema` exports the same words as JSON Schema. A model is named by a
folder or hub id, or by `starter:NAME` for a part of the embedded starter pack.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Model = Annotated[str, Field(min_length=1)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: cuda where there is one.")]
DType = Literal["float32", "float16", "bfloat16"]


class Prompts(Spec):
    """Every combination of the lists fills the template; records draw from them by seed."""

    template: str = Field("{description} {person} doing {action}", description="Fields in braces name the lists below.")
    description: list[str] = Field(["a photo of"], min_length=1)
    person: list[str] = Field(["a person"], min_length=1)
    action: list[str] = Field(min_length=1)


class Workers(Spec):
    """How a stage is hosted."""

    workers: int = Field(1, ge=1, description="Actors of this stage (engine ray).")
    gpus: float = Field(0, ge=0, description="GPUs held by each actor; fractions share one GPU.")
    cpus: float = Field(1, gt=0, description="CPU cores held by each actor; also its number of threads.")
    device: Device = "auto"


class Generate(Workers):
    """Stage 1: text-to-image."""

    model: Model = Field(description="A diffusers text-to-image folder or hub id, or starter:text-to-image.")
    revision: str | None = Field(None, description="Revision of a hub id.")
    dtype: DType = "float32"
    steps: int = Field(50, ge=1)
    guidance_scale: float = Field(7.5, ge=0)
    negative_prompt: str = ""


class Hmr(Spec):
    kind: Literal["spin"] = Field("spin", description="Network family.")
    model: Model = Field(description="A checkpoint file or folder, or starter:hmr.")
    crop_scale: float = Field(1.2, gt=0, description="Side of the square crop over the longer side of the person box.")


class PosePrior(Spec):
    kind: Literal["vposer-v1"] = Field("vposer-v1", description="VPoser release.")
    model: Model = Field(description="A VPoser experiment folder, or starter:vposer.")
    tau: float = Field(30.0, ge=0, description="A pose is hard when its score exceeds tau.")
    score: Literal["sample", "expected"] = Field(
        "sample", description="Sum of squares of one code drawn with the record's seed, or its closed-form mean."
    )


class Detector(Spec):
    kind: Literal["mask2former", "detectron2"] = "mask2former"
    model: Model = Field(description="A transformers folder or hub id, a detectron2 weights file, or starter:detector.")
    threshold: float = Field(0.5, ge=0, le=1, description="Least instance score.")


class Estimate(Workers):
    """Stage 2: people, their bodies, how hard their poses are, and what occludes them."""

    hmr: Hmr
    prior: PosePrior
    detector: Detector
    easy: Literal["keep", "drop", "refine"] = Field(
        "drop", description="Easy poses: keep the initial image unrefined, drop the record, or refine it as others."
    )
    max_people: int = Field(8, ge=1, description="At most so many people per image, the best detections first.")


class Render(Workers):
    """Stage 3: the body's depth, minus what objects occlude."""

    rasteriser: Literal["torch", "pyrender"] = "torch"
    min_coverage: float = Field(0.01, ge=0, le=1, description="Least share of the frame that the bodies must cover.")
    min_inside: float = Field(0.5, ge=0, le=1, description="Least share of a body's vertices inside the frame.")


class Refine(Workers):
    """Stage 4: depth-to-image."""

    model: Model = Field(description="A diffusers depth-to-image folder or hub id, or starter:depth-to-image.")
    revision: str | None = Field(None, description="Revision of a hub id.")
    dtype: DType = "float32"
    steps: int = Field(50, ge=1)
    strength: float = Field(0.7, gt=0, le=1, description="Share of the steps that are redrawn.")
    guidance_scale: float = Field(7.5, ge=0)
    negative_prompt: str = "deformed, bad anatomy"
    random_latents: bool = Field(
        False, description="Start the human region (person mask or body, minus objects) from noise, not the image."
    )


class Stages(Spec):
    generate: Generate
    estimate: Estimate
    render: Render = Render()
    refine: Refine


class Body(Spec):
    """The body model that the parameters belong to."""

    model: Model = Field(description="An SMPL-format .npz, or starter:body.")
    name: str = Field(description="Written into every sample: parameters mean nothing without their body.")


class Output(Spec):
    """What a sample holds beside jpg, json and smpl.npz."""

    extras: list[Literal["initial", "depth", "masks"]] = Field([], description="Also store these.")
    jpeg_quality: int = Field(95, ge=1, le=100)


class JobSpec(Spec):
    """One dataset."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Prefix of keys and shard names.")
    output: str = Field(description="Where the dataset goes: a folder.")
    records: int = Field(ge=1, description="Records to plan; rejected ones count.")
    seed: int = Field(0, ge=0, description="Everything random follows from it.")
    image_size: int = Field(512, ge=64, multiple_of=8, description="Side of the square images, px.")
    unit_size: int = Field(8, ge=1, description="Records per unit: the batch that travels and is committed at once.")
    samples_per_shard: int = Field(1000, ge=1, description="Records planned per shard; a multiple of unit_size.")
    engine: Literal["ray", "inline"] = Field(
        "ray", description="ray: actors on a cluster or this machine; inline: one process."
    )
    ray_address: str | None = Field(None, description="Cluster to join; none: a local Ray is started.")
    prompts: Prompts
    body: Body
    stages: Stages
    sample: Output = Output()
