import pickle
import shutil
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from factory.errors import UserError
from factory.geometry.crops import cut, cut_box, normalise, square_crop, whole_pixels
from factory.models.hmr.base import PER_PERSON
from factory.models.hmr.spin import load_hmr_network, load_spin
from tests.support.spin_layout import spin_shapes


@pytest.fixture(scope="module")
def spin_checkpoint(tmp_path_factory) -> Path:
    """A file as SPIN's trainer writes it, full size, with values that show in the output."""
    random = torch.Generator().manual_seed(0)
    state = {name: torch.randn(shape, generator=random) / prod(shape[1:]) for name, shape in spin_shapes().items()}
    state |= {name: value.abs() + 0.5 for name, value in state.items() if name.endswith("running_var")}
    path = tmp_path_factory.mktemp("spin") / "model_checkpoint.pt"
    torch.save({"model": state, "epoch": 60, "batch_idx": 0, "total_step_count": 1}, path)
    return path


def test_loads_spins_own_checkpoint(spin_checkpoint):
    network = load_hmr_network(str(spin_checkpoint))
    stored = torch.load(spin_checkpoint, weights_only=True)["model"]
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert state.keys() == stored.keys()
    assert all(torch.equal(state[name], stored[name]) for name in stored)
    assert not network.training
    with torch.no_grad():
        rotations, betas, camera = network(torch.zeros(1, 3, 224, 224))
    assert rotations.shape == (1, 24, 3, 3) and betas.shape == (1, 10) and camera.shape == (1, 3)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(1, 24), atol=1e-4, rtol=0)


class Boom:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_runs_no_code(tmp_path):
    path = tmp_path / "evil.pt"
    torch.save({"model": {}, "extra": Boom(tmp_path / "ran")}, path)
    with pytest.raises(UserError, match="more than tensors"):
        load_hmr_network(str(path))
    assert not (tmp_path / "ran").exists()


def test_bad_models_are_refused_in_one_line(tmp_path, tiny_hmr):
    with pytest.raises(UserError, match="not found"):
        load_hmr_network(str(tmp_path / "absent.pt"))
    with pytest.raises(UserError, match="config.json is missing"):
        load_hmr_network(str(tmp_path))
    torch.save({"model": {"conv1.weight": torch.zeros(64, 3, 7, 7)}}, tmp_path / "part.pt")
    with pytest.raises(UserError, match="lacks .* parameters"):
        load_hmr_network(str(tmp_path / "part.pt"))
    torch.save({"model": {"conv1.weight": torch.zeros(8, 3, 7, 7)}}, tmp_path / "small.pt")
    with pytest.raises(UserError, match="does not fit.*conv1.weight"):
        load_hmr_network(str(tmp_path / "small.pt"))
    folder = shutil.copytree(tiny_hmr, tmp_path / "cut")
    (folder / "model.safetensors").write_bytes((tiny_hmr / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(UserError, match="cut: .*model.safetensors is damaged"):
        load_hmr_network(str(folder))
    (tmp_path / "plain.pt").write_bytes(pickle.dumps([1], 2))
    with pytest.raises(UserError):
        load_hmr_network(str(tmp_path / "plain.pt"))


def test_crop_is_square_on_the_longer_side():
    np.testing.assert_allclose(square_crop(np.array([10, 20, 40, 120]), 1.2), [25, 70, 120])


def test_cut_inside_is_a_plain_antialiased_resize():
    image = np.random.default_rng(0).integers(0, 256, (100, 120, 3), np.uint8)
    expected = Image.fromarray(image[20:84, 30:94]).resize((32, 32), Image.Resampling.BILINEAR)
    inner = slice(1, -1)  # at its rim the filter may see what lies around the crop
    actual = cut(image, np.array([62, 52, 64]), 32)
    np.testing.assert_array_equal(actual[inner, inner], np.asarray(expected)[inner, inner])
    checkers = np.indices((128, 128)).sum(0)[..., None].repeat(3, 2) % 2 * 255
    assert 110 < cut(checkers.astype(np.uint8), np.array([64, 64, 128]), 32).mean() < 145
    assert cut(checkers.astype(np.uint8), np.array([64, 64, 128]), 32).std() < 20


def test_cut_beyond_the_image_is_black_and_keeps_its_place():
    image = np.full((50, 50, 3), 200, np.uint8)
    out = cut(image, np.array([0, 25, 100]), 20)  # the left half lies outside, so do the top and bottom quarters
    assert out.shape == (20, 20, 3)
    assert (out[:, :9] == 0).all() and (out[6:14, 11:] == 200).all() and (out[:4] == 0).all() and (out[16:] == 0).all()
    assert (cut(image, np.array([500, 500, 60]), 20) == 0).all()


def test_normalise_is_imagenets():
    grey = normalise(np.full((1, 2, 2, 3), 255, np.uint8))
    assert grey.shape == (1, 3, 2, 2)
    np.testing.assert_allclose(grey[0, :, 0, 0], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], 1e-5)


def test_people_come_back_to_their_images(tiny_hmr):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(3)]
    boxes = [np.array([[0, 0, 30, 60], [20, 10, 60, 50]]), np.zeros((0, 4)), np.array([[5, 5, 50, 40]])]
    hmr = load_spin(str(tiny_hmr))
    found = hmr.estimate(images, boxes)
    assert [len(some) for some in found] == [2, 0, 1]
    [alone] = hmr.estimate(images[2:], boxes[2:])
    for name in PER_PERSON:
        np.testing.assert_allclose(getattr(found[2], name), getattr(alone, name), atol=1e-4)
    np.testing.assert_allclose(found[0].crop[1], square_crop(boxes[0][1], 1.2))
    assert [len(some) for some in hmr.estimate(images, [np.zeros((0, 4))] * 3)] == [0, 0, 0]


def spins_box(x: float, y: float, side: float) -> list[int]:
    """left, top, right, bottom by SPIN's `transform`: the corners through the inverse matrix, `astype(int)`, plus 1,
    and minus 1 in `crop`. Written down from its formula: t = res / h, offset res (-c / h + 1/2)."""
    res = 224
    matrix = np.array([[res / side, 0, res * (-x / side + 0.5)], [0, res / side, res * (-y / side + 0.5)], [0, 0, 1]])
    corners = [np.linalg.inv(matrix) @ [at - 1, at - 1, 1] for at in (1, res + 1)]
    return [int(value) for corner in corners for value in (corner[:2].astype(int) + 1 - 1)]


def test_spins_checkpoint_sees_the_pixels_that_spins_code_cuts():
    """Its edges lose their fractions, also towards 0 outside the image; the camera's crop is the box that was cut."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (90, 100, 3), np.uint8)
    for x, y, side in rng.uniform([-10, -10, 20], [110, 100, 80], (50, 3)):
        (left, top, width, height), exact = whole_pixels(np.array([x, y, side]))
        x0, y0, x1, y1 = spins_box(x, y, side)
        assert [left, top, left + width, top + height] == [x0, y0, x1, y1]
        np.testing.assert_allclose(exact, [(x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0 + y1 - y0) / 2])
        canvas = np.zeros((300, 300, 3), np.uint8)  # the image in a wide black surround
        canvas[100:190, 100:200] = image
        theirs = Image.fromarray(canvas[100 + y0 : 100 + y1, 100 + x0 : 100 + x1])
        ours = cut_box(image, (left, top, width, height), 64)
        # Pillow filters past the edges of a box inside a picture; SPIN's crop ends there.
        inner = slice(2, -2)
        wanted = np.asarray(theirs.resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
        np.testing.assert_allclose(ours[inner, inner], wanted[inner, inner], atol=1)  # its fixed-point rounding


def test_only_spins_own_file_is_cut_at_whole_pixels(spin_checkpoint, tiny_hmr):
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    box = np.array([[10.3, 5.1, 40.9, 60.2]])
    spin, ours = (load_spin(str(model)).estimate([image], [box])[0].crop[0] for model in (spin_checkpoint, tiny_hmr))
    np.testing.assert_allclose(ours, square_crop(box[0], 1.2))
    np.testing.assert_allclose(spin, whole_pixels(ours)[1])
    assert spin[2] == int(spin[2]) and not np.array_equal(spin, ours)


def test_nan_in_a_network_is_one_line(tmp_path, spin_checkpoint):
    stored = torch.load(spin_checkpoint, weights_only=True)
    stored["model"]["layer3.2.conv1.weight"][0, 0] = torch.nan
    torch.save(stored, tmp_path / "m.pt")
    with pytest.raises(UserError, match="HMR model .*m.pt: layer3.2.conv1.weight is not finite everywhere"):
        load_hmr_network(str(tmp_path / "m.pt"))
    torch.save({"model": {"conv1.weight": "text"}}, tmp_path / "m.pt")
    with pytest.raises(UserError, match="conv1.weight is a str, not a tensor"):
        load_hmr_network(str(tmp_path / "m.pt"))
