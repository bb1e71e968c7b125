"""The settings of the stages in a job, and of the models that they load.

Every field is documented here and nowhere else, as in `factory.job`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from factory.metrics import computed_by


class Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Model = Annotated[str, Field(min_length=1)]
Device = Annotated[
    str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: cuda when there is a GPU, else cpu.")
]
DType = Literal["float32", "float16", "bfloat16"]


class WorkersSpec(Spec):
    """The workers of a stage and the resources of each."""

    workers: int = Field(1, ge=1, le=10_000, description="Number of workers: Ray actors. Engine inline always has one.")
    gpus: float = Field(0, ge=0, le=1000, description="GPUs of each worker; workers with fractions share a GPU.")
    cpus: float = Field(1, gt=0, le=10_000, description="CPU cores of each worker; also its number of threads.")
    device: Device = "auto"


class DiffusionSpec(WorkersSpec):
    """How a diffusion model is loaded and sampled."""

    variant: str | None = Field(None, description="Variant of the model's files to load, such as fp16.")
    scheduler: Literal["ddim", "dpm++", "euler", "euler-a", "heun", "lcm", "pndm", "unipc"] | None = Field(
        None, description="Sampler; it keeps the model's noise schedule. Left out: the model's own sampler."
    )
    adapter: Model | None = Field(
        None, description="Fine-tuned weights for the model (guidance D): LoRA or attention processors (.safetensors)."
    )
    adapter_scale: float = Field(1.0, ge=0, le=100, description="Weight of a LoRA adapter.")
    save_memory: Literal["no", "slices", "offload"] = Field(
        "no",
        description="slices: attention and images are computed one by one; offload: networks stay in host memory "
        "while they are not used. Both are slower.",
    )

    def loading(self) -> dict[str, Any]:
        """The fields that both diffusion stages pass to the loader of their model, by name."""
        return {
            name: getattr(self, name) for name in DiffusionSpec.model_fields if name not in WorkersSpec.model_fields
        }


class GenerateSpec(DiffusionSpec):
    """Stage 1: text-to-image."""

    model: Model | None = Field(
        None,
        description="A diffusers text-to-image folder or hub id, or starter:text-to-image. Not used with real images.",
    )
    revision: str | None = Field(None, description="Revision of a hub id.")
    dtype: DType = "float32"
    steps: int = Field(50, ge=1, le=10_000)
    guidance_scale: float = Field(7.5, ge=0, le=1000)
    negative_prompt: str = ""


class HmrSpec(Spec):
    """The estimator of bodies (human mesh recovery)."""

    kind: str = Field(
        "spin",
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        description="spin; bev (package simple_romp), which needs no detector's boxes; or a name that an installed "
        "package registers in the entry point group factory.hmr.",
    )
    model: Model = Field(description="SPIN's model_checkpoint.pt, BEV.pth, a folder of SPIN's layout, or starter:hmr.")
    crop_scale: float = Field(
        1.2, gt=0, le=100, description="Side of the square crop, divided by the longer side of the person's box."
    )
    align: bool = Field(
        False,
        description="Move and scale each body in the image so that it covers the detector's mask of its person best. "
        "Not part of the paper. silhouette_iou_initial then compares with the same masks, so it is biased upwards.",
    )


class PosePriorSpec(Spec):
    """The pose prior, which tells hard poses from easy ones."""

    kind: Literal["vposer-v1", "vposer-v2"] = Field("vposer-v1", description="VPoser release: v1.0, or V02_05.")
    model: Model = Field(description="A VPoser experiment folder, such as V02_05, or starter:vposer.")
    tau: float = Field(30.0, ge=0, le=10**9, description="A pose is hard when its score exceeds tau.")
    score: Literal["sample", "expected"] = Field(
        "sample",
        description="sample: the sum of squares of one code, drawn with the record's seed; expected: the mean of that "
        "sum over all codes, in closed form.",
    )


class DetectorSpec(Spec):
    """The detector of people and objects (instance segmentation)."""

    kind: Literal["mask2former", "detectron2"] = "mask2former"
    model: Model = Field(description="A transformers folder or hub id, a detectron2 weights file, or starter:detector.")
    config: str | None = Field(
        None, description="Kind detectron2: a name in its model zoo, or a YAML file. Left out: Mask R-CNN R50-FPN 3x."
    )
    threshold: float = Field(0.5, ge=0, le=1, description="Instances with a lower score are ignored.")


class AugmentSpec(Spec):
    """Variation of the estimated poses in the latent space of the pose prior (the paper's Eq. 8-10): a code z is drawn
    from N(mu, sigma) and then scaled."""

    variants: int = Field(3, ge=1, le=100_000, description="Records per image; each gets another pose.")
    code: Literal["paper", "authors"] = Field(
        "paper", description="paper: z (1 + s e), e uniform in [-1, 1]; authors: z (1.5 + s n), n normal."
    )
    s: float = Field(
        0.3, ge=0, le=1000, description="The s in `code`. The paper gives no value, the authors' code has 0.3."
    )
    orientation: float = Field(
        0.0,
        ge=0,
        le=360,
        description="Standard deviation of a random rotation of the whole body about each axis, degrees.",
    )
    shape: float = Field(0.0, ge=0, le=1000, description="Each beta is multiplied by 1 + shape n, n normal.")
    keep_first: bool = Field(False, description="Whether the first variant keeps the estimated pose.")


class EstimateSpec(WorkersSpec):
    """Stage 2: find the people, estimate their bodies, score their poses, and find the objects that may occlude
    them."""

    hmr: HmrSpec | None = Field(
        None, description="The estimator of bodies. With given poses it is only used by stage 5, and may be left out."
    )
    prior: PosePriorSpec
    detector: DetectorSpec
    easy: Literal["keep", "drop", "refine"] = Field(
        "drop",
        description="What happens to records with easy poses. keep: the initial image is the final one; drop: they "
        "are rejected; refine: they are treated as all others. Left out: drop, but refine with real images or given "
        "poses.",
    )
    augment: AugmentSpec | None = Field(None, description="Vary the poses. Left out: they stay as estimated.")
    max_people: int = Field(
        8, ge=1, le=1000, description="People per image at most; those with the highest detection scores are kept."
    )


class RenderSpec(WorkersSpec):
    """Stage 3: render the depth of the bodies, without the parts that objects occlude."""

    rasteriser: Literal["torch", "pyrender"] = "torch"
    min_coverage: float = Field(
        0.01, ge=0, le=1, description="Records whose bodies cover a smaller share of the frame are rejected."
    )
    min_inside: float = Field(
        0.5, ge=0, le=1, description="Records with a smaller share of a body's vertices inside the frame are rejected."
    )


Radius = Annotated[float, Field(ge=0, le=1000)]


class RefineSpec(DiffusionSpec):
    """Stage 4: redraw the image, guided by the rendered depth."""

    kind: Literal["depth2img", "controlnet"] = Field(
        "depth2img",
        description="depth2img: a model with depth as an input channel (SD-2-depth), which gets it in [-1, 1] at the "
        "size of the latents; controlnet: image-to-image with a depth ControlNet (SD 1.5, SDXL), which gets it in [0, "
        "1] at the size of the image. In both, near is large.",
    )
    model: Model = Field(
        description="A diffusers folder or hub id of a depth-to-image model (kind controlnet: of a text-to-image "
        "model), or starter:depth-to-image."
    )
    controlnet: Model | None = Field(None, description="Kind controlnet: the depth ControlNet, a folder or hub id.")
    controlnet_scale: float = Field(1.0, ge=0, le=100, description="Weight of the ControlNet.")
    revision: str | None = Field(None, description="Revision of a hub id.")
    dtype: DType = "float32"
    steps: int = Field(50, ge=1, le=10_000)
    strength: float = Field(0.7, gt=0, le=1, description="Share of the denoising steps that are done again.")
    guidance_scale: float = Field(7.5, ge=0, le=1000)
    negative_prompt: str = "deformed, bad anatomy"
    random_latents: bool = Field(
        False,
        description="Whether the human region (person mask and bodies, without objects) starts from noise instead of "
        "from the image.",
    )
    blur: tuple[Radius, Radius] | None = Field(
        None,
        description="Blur the final images with a Gaussian whose radius is drawn from this range, px. The authors' "
        "code: [1, 2.5].",
    )


class ScoreSpec(WorkersSpec):
    """Stage 5: measure how well label and images agree, with the estimator and the detector of stage 2."""

    enabled: bool = Field(
        True, description=f"Whether the stage runs. False: {', '.join(computed_by('score'))} are null."
    )


class StagesSpec(Spec):
    generate: GenerateSpec = GenerateSpec()
    estimate: EstimateSpec
    render: RenderSpec = RenderSpec()
    refine: RefineSpec
    score: ScoreSpec = ScoreSpec()
