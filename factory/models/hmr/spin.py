"""SPIN (Kolotouros et al. 2019): a ResNet and HMR's iterative regressor give the body of the person in a crop.

The parameters have SPIN's own names, so that its published checkpoint loads; the starter's network is in `part_hmr`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from factory.errors import UserError
from factory.geometry.crops import LOOSE
from factory.geometry.rotations import sixd_to_matrix
from factory.home import at_home
from factory.models.hmr.crop import CropHMR
from factory.models.hmr.part_hmr import JOINTS, SHAPES, PartHMR
from factory.models.hmr.resnet import ResNet
from factory.weights import catalogue
from factory.weights.files import read_json
from factory.weights.locate import resolve
from factory.weights.pickles import load_checkpoint, load_npz, require_finite

MEAN_PARAMS = catalogue.SPIN.beside
GET = f"get {catalogue.SPIN.origin}"
SPIN = {"layers": [3, 4, 6, 3], "width": 64, "hidden": 1024, "crop": 224}


class SpinHMR(ResNet):
    """layers: blocks of each stage; width: channels of the first; hidden: width of the regressor; crop: side of the
    input in px."""

    init_pose: Tensor
    init_shape: Tensor
    init_cam: Tensor

    def __init__(self, layers: list[int], width: int, hidden: int, crop: int) -> None:
        super().__init__(layers, width)
        self.config: dict[str, Any] = {"layers": list(layers), "width": width, "hidden": hidden, "crop": crop}
        self.avgpool = nn.AdaptiveAvgPool2d(1)  # at 224 px the same as SPIN's AvgPool2d(7)
        self.fc1 = nn.Linear(self.channels[-1] + 6 * JOINTS + SHAPES + 3, hidden)
        self.drop1 = nn.Dropout()
        self.fc2 = nn.Linear(hidden, hidden)
        self.drop2 = nn.Dropout()
        self.decpose = nn.Linear(hidden, 6 * JOINTS)
        self.decshape = nn.Linear(hidden, SHAPES)
        self.deccam = nn.Linear(hidden, 3)
        for head in (self.decpose, self.decshape, self.deccam):
            nn.init.xavier_uniform_(head.weight, gain=0.01)  # start near the mean body
        identity = torch.tensor([[1.0, 0, 0, 1, 0, 0]])
        self.register_buffer("init_pose", identity.repeat(1, JOINTS))  # checkpoints bring the mean pose
        self.register_buffer("init_shape", torch.zeros(1, SHAPES))
        self.register_buffer("init_cam", torch.tensor([[0.9, 0, 0]]))

    def forward(self, x: Tensor, iterations: int = 3) -> tuple[Tensor, Tensor, Tensor]:
        """x (N, 3, crop, crop), ImageNet-normalised RGB -> rotations (N, 24, 3, 3), betas (N, 10), camera (N, 3)."""
        features = self.avgpool(self.stages(x)[-1]).flatten(1)
        pose, shape, camera = (start.expand(len(x), -1) for start in (self.init_pose, self.init_shape, self.init_cam))
        for _ in range(iterations):
            state = torch.cat([features, pose, shape, camera], 1)
            state = self.drop2(self.fc2(self.drop1(self.fc1(state))))
            pose = pose + self.decpose(state)
            shape = shape + self.decshape(state)
            camera = camera + self.deccam(state)
        return sixd_to_matrix(pose.view(-1, JOINTS, 6)), shape, camera


def load_hmr_network(model: str) -> SpinHMR | PartHMR:
    """The network of a folder or of a checkpoint file of SPIN, in float32 and eval mode.

    A folder holds config.json and model.safetensors; a config with `parts` is of the starter's network, one without of
    SPIN's. A checkpoint has the key 'model'; the mean pose that the network starts from is in the checkpoint too, or in
    SPIN's smpl_mean_params.npz beside it. UserError when the model is missing or damaged, does not fit its config, or
    holds anything but plain tensors.
    """
    path = Path(model)
    if path.is_dir():
        config, weights = _folder(path)
    elif path.is_file():
        config, weights = SPIN, _checkpoint(path)
    else:
        raise UserError(f"HMR model not found: {model}; {GET}, or give a folder of its layout, or starter:hmr")
    label = f"HMR model {model}"
    strange = next((name for name, value in weights.items() if not isinstance(value, Tensor)), None)
    if strange is not None:
        raise UserError(f"{label}: {strange} is a {type(weights[strange]).__name__}, not a tensor; {GET}")
    weights = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    require_finite(weights, label)
    try:
        network = (PartHMR if "parts" in config else SpinHMR)(**config)
        # Not strict: old checkpoints lack num_batches_tracked, training ones carry more than the network.
        missing = network.load_state_dict(weights, strict=False).missing_keys
    except (RuntimeError, TypeError) as error:
        words = str(error).splitlines()[-1].strip()
        raise UserError(f"HMR model {model} does not fit {config}: {words}") from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing:
        raise UserError(f"HMR model {model} lacks {len(missing)} parameters, first {missing[0]}; is it SPIN's? {GET}")
    return network.eval()


def _folder(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors.torch import load_file

    files = path / "config.json", path / "model.safetensors"
    for file in files:
        if not file.is_file():
            raise UserError(f"HMR model {path}: {file.name} is missing; give config.json and model.safetensors")
    config = read_json(files[0], f"HMR model {path}")
    try:
        return config, load_file(files[1])
    except Exception as error:  # safetensors' own
        raise UserError(f"HMR model {path}: {error}; its model.safetensors is damaged") from error


def _checkpoint(path: Path) -> dict[str, Tensor]:
    stored = load_checkpoint(path, "HMR model")
    if not isinstance(stored, dict) or not isinstance(stored.get("model"), dict):
        raise UserError(f"HMR model {path} is no SPIN checkpoint (a dict with the key 'model'); {GET}")
    weights = dict(stored["model"])
    mean = path.with_name(MEAN_PARAMS)
    if "init_pose" not in weights and mean.is_file():
        names = {"init_pose": "pose", "init_shape": "shape", "init_cam": "cam"}
        arrays = load_npz(mean, "SPIN's mean parameters", names.values())
        lacks = [name for name in names.values() if name not in arrays]
        if lacks:
            raise UserError(f"{mean} lacks {', '.join(lacks)}; {GET}")
        weights |= {ours: torch.from_numpy(arrays[theirs].reshape(1, -1).copy()) for ours, theirs in names.items()}
    return weights


def load_spin(model: str, device: str | torch.device = "cpu", crop_scale: float = LOOSE) -> CropHMR:
    """SPIN's checkpoint file, or a folder with a network trained here: SPIN's or the starter's.

    SPIN's own checkpoint sees what SPIN's code shows it: crops of whole pixels. A folder holds a network trained here,
    on crops to a fraction of a pixel. Either way the camera's crop is the one that was cut. UserError as
    `load_hmr_network`.
    """
    path = at_home(resolve(model))
    network = load_hmr_network(str(path)).to(device)
    return CropHMR(network, network.config["crop"], torch.device(device), crop_scale, snap=path.is_file())
