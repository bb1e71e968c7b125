"""The job file: a complete, typed description of one data set.

Every field is documented here and nowhere else; `factory schema` exports the same texts as JSON Schema. A model is
given as a folder, as a hub id, or as `starter:NAME` for a part of the starter pack that comes with the factory.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from factory.job_stages import Model, Spec, StagesSpec

STORED = {"stored": True}  # pydantic's context when a job that a run has stored is validated


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
