"""The catalogue of model kinds: what a file or folder of each kind holds, where to get it, and under which licence.

The doctor, the card, the check before a run and the loaders' error messages all read these entries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from factory.errors import UserError
from factory.home import at_home
from factory.job import JobSpec
from factory.weights.locate import PREFIX, resolve

STARTER_LICENCE = "Apache-2.0"  # of every part of the starter pack


@dataclass(frozen=True)
class Package:
    """A Python package that a loader imports and that is no dependency of the factory.

    name: as pip knows it; module: what is imported; install: the command, and what to mind.
    """

    name: str
    module: str
    install: str


@dataclass(frozen=True)
class CheckpointLayout:
    """A file of torch.save, as one kind of model has it.

    pattern: where it lies in the model's folder; empty: the model is this file.
    key: the entry that holds the tensors; empty: the file holds them at its top.
    layers: ends of some tensors' names, by which the kind is told from others.
    """

    pattern: str = ""
    key: str = ""
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelKind:
    """One kind of model that a job may name.

    title: what error messages call such a model.
    published: the file, folder or hub id under its authors' name.
    source: where that can be had, worded to follow "from"; empty where it is not known.
    licence: in words for the doctor and the card.
    file: whether a single file is accepted.
    contents: patterns of `Path.glob` that an accepted folder has a match for, each; empty: no folder is accepted.
    beside: a second file that the loader reads from the folder of the single file.
    checkpoint: the file of torch.save that holds the weights; None: they come in other files.
    hub: whether the model may be named by a hub id.
    package: what the loader imports beyond the factory's own dependencies.
    word: in the lower-case name of a diffusion model, what tells this release from others.
    """

    title: str
    published: str = ""
    source: str = ""
    licence: str = "not known: ask its source"
    file: bool = False
    contents: tuple[str, ...] = ()
    beside: str = ""
    checkpoint: CheckpointLayout | None = None
    hub: bool = False
    package: Package | None = None
    word: str = ""

    @property
    def origin(self) -> str:
        """What to get, where and under which licence, such as `V02_05 from https://... (non-commercial)`."""
        return f"{self.published} from {self.source} ({self.licence})"

    @property
    def remedy(self) -> str:
        """The end of a sentence that says that such a model is missing; empty where no source is known."""
        return f"; get {self.origin}" if self.source else ""

    def find(self, model: str) -> Path:
        """The file or folder that a job's `model` names. UserError where there is none, or as `require`."""
        path = at_home(resolve(model))
        if not path.exists():
            raise UserError(f"{self.title} not found: {model}{self.remedy}")
        self.require(path, model)
        return path

    def checkpoint_in(self, path: Path) -> Path | None:
        """The checkpoint of a model that lies at `path`: of several in its folder the last by name, since time stamps
        do not survive a copy. None where the weights come in other files."""
        if self.checkpoint is None or path.is_file():
            return path if self.checkpoint else None
        return max(path.glob(self.checkpoint.pattern), default=None) if self.checkpoint.pattern else None

    def require(self, path: Path, model: str) -> None:
        """UserError where the path is a folder and a file is wanted, or the reverse, or where the folder lacks one of
        `contents`. Opens nothing."""
        if path.is_dir() and not self.contents and self.file:
            raise UserError(f"{self.title} {model} is a folder; a file is wanted, such as {self.origin}")
        if path.is_file() and not self.file and self.contents:
            raise UserError(f"{self.title} {model} is a file; a folder is wanted, with {' and '.join(self.contents)}")
        for pattern in self.contents if path.is_dir() else ():
            if not any(path.glob(pattern)):
                raise UserError(f"{self.title} {model} lacks {pattern}{self.remedy}")


SIMPLE_ROMP = Package(
    "simple_romp",
    "bev",
    "pip install cython numpy && pip install --no-build-isolation --no-deps simple_romp opencv-python",
)
PEFT = Package("peft", "peft", "pip install -c constraints.txt peft; a LoRA adapter needs it")

SMPL = ModelKind(
    "body model",
    published="SMPL_NEUTRAL.pkl or .npz (or _MALE, _FEMALE)",
    source="https://smpl.is.tue.mpg.de after registration",
    licence="non-commercial",
    file=True,
    beside="J_regressor_extra.npy",  # SPIN's regressor of nine further joints
)
H36M_REGRESSOR = ModelKind(
    "joint regressor",
    published="J_regressor_h36m.npy",
    source="SPIN's fetch_data.sh, to lie beside the body model",
    licence="bound to SMPL's, non-commercial",
    file=True,
)
SPIN = ModelKind(
    "HMR model",
    published="model_checkpoint.pt",
    source="SPIN's fetch_data.sh",
    licence="bound to SMPL's, non-commercial",
    file=True,
    contents=("config.json", "model.safetensors"),  # the starter's layout
    beside="smpl_mean_params.npz",
    checkpoint=CheckpointLayout(
        key="model", layers=("layer4.2.conv3.weight", "decpose.weight", "decshape.weight", "deccam.weight")
    ),
)
BEV = ModelKind(
    "HMR model",
    published="BEV.pth",
    source="the releases of https://github.com/Arthur151/ROMP",
    licence="see its repository, bound to SMPL's",
    file=True,
    checkpoint=CheckpointLayout(),
    package=SIMPLE_ROMP,
)
VPOSER_V1 = ModelKind(
    "pose prior",
    published="vposer_v1_0 (VPoser v1.0)",
    source="https://smpl-x.is.tue.mpg.de after registration",
    licence="non-commercial",
    contents=("snapshots/*.pt", "*.ini"),
    checkpoint=CheckpointLayout("snapshots/*.pt", layers=("bodyprior_enc_fc1.weight", "bodyprior_dec_out.weight")),
)
VPOSER_V2 = replace(
    VPOSER_V1,
    published="V02_05",
    contents=("snapshots/*.ckpt",),
    checkpoint=CheckpointLayout("snapshots/*.ckpt", "state_dict", ("encoder_net.2.weight", "decoder_net.0.weight")),
)
MASK2FORMER = ModelKind(
    "detector",
    published="facebook/mask2former-*-coco-instance",
    source="the hub",
    licence="see its model card",
    contents=("config.json", "preprocessor_config.json"),
    hub=True,
)
DETECTRON2 = ModelKind(
    "detectron2 weights",
    published="model_final_f10217.pkl of mask_rcnn_R_50_FPN_3x",
    source="detectron2's model zoo",
    licence="Apache-2.0 code",
    file=True,
    package=Package(
        "detectron2",
        "detectron2",
        # An unpinned torchvision would replace torch. detectron2's setup imports torch, which an isolated build lacks.
        "pip install -c constraints.txt torchvision && pip install -c constraints.txt --no-build-isolation "
        "'git+https://github.com/facebookresearch/detectron2' (beside a CPU build of torch no torchvision fits: a "
        "machine with a GPU is needed); or take kind mask2former",
    ),
)
DIFFUSION = ModelKind("diffusion model", contents=("model_index.json",), hub=True)
CONTROLNET = ModelKind("ControlNet", contents=("config.json",), hub=True)
ADAPTER = ModelKind(
    "adapter",
    file=True,
    contents=("pytorch_*_weights.*",),
    hub=True,
    package=PEFT,
)

INCEPTION = ModelKind(
    "FID's Inception",
    published="weights-inception-2015-12-05-6726825d.pth",
    source="the releases of https://github.com/toshas/torch-fidelity",
    licence="Apache-2.0",
    file=True,
    checkpoint=CheckpointLayout(layers=("Mixed_7c.branch1x1.conv.weight", "fc.weight")),
)
DINOV2 = ModelKind(
    "DINOv2",
    published="facebook/dinov2-large",
    source="the hub",
    licence="Apache-2.0",
    contents=("config.json", "*.safetensors"),
    hub=True,
)
CLIP = ModelKind(
    "CLIP",
    published="openai/clip-vit-large-patch14-336",
    source="the hub",
    licence="MIT",
    contents=("config.json", "*.safetensors"),
    hub=True,
)

BY_KIND = {  # the word `kind` of a job's field -> its entry
    "spin": SPIN,
    "bev": BEV,
    "vposer-v1": VPOSER_V1,
    "vposer-v2": VPOSER_V2,
    "mask2former": MASK2FORMER,
    "detectron2": DETECTRON2,
}
RELEASES = (  # of diffusion models and ControlNets, told apart by `word`; the first that fits counts
    replace(
        DIFFUSION,
        word="stable-diffusion-v1-4",
        published="CompVis/stable-diffusion-v1-4",
        source="the hub",
        licence="CreativeML OpenRAIL-M",
    ),
    replace(
        DIFFUSION,
        word="stable-diffusion-2-depth",
        published="stable-diffusion-2-depth",
        source="a mirror on the hub, which the original left in November 2025",
        licence="OpenRAIL++-M",
    ),
    replace(
        CONTROLNET,
        word="controlnet-depth-sdxl",
        published="diffusers/controlnet-depth-sdxl-1.0",
        source="the hub",
        licence="OpenRAIL++-M",
    ),
    replace(
        CONTROLNET,
        word="control_v11f1p",
        published="lllyasviel/control_v11f1p_sd15_depth",
        source="the hub",
        licence="CreativeML OpenRAIL-M",
    ),
    replace(
        DIFFUSION,
        word="stable-diffusion-xl",
        published="stabilityai/stable-diffusion-xl-base-1.0",
        source="the hub",
        licence="OpenRAIL++-M",
    ),
    replace(
        DIFFUSION,
        word="flux",
        published="black-forest-labs' FLUX",
        source="the hub after login",
        licence="see its model card; FLUX.1-dev is non-commercial",
    ),
)


@dataclass(frozen=True)
class Need:
    """A model that a job names. field: dotted, as in the job; revision: of a hub id."""

    field: str
    model: str
    kind: ModelKind
    revision: str | None = None

    @property
    def embedded(self) -> bool:
        """Whether the model is a part of the starter pack."""
        return self.model.startswith(PREFIX)

    @property
    def licence(self) -> str:
        """The licence of the model, in words for the card."""
        return STARTER_LICENCE if self.embedded else self.kind.licence

    @property
    def remedy(self) -> str:
        """The end of a sentence that says that the model is not here; empty where no source is known."""
        if self.embedded:
            return "; it is part of a full checkout of this repository"
        return self.kind.remedy


def evaluation_needs(job: JobSpec | None = None) -> dict[str, Need]:
    """Kind of features -> the weights that they are made with and where they are looked for if no other place is named;
    `regressor`: the one beside the body model, the job's or SMPL's."""
    body = job.body.model if job and not job.body.model.startswith(PREFIX) else "models/smpl/SMPL_NEUTRAL.npz"
    beside = str(Path(body).with_name(H36M_REGRESSOR.published))
    return {
        "inception": Need("images: inception", f"weights/{INCEPTION.published}", INCEPTION),
        "dinov2": Need("images: dinov2", DINOV2.published, DINOV2),
        "clip": Need("images: clip", CLIP.published, CLIP),
        "regressor": Need("hmr: joint regressor", beside, H36M_REGRESSOR),
    }


def needs(job: JobSpec) -> list[Need]:
    """Every model that the job names, in the order of use."""
    generate, estimate, refine = job.stages.generate, job.stages.estimate, job.stages.refine
    prior, detector, hmr = estimate.prior, estimate.detector, estimate.hmr
    named = []
    if generate.model and not job.images:
        kind = release(DIFFUSION, generate.model)
        named.append(Need("stages.generate.model", generate.model, kind, generate.revision))
        if generate.adapter:
            named.append(Need("stages.generate.adapter", generate.adapter, ADAPTER))
    if hmr:
        kind = BY_KIND.get(hmr.kind, ModelKind("HMR model"))  # other kinds come with packages of others
        named.append(Need("stages.estimate.hmr.model", hmr.model, kind))
    named += [
        Need("stages.estimate.prior.model", prior.model, BY_KIND[prior.kind]),
        Need("stages.estimate.detector.model", detector.model, BY_KIND[detector.kind]),
        Need("body.model", job.body.model, SMPL),
        Need("stages.refine.model", refine.model, release(DIFFUSION, refine.model), refine.revision),
    ]
    if refine.controlnet:
        named.append(Need("stages.refine.controlnet", refine.controlnet, release(CONTROLNET, refine.controlnet)))
    if refine.adapter:
        named.append(Need("stages.refine.adapter", refine.adapter, ADAPTER))
    return named


def release(kind: ModelKind, model: str) -> ModelKind:
    """The entry of RELEASES whose word is in the model's name; `kind` itself where none is."""
    name = model.lower()
    return next((entry for entry in RELEASES if entry.title == kind.title and entry.word in name), kind)
