"""The job file: a complete, typed description of one data set.

Every field is documented here and nowhere else; `factory schema` exports the same texts as JSON Schema. A model is
given as a folder, as a hub id, or as `starter:NAME` for a part of the starter pack that comes with the factory.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from factory.metrics import computed_by

STORED = {"stored": True}  # pydantic's context when a job that a run has stored is validated


class Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Model = Annotated[str, Field(min_length=1)]
Device = Annotated[
    str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: cuda when there is a GPU, else cpu.")
]
DType = Literal["float32", "float16", "bfloat16"]


Words = Annotated[
    list[str] | dict[str, Annotated[float, Field(gt=0, le=10**9)]],
    Field(description="A list of texts, which are equally likely; or a mapping from each text to its weight."),
]


class PromptsSpec(Spec):
    """How the prompt of a record is made: the record's seed draws a template, and a text for each name in its braces
    (guidance T)."""

    set: str | None = Field(
        None, description="mpii, smart or finetune, or a YAML file: fills those of the fields below that are left out."
    )
    categories: str | None = Field(
        None, description="MPII's annotation file (.mat): when `action` is left out, its categories are the actions."
    )
    template: str | Words = Field(
        "{description} {person} doing {action}",
        description="One template, a list, or a mapping to weights. Names in braces are those of the lists below. "
        "Empty: no text.",
    )
    description: Words = ["a photo of"]
    person: Words = ["a person"]
    action: Words = Field([], description="Actions. A real image that comes with an action keeps its own.")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any, info: ValidationInfo) -> Any:
        """Fill in the fields from `set` and `categories`. Not in a stored job: it has every field already, the named
        files may be missing on this machine, and a stranger's job must not make the factory open files."""
        if info.context != STORED and isinstance(values, dict) and (values.get("set") or values.get("categories")):
            from factory.prompts import fill

            return fill(values)
        return values


class ImagesSpec(Spec):
    """Real images, used instead of the images of stage 1 (guidance R)."""

    kind: Literal["folder", "list", "webdataset", "skipose", "smart"] = Field(
        "folder",
        description="folder: all images below it; list: a text file, on each line a path and, after a tab, an action; "
        "webdataset: tar shards; skipose: Ski-PosePTZ, split/labels.h5; smart: SMART of SportsCap, annotations/*.json.",
    )
    path: str = Field(
        min_length=1, description="The folder, the list or the tar; several tars: their folder, or a pattern a-*.tar."
    )
    split: Literal["train", "test"] = Field("train", description="Kinds skipose and smart: the paper's split to use.")
    share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of the images to use, drawn by the job's seed. The images of a smaller share are among "
        "those of a larger one.",
    )
    keypoints: str | None = Field(
        None,
        min_length=1,
        description="Known 2D keypoints: stage 2 crops around them instead of around the detector's boxes. An .npz "
        "like SPIN's data sets: imgname (N,), part (N, 24, 3) or openpose (N, 25, 3) or both, in px with confidence.",
    )
    min_side: int = Field(64, ge=1, le=100_000, description="Images with a shorter side are rejected, px.")
    max_pixels: int = Field(
        50_000_000, ge=1, le=2 * 10**9, description="Images of more pixels are rejected before they are decoded."
    )


class PosesSpec(Spec):
    """Given poses, used instead of estimated ones (guidance P)."""

    path: str = Field(
        min_length=1,
        description="An .npz with pose (N, 72) rad, betas (N, 10), camera (N, 3) = s, tx, ty and, for real images, "
        "imgname (N,) and crop (N, 3) = centre x, y and side px; or a .json of EFT fits.",
    )


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


class BodySpec(Spec):
    """The body model that poses and shapes belong to."""

    model: Model = Field(
        description="SMPL_NEUTRAL, _MALE or _FEMALE as .pkl or .npz, with SPIN's J_regressor_extra.npy beside it; or "
        "starter:body."
    )
    name: str = Field(description="Name of the body model, written into every sample.")


class OutputSpec(Spec):
    """The files of a sample besides jpg, json and smpl.npz."""

    extras: list[Literal["initial", "depth", "masks"]] = Field(
        [], description="initial: initial.jpg; depth: depth.npy, m; masks: person.png and object.png."
    )
    jpeg_quality: int = Field(95, ge=1, le=100)


class AutoscalerSpec(Spec):
    """The worker nodes that a cluster's autoscaler starts on demand."""

    nodes: int = Field(ge=1, le=100_000, description="Worker nodes at most, those that are up included.")
    cpus: float = Field(ge=0, le=10_000, description="CPU cores of each node.")
    gpus: int = Field(0, ge=0, le=1000, description="GPUs of each node.")


class JobSpec(Spec):
    """The description of one data set."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Prefix of keys and shard names.")
    output: str = Field(
        description="Where the data set is written: a folder (~ and $VARIABLES are replaced), or s3://BUCKET/PREFIX "
        "(gs://, az://)."
    )
    records: int = Field(
        0,
        ge=0,
        lt=2**63,
        description="Number of records, rejected ones included. 0: every real image or given pose once, times "
        "variants.",
    )
    seed: int = Field(0, ge=0, lt=2**128, description="All random numbers are derived from it.")
    image_size: int = Field(512, ge=64, le=4096, multiple_of=8, description="Side of the square images, px.")
    unit_size: int = Field(
        8,
        ge=1,
        le=10_000,
        description="Records per unit: the batch that a stage computes and that is committed as a whole.",
    )
    samples_per_shard: int = Field(
        1000, ge=1, le=1_000_000, description="Records per shard, rejected ones included; a multiple of unit_size."
    )
    engine: Literal["ray", "inline"] = Field(
        "ray", description="ray: actors on a cluster or on this machine; inline: this process alone."
    )
    ray_address: str | None = Field(
        None, description="Address of the Ray cluster to join. Left out: a local Ray is started."
    )
    autoscaler: AutoscalerSpec | None = Field(
        None,
        description="What the cluster's autoscaler may add. Left out: nothing.",
    )
    max_unit_seconds: float = Field(
        3600,
        gt=0,
        le=10**8,
        description="Time limit of one stage for one unit, s. When it is exceeded, the record that causes it fails. "
        "Engine inline can only interrupt Python: a library that hangs, or ends its process, hangs or ends the run.",
    )
    max_failed_fraction: float = Field(
        0.5,
        ge=0,
        le=1,
        description="The run stops when a larger share of its records has failed, from the 100th record on. 1: never.",
    )
    prompts: PromptsSpec = PromptsSpec(template="")
    images: ImagesSpec | None = Field(None, description="Real images, used instead of stage 1.")
    poses: PosesSpec | None = Field(None, description="Given poses, used instead of estimated ones.")
    cycles: int = Field(
        1,
        ge=1,
        le=1000,
        description="Rounds of stages 2 to 4; the final image of a round is the initial image of the next.",
    )
    body: BodySpec
    stages: StagesSpec
    sample: OutputSpec = OutputSpec()

    @model_validator(mode="before")
    @classmethod
    def _real_poses_are_refined(cls, values: Any) -> Any:
        """Fill in `easy: refine` for real images and given poses. Easy poses are dropped because text-to-image models
        draw them well enough; real images and given poses were chosen by the user, so none is dropped."""
        match values:
            case {"stages": {"estimate": {**estimate}, **stages}} if "easy" not in estimate:
                if values.get("images") or values.get("poses"):
                    return {**values, "stages": {**stages, "estimate": {**estimate, "easy": "refine"}}}
        return values

    @model_validator(mode="after")
    def _fits(self) -> JobSpec:
        generate, estimate = self.stages.generate, self.stages.estimate
        if "@" in (self.ray_address or ""):  # the address is stored and shown
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
