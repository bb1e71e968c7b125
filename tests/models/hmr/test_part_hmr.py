import json

import pytest
import torch
from safetensors.torch import save_file

from factory.errors import UserError
from factory.models.hmr.part_hmr import PartHMR
from factory.models.hmr.spin import load_hmr_network


@pytest.fixture
def network() -> PartHMR:
    torch.manual_seed(0)
    return PartHMR([1, 1, 1, 1], 8, 32, 64, 4).eval()


def test_starts_at_the_mean_body(network):
    with torch.no_grad():
        rotations, betas, camera = network(torch.randn(2, 3, 64, 64))
    torch.testing.assert_close(rotations, torch.eye(3).expand(2, 24, 3, 3))
    assert not betas.any() and torch.equal(camera, network.init_cam.expand(2, 3))


def test_points_at_the_peak_of_each_map(network, monkeypatch):
    maps = torch.zeros(1, 24, 8, 8)
    for joint in range(24):
        maps[0, joint, joint % 8, joint // 8] = 50.0  # row, column
    monkeypatch.setattr(network.attention, "forward", lambda _: maps)
    with torch.no_grad():
        position = network.look(torch.randn(1, 3, 64, 64)).position[0]
    joint = torch.arange(24)
    expected = torch.stack([(2 * (joint // 8) + 1) / 8 - 1, (2 * (joint % 8) + 1) / 8 - 1], 1)  # centres of the cells
    torch.testing.assert_close(position, expected)


def test_a_folder_tells_its_kind(network, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(network.config))
    save_file(
        {name: value.contiguous() for name, value in network.state_dict().items()}, tmp_path / "model.safetensors"
    )
    loaded = load_hmr_network(str(tmp_path))
    assert isinstance(loaded, PartHMR) and not loaded.training
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.state_dict().items())
    (tmp_path / "config.json").write_text(json.dumps({**network.config, "hidden": 16}))
    with pytest.raises(UserError, match="does not fit"):
        load_hmr_network(str(tmp_path))
