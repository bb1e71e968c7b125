import shutil

import numpy as np
import pytest
import torch

from factory.errors import UserError
from factory.models.priors.choice import load_prior
from factory.weights.locate import locate

POSES = np.random.default_rng(0).normal(0, 0.4, (5, 69)).astype(np.float32)


@pytest.fixture(params=["tiny", "starter"])
def folder(request, tiny_vposer):
    if request.param == "tiny":
        return tiny_vposer
    try:
        return locate("starter:vposer")
    except UserError as error:
        pytest.skip(str(error))


def test_reads_what_the_package_itself_reads(folder):
    from human_body_prior.tools.model_loader import load_vposer

    theirs, settings = load_vposer(str(folder), vp_model="snapshot")
    assert settings.latentD == 32
    ours = load_prior("vposer-v1", str(folder))
    pose = torch.from_numpy(POSES[:, :63])
    code, expected = ours.network.encode(pose), theirs.encode(pose)
    assert torch.equal(code.mean, expected.mean) and torch.equal(code.stddev, expected.stddev)
    assert torch.equal(ours.network.decode(code.mean), theirs.decode(code.mean))


def test_the_energy_leads_to_everyday_poses(folder):
    """It is that of the code's mean, and its gradient reaches the joints that the prior knows."""
    prior = load_prior("vposer-v1", str(folder))
    poses = torch.from_numpy(POSES).requires_grad_()
    energy = prior.energy(poses)
    np.testing.assert_allclose(energy.detach(), (prior.encode(POSES)[0] ** 2).sum(1), rtol=1e-5)
    (gradient,) = torch.autograd.grad(energy.sum(), poses)
    assert (gradient[:, :63] != 0).any(1).all() and (gradient[:, 63:] == 0).all()
    assert (prior.energy(poses - 1e-3 * gradient) < energy).all()


def test_the_folders_python_is_not_run(tmp_path, tiny_vposer):
    folder = shutil.copytree(tiny_vposer, tmp_path / "vposer")
    (folder / "vposer_smpl.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    load_prior("vposer-v1", str(folder)).score(POSES, [0] * 5)
    assert not (tmp_path / "ran").exists()


def test_score_is_the_sum_of_squares(folder):
    """Not the norm: for a standard normal code of 32 numbers the former is about 32, the latter about 5.7."""
    prior = load_prior("vposer-v1", str(folder))
    code = prior.network.encode(torch.from_numpy(POSES[:1, :63]))
    expected = (code.mean.square().sum() + code.variance.sum()).item()
    assert prior.score(POSES[:1], [0], "expected")[0] == pytest.approx(expected, rel=1e-5)
    draws = prior.score(POSES[:1].repeat(2000, 0), list(range(2000)))
    assert draws.mean() == pytest.approx(expected, rel=0.05) and draws.std() > 0


def test_a_score_depends_on_its_own_seed_only(folder):
    prior = load_prior("vposer-v1", str(folder))
    together = prior.score(POSES, [7, 8, 9, 10, 11])
    assert prior.score(POSES[3:4], [10])[0] == pytest.approx(together[3], rel=1e-5)
    assert prior.score(POSES[3:4], [11])[0] != pytest.approx(together[3], rel=1e-5)
    assert prior.score(POSES[:0], []).shape == (0,)


def test_hands_do_not_count(folder):
    prior, other = load_prior("vposer-v1", str(folder)), POSES.copy()
    other[:, 63:] += 1
    np.testing.assert_array_equal(prior.score(other, [0] * 5), prior.score(POSES, [0] * 5))


def test_bad_folders_are_refused_in_one_line(tmp_path, tiny_vposer):
    with pytest.raises(UserError, match=r"lacks snapshots/\*.pt; get vposer_v1_0"):
        load_prior("vposer-v1", str(tmp_path))
    folder = shutil.copytree(tiny_vposer, tmp_path / "vposer")
    (folder / "TR00_tiny.ini").write_text("[All]\nnum_neurons : 16\nlatentD : 32\ndata_shape : [1, 21, 3]\n")
    with pytest.raises(UserError, match="other layers than vposer-v1"):
        load_prior("vposer-v1", str(folder))
    snapshot = folder / "snapshots" / "TR00_E001.pt"
    snapshot.write_bytes(snapshot.read_bytes()[:1000])
    with pytest.raises(UserError, match="TR00_E001.pt is damaged"):
        load_prior("vposer-v1", str(folder))
