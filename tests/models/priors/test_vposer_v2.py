"""VPoser V02_05 in its published folder: a trainer's checkpoint, names under `vp_model.`, 512 neurons, 32 numbers."""

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from factory.errors import UserError
from factory.geometry.rotations import axis_angle_to_matrix
from factory.models.priors.choice import load_prior

SHAPES = {  # written down from the published file, not from this code
    "encoder_net.1": (63,),
    "encoder_net.2": (512, 63),
    "encoder_net.4": (512,),
    "encoder_net.6": (512, 512),
    "encoder_net.7": (512, 512),
    "encoder_net.8.mu": (32, 512),
    "encoder_net.8.logvar": (32, 512),
    "decoder_net.0": (512, 32),
    "decoder_net.3": (512, 512),
    "decoder_net.5": (126, 512),
}
POSES = np.random.default_rng(0).normal(0, 0.4, (5, 69)).astype(np.float32)


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in SHAPES.items():
        made[f"vp_model.{name}.weight"] = torch.randn(shape, generator=random) / shape[-1] ** 0.5
        made[f"vp_model.{name}.bias"] = torch.randn(shape[:1], generator=random) / 10
        if len(shape) == 1:
            made[f"vp_model.{name}.running_mean"] = torch.randn(shape, generator=random) / 10
            made[f"vp_model.{name}.running_var"] = torch.rand(shape, generator=random) + 0.5
            made[f"vp_model.{name}.num_batches_tracked"] = torch.tensor(7)
    made["bm_train.J_regressor"] = torch.zeros(3)  # what the trainer measured its loss with
    return made


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The checkpoint also names the trainer's classes, as PyTorch Lightning writes them."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (dict,), {"__module__": name})
    content = {
        "epoch": 13,
        "state_dict": state(),
        "callbacks": {module.ModelCheckpoint: {"best_model_score": torch.tensor(0.03)}},
        "hyper_parameters": module.ModelCheckpoint(expr_id="V02_05"),
    }
    folder = tmp_path / "V02_05"
    (folder / "snapshots").mkdir(parents=True)
    parts = name.split(".")
    with monkeypatch.context() as patch:  # only while it is written
        for i in range(1, len(parts)):
            patch.setitem(sys.modules, ".".join(parts[:i]), types.ModuleType(parts[i - 1]))
        patch.setitem(sys.modules, name, module)
        torch.save(content, folder / "snapshots" / "V02_05_epoch=13_val_loss=0.03.ckpt")
    (folder / "V02_05.yaml").write_text("model_params:\n  latentD: 32\n  num_neurons: 512\n")
    return folder


def reference(body_pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The published encoder, written out: batch norm, linear, leaky, batch norm, linear, linear; softplus."""
    s = {name.removeprefix("vp_model."): value for name, value in state().items()}

    def norm(x, name):
        x = (x - s[f"{name}.running_mean"]) / torch.sqrt(s[f"{name}.running_var"] + 1e-5)
        return x * s[f"{name}.weight"] + s[f"{name}.bias"]

    def linear(x, name):
        return x @ s[f"{name}.weight"].T + s[f"{name}.bias"]

    x = linear(norm(body_pose, "encoder_net.1"), "encoder_net.2")
    x = norm(torch.where(x > 0, x, 0.01 * x), "encoder_net.4")
    x = linear(linear(x, "encoder_net.6"), "encoder_net.7")
    return linear(x, "encoder_net.8.mu"), torch.log1p(linear(x, "encoder_net.8.logvar").exp())


def test_the_published_checkpoint_is_read(folder):
    prior = load_prior("vposer-v2", str(folder))
    mean, deviation = prior.encode(POSES)
    mu, sigma = reference(torch.from_numpy(POSES[:, :63]))
    np.testing.assert_allclose(mean, mu, atol=1e-4)
    np.testing.assert_allclose(deviation, sigma, atol=1e-4)
    expected = mu.square().sum(1) + sigma.square().sum(1)
    np.testing.assert_allclose(prior.score(POSES, [0] * 5, "expected"), expected, rtol=1e-4)
    assert not np.array_equal(prior.score(POSES, [0] * 5), prior.score(POSES, [1] * 5))


def test_codes_become_poses(folder):
    prior = load_prior("vposer-v2", str(folder))
    codes = np.random.default_rng(1).normal(size=(4, 32)).astype(np.float32)
    poses = prior.decode(codes)
    assert poses.shape == (4, 63) and poses.dtype == np.float32
    with torch.no_grad():
        turns = prior.network.decode(torch.from_numpy(codes))
    torch.testing.assert_close(axis_angle_to_matrix(torch.from_numpy(poses).view(4, 21, 3)), turns, atol=1e-4, rtol=0)


def test_the_authors_package_agrees(folder):
    package = pytest.importorskip("human_body_prior.models.vposer_model", reason="the package of VPoser v2")
    sizes = types.SimpleNamespace(model_params=types.SimpleNamespace(num_neurons=512, latentD=32))
    theirs = package.VPoser(sizes).eval()
    theirs.load_state_dict({k.removeprefix("vp_model."): v for k, v in state().items() if k.startswith("vp_model.")})
    mean, _ = load_prior("vposer-v2", str(folder)).encode(POSES)
    np.testing.assert_allclose(mean, theirs.encode(torch.from_numpy(POSES[:, :63])).mean.detach(), atol=1e-5)


class Boom:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_runs_no_code(folder):
    snapshot = next(folder.glob("snapshots/*.ckpt"))
    torch.save({"state_dict": state(), "hidden": Boom(folder / "ran")}, snapshot)
    with pytest.raises(UserError):
        load_prior("vposer-v2", str(folder))
    snapshot.write_bytes(pickle.dumps(Boom(folder / "ran")))
    with pytest.raises(UserError):
        load_prior("vposer-v2", str(folder))
    assert not (folder / "ran").exists()


def test_bad_folders_are_refused_in_one_line(folder, tmp_path, tiny_vposer):
    with pytest.raises(UserError, match=r"lacks snapshots/\*.ckpt; get V02_05 from .*after registration"):
        load_prior("vposer-v2", str(tiny_vposer))  # a v1 folder
    snapshot = next(folder.glob("snapshots/*.ckpt"))
    whole = snapshot.read_bytes()
    snapshot.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="V02_05_epoch=13.*damaged"):
        load_prior("vposer-v2", str(folder))
    for name, value, words in (
        ("encoder_net.7.weight", None, "encoder_net.7.weight"),
        ("encoder_net.8.mu.weight", torch.zeros(16, 512), r"torch.Size\(\[16, 512\]\)"),
    ):
        changed = state() | {f"vp_model.{name}": value}
        torch.save({"state_dict": {k: v for k, v in changed.items() if v is not None}}, snapshot)
        with pytest.raises(UserError, match=f"other layers than vposer-v2.*{words}"):
            load_prior("vposer-v2", str(folder))
    torch.save([1], snapshot)
    with pytest.raises(UserError, match="other layers"):
        load_prior("vposer-v2", str(folder))
