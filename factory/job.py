"""The job file: a pure, typed description of one dataset.

Every field is documented once, here; `factory schema` exports the same words as JSON Schema. A model is named by a
folder or hub id, or by `starter:NAME` for a part of the embedded starter pack.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from factory.metrics import computed_by

STORED = {"stored": True}  # the context in which a job is validated that a run has stored


class Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Model = Annotated[str, Field(min_length=1)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: cuda where there is one.")]
DType = Literal["float32", "float16", "bfloat16"]


Words = Annotated[
    list[str] | dict[str, Annotated[float, Field(gt=0, le=10**9)]],
    Field(description="Texts, all as likely; or a mapping from text to its weight."),
]


class PromptsSpec(Spec):
    """A template drawn by the record's seed, its braces filled with texts drawn likewise (guidance T)."""

    set: str | None = Field(
        None, description="mpii, smart or finetune, or a YAML file with the fields below: what is left out here."
    )
    categories: str | None = Field(
        None, description="MPII's annotation file (.mat): its categories are the actions where none are given here."
    )
    template: str | Words = Field(
        "{description} {person} doing {action}",
        description="One or several, or a mapping to weights. Fields in braces name the lists below. Empty: no text.",
    )
    description: Words = ["a photo of"]
    person: Words = ["a person"]
    action: Words = Field([], description="Used where a real image does not come with its own action.")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any, info: ValidationInfo) -> Any:
        """A stored job has every field, so that it means the same where the named files are not at hand; and a
        stranger's has no file opened."""
        if info.context != STORED and isinstance(values, dict) and (values.get("set") or values.get("categories")):
            from factory.prompts import fill

            return fill(values)
        return values


class ImagesSpec(Spec):
    """Real images that take the place of stage 1 (guidance R)."""

    kind: Literal["folder", "list", "webdataset", "skipose", "smart"] = Field(
        "folder",
        description="folder: all images below it; list: a text file, a path and, after a tab, its action on each line; "
        "webdataset: tar shards; skipose: Ski-PosePTZ, split/labels.h5; smart: SMART of SportsCap, annotations/*.json.",
    )
    path: str = Field(min_length=1, description="The folder, list or tar; of tars a folder or a-*.tar.")
    split: Literal["train", "test"] = Field("train", description="Of skipose and smart, as the paper divides them.")
    share: float = Field(
        1.0, gt=0, le=1, description="Share of the images, drawn by the job's seed; a smaller one lies in a larger one."
    )
    keypoints: str | None = Field(
        None,
        min_length=1,
        description="Known people: stage 2 crops around their keypoints and not around the detector's boxes. An .npz "
        "as SPIN's data sets: imgname (N,), part (N, 24, 3) or openpose (N, 25, 3) or both: x, y px and confidence.",
    )
    min_side: int = Field(64, ge=1, le=100_000, description="Smaller images are rejected, px.")
    max_pixels: int = Field(
        50_000_000, ge=1, le=2 * 10**9, description="Larger images are rejected before they are decoded, px."
    )


class PosesSpec(Spec):
    """Given poses that take the place of the estimator (guidance P)."""

    path: str = Field(
        min_length=1,
        description="An .npz with pose (N, 72) rad, betas (N, 10), camera (N, 3) = s, tx, ty and, for real images, "
        "imgname (N,) and crop (N, 3) = centre x, y and side px; or a .json of EFT fits.",
    )


class WorkersSpec(Spec):
    """How a stage is hosted."""

    workers: int = Field(1, ge=1, le=10_000, description="Actors of this stage (engine ray).")
    gpus: float = Field(0, ge=0, le=1000, description="GPUs held by each actor; fractions share one GPU.")
    cpus: float = Field(1, gt=0, le=10_000, description="CPU cores held by each actor; also its number of threads.")
    device: Device = "auto"


class DiffusionSpec(WorkersSpec):
    """How a diffusion model is loaded and sampled."""

    variant: str | None = Field(None, description="Files of this variant in the folder or hub id, such as fp16.")
    scheduler: Literal["ddim", "dpm++", "euler", "euler-a", "heun", "lcm", "pndm", "unipc"] | None = Field(
        None, description="Sampler, with the model's own noise schedule; none: the model's own."
    )
    adapter: Model | None = Field(
        None, description="Fine-tuned weights for the model (guidance D): LoRA or attention processors (.safetensors)."
    )
    adapter_scale: float = Field(1.0, ge=0, le=100, description="Weight of a LoRA adapter.")
    save_memory: Literal["no", "slices", "offload"] = Field(
        "no", description="slices: attention and images one by one; offload: networks wait in host memory. Both slow."
    )

    def loading(self) -> dict[str, Any]:
        """What both diffusion stages hand to their model."""
        return {
            name: getattr(self, name) for name in DiffusionSpec.model_fields if name not in WorkersSpec.model_fields
        }


class GenerateSpec(DiffusionSpec):
    """Stage 1: text-to-image."""

    model: Model | None = Field(
        None,
        description="A diffusers text-to-image folder or hub id, or starter:text-to-image. With real images: not used.",
    )
    revision: str | None = Field(None, description="Revision of a hub id.")
    dtype: DType = "float32"
    steps: int = Field(50, ge=1, le=10_000)
    guidance_scale: float = Field(7.5, ge=0, le=1000)
    negative_prompt: str = ""


class HmrSpec(Spec):
    kind: str = Field(
        "spin",
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        description="spin; bev (package simple_romp), which finds people itself; or a name that an installed package "
        "gives in the entry point group factory.hmr.",
    )
    model: Model = Field(description="SPIN's model_checkpoint.pt, BEV.pth, a folder of SPIN's layout, or starter:hmr.")
    crop_scale: float = Field(
        1.2, gt=0, le=100, description="Side of the square crop over the longer side of the person box."
    )
    align: bool = Field(
        False,
        description="Move and scale each body in the image until it covers the detector's mask of its person best. Not "
        "a step of the paper's. silhouette_iou_initial then measures with the mask that was fitted to.",
    )


class PosePriorSpec(Spec):
    kind: Literal["vposer-v1", "vposer-v2"] = Field("vposer-v1", description="VPoser release: v1.0, or V02_05.")
    model: Model = Field(description="A VPoser experiment folder, such as V02_05, or starter:vposer.")
    tau: float = Field(30.0, ge=0, le=10**9, description="A pose is hard when its score exceeds tau.")
    score: Literal["sample", "expected"] = Field(
        "sample", description="Sum of squares of one code drawn with the record's seed, or its closed-form mean."
    )


class DetectorSpec(Spec):
    kind: Literal["mask2former", "detectron2"] = "mask2former"
    model: Model = Field(description="A transformers folder or hub id, a detectron2 weights file, or starter:detector.")
    config: str | None = Field(
        None, description="Of detectron2: a name in its model zoo or a YAML file; none: Mask R-CNN R50-FPN 3x."
    )
    threshold: float = Field(0.5, ge=0, le=1, description="Least instance score.")


class AugmentSpec(Spec):
    """Poses varied in the prior's code after stage 2 (the paper's Eq. 8-10): z from N(mu, sigma), then scaled."""

    variants: int = Field(3, ge=1, le=100_000, description="Records per image, each with a pose of its own.")
    code: Literal["paper", "authors"] = Field(
        "paper", description="paper: z (1 + s e), e uniform in [-1, 1]; authors: z (1.5 + s n), n normal."
    )
    s: float = Field(0.3, ge=0, le=1000, description="The s above. The paper gives no number, the authors' code 0.3.")
    orientation: float = Field(
        0.0,
        ge=0,
        le=360,
        description="Jitter of the global orientation about each axis, standard deviation in degrees.",
    )
    shape: float = Field(0.0, ge=0, le=1000, description="Jitter of each beta by a factor 1 + shape n, n normal.")
    keep_first: bool = Field(False, description="The first variant keeps the pose as it was estimated.")


class EstimateSpec(WorkersSpec):
    """Stage 2: people, their bodies, how hard their poses are, and what occludes them."""

    hmr: HmrSpec | None = Field(None, description="Who estimates the bodies. With given poses: only scores the images.")
    prior: PosePriorSpec
    detector: DetectorSpec
    easy: Literal["keep", "drop", "refine"] = Field(
        "drop",
        description="Easy poses: keep the initial image unrefined, drop the record, or refine it as others. "
        "Left out: drop, and refine in a job with real images or given poses.",
    )
    augment: AugmentSpec | None = Field(None, description="Vary the poses; none: they stay as estimated.")
    max_people: int = Field(
        8, ge=1, le=1000, description="At most so many people per image, the best detections first."
    )


class RenderSpec(WorkersSpec):
    """Stage 3: the body's depth, minus what objects occlude."""

    rasteriser: Literal["torch", "pyrender"] = "torch"
    min_coverage: float = Field(0.01, ge=0, le=1, description="Least share of the frame that the bodies must cover.")
    min_inside: float = Field(0.5, ge=0, le=1, description="Least share of a body's vertices inside the frame.")


Radius = Annotated[float, Field(ge=0, le=1000)]


class RefineSpec(DiffusionSpec):
    """Stage 4: the image redrawn under the rendered depth."""

    kind: Literal["depth2img", "controlnet"] = Field(
        "depth2img",
        description="depth2img: a model that takes depth itself (SD-2-depth), at latent size in [-1, 1]; "
        "controlnet: image-to-image with a depth ControlNet (SD 1.5, SDXL), at image size in [0, 1]. Near is large.",
    )
    model: Model = Field(
        description="A diffusers folder or hub id: depth-to-image, or with kind controlnet text-to-image; or "
        "starter:depth-to-image."
    )
    controlnet: Model | None = Field(None, description="Kind controlnet: the depth ControlNet, a folder or hub id.")
    controlnet_scale: float = Field(1.0, ge=0, le=100, description="Weight of the ControlNet's hints.")
    revision: str | None = Field(None, description="Revision of a hub id.")
    dtype: DType = "float32"
    steps: int = Field(50, ge=1, le=10_000)
    strength: float = Field(0.7, gt=0, le=1, description="Share of the steps that are redrawn.")
    guidance_scale: float = Field(7.5, ge=0, le=1000)
    negative_prompt: str = "deformed, bad anatomy"
    random_latents: bool = Field(
        False, description="Start the human region (person mask or body, minus objects) from noise, not the image."
    )
    blur: tuple[Radius, Radius] | None = Field(
        None, description="Blur every final image, Gaussian, radius drawn from this range, px; the authors: [1, 2.5]."
    )


class ScoreSpec(WorkersSpec):
    """Stage 5: how well label and images agree, measured with the estimator and the detector of stage 2."""

    enabled: bool = Field(True, description=f"False: {', '.join(computed_by('score'))} stay empty.")


class StagesSpec(Spec):
    generate: GenerateSpec = GenerateSpec()
    estimate: EstimateSpec
    render: RenderSpec = RenderSpec()
    refine: RefineSpec
    score: ScoreSpec = ScoreSpec()


class BodySpec(Spec):
    """The body model that the parameters belong to."""

    model: Model = Field(
        description="SMPL_NEUTRAL, _MALE or _FEMALE as .pkl or .npz, with SPIN's J_regressor_extra.npy beside it; "
        "or starter:body."
    )
    name: str = Field(description="Written into every sample: parameters mean nothing without their body.")


class OutputSpec(Spec):
    """What a sample holds beside jpg, json and smpl.npz."""

    extras: list[Literal["initial", "depth", "masks"]] = Field([], description="Also store these.")
    jpeg_quality: int = Field(95, ge=1, le=100)


class AutoscalerSpec(Spec):
    """Nodes that a cluster adds when they are asked for."""

    nodes: int = Field(ge=1, le=100_000, description="At most so many.")
    cpus: float = Field(ge=0, le=10_000, description="CPU cores of each.")
    gpus: int = Field(0, ge=0, le=1000, description="GPUs of each.")


class JobSpec(Spec):
    """One dataset."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Prefix of keys and shard names.")
    output: str = Field(
        description="Where the dataset goes: a folder (~ and $VARIABLES are replaced), or s3://BUCKET/PREFIX (gs://, "
        "az://)."
    )
    records: int = Field(
        0,
        ge=0,
        lt=2**63,
        description="Records to plan; rejected ones count. 0: each real image or given pose once, times variants.",
    )
    seed: int = Field(0, ge=0, lt=2**128, description="Everything random follows from it.")
    image_size: int = Field(512, ge=64, le=4096, multiple_of=8, description="Side of the square images, px.")
    unit_size: int = Field(
        8, ge=1, le=10_000, description="Records per unit: the batch that travels and is committed at once."
    )
    samples_per_shard: int = Field(
        1000, ge=1, le=1_000_000, description="Records planned per shard; a multiple of unit_size."
    )
    engine: Literal["ray", "inline"] = Field(
        "ray", description="ray: actors on a cluster or this machine; inline: one process."
    )
    ray_address: str | None = Field(None, description="Cluster to join; none: a local Ray is started.")
    autoscaler: AutoscalerSpec | None = Field(
        None, description="What the cluster may add by itself (worker nodes all told); none: it has all its nodes."
    )
    max_unit_seconds: float = Field(
        3600,
        gt=0,
        le=10**8,
        description="A stage that takes longer over one unit is ended, s; the record that hangs fails. inline "
        "can stop Python alone: a library that hangs, or ends its process, takes the run along.",
    )
    max_failed_fraction: float = Field(
        0.5, ge=0, le=1, description="Stop when more of a run's records fail, judged from its 100th on; 1: never."
    )
    prompts: PromptsSpec = PromptsSpec(template="")
    images: ImagesSpec | None = Field(None, description="Real images instead of stage 1.")
    poses: PosesSpec | None = Field(None, description="Given poses instead of estimated ones.")
    cycles: int = Field(
        1, ge=1, le=1000, description="Rounds of stages 2 to 4; the final image of one is the next one's initial."
    )
    body: BodySpec
    stages: StagesSpec
    sample: OutputSpec = OutputSpec()

    @model_validator(mode="before")
    @classmethod
    def _real_poses_are_refined(cls, values: Any) -> Any:
        """Hard or easy tells whether a text-to-image model drew well: real images and given poses are all wanted."""
        match values:
            case {"stages": {"estimate": {**estimate}, **stages}} if "easy" not in estimate:
                if values.get("images") or values.get("poses"):
                    return {**values, "stages": {**stages, "estimate": {**estimate, "easy": "refine"}}}
        return values

    @model_validator(mode="after")
    def _fits(self) -> JobSpec:
        generate, estimate = self.stages.generate, self.stages.estimate
        if "@" in (self.ray_address or ""):  # it is stored and shown
            raise _fault("ray_address: holds a name or password; a cluster's token goes into RAY_AUTH_TOKEN")
        if self.images is None:
            if generate.model is None:
                raise _fault("stages.generate.model is missing: name a text-to-image model, or give real images")
            if not self.prompts.template:
                raise _fault("prompts are missing: a text-to-image model needs a text; or give real images")
        if self.records == 0 and not (self.images or self.poses):
            raise _fault("records is missing: only real images or given poses tell how many there are")
        if self.poses is None and estimate.hmr is None:
            raise _fault("stages.estimate.hmr is missing: name an estimator, or give poses")
        whole = bool(estimate.hmr and estimate.hmr.kind == "bev")
        other = "poses are given" if self.poses else "bev looks at whole images" if whole else ""
        known = bool(self.images and self.images.keypoints)
        if known and other:
            raise _fault(f"images.keypoints: nothing is cropped where {other}; leave one of them out")
        if estimate.hmr and estimate.hmr.align and (other or known):
            other = other or "images.keypoints says who is there"
            raise _fault(f"stages.estimate.hmr.align: no mask tells where to move a body where {other}; leave it out")
        refine = self.stages.refine
        if (refine.kind == "controlnet") != (refine.controlnet is not None):
            raise _fault("stages.refine: kind controlnet and the field controlnet (its folder or hub id) go together")
        if estimate.easy == "keep" and (estimate.augment or (self.poses and not self.images)):
            raise _fault("stages.estimate.easy: an image that does not show its pose cannot be kept; refine or drop it")
        return self


def _fault(words: str) -> PydanticCustomError:
    return PydanticCustomError("job", words)
