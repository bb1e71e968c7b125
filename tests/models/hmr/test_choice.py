"""Estimators by other packages, given keypoints, and BEV through the package that its users install."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from factory.errors import UserError
from factory.geometry.body import BodyModel
from factory.geometry.camera import project
from factory.geometry.crops import keypoint_crop, square_crop
from factory.geometry.placing import place_bodies
from factory.models.bad_answer import BadAnswer
from factory.models.hmr import bev
from factory.models.hmr.base import estimate_bodies
from factory.models.hmr.choice import kinds, load_hmr
from factory.models.hmr.crop import CropHMR
from factory.models.hmr.spin import load_hmr_network, load_spin

PLUGIN = """
import torch
from factory.models.hmr.crop import CropHMR

def load(model, device, crop_scale):
    betas = torch.tensor([float(model)] * 10)

    def predict(crops):
        assert crops.shape[1:] == (3, 32, 32)
        count = len(crops)
        return torch.eye(3).expand(count, 24, 3, 3), betas.expand(count, 10), torch.tensor([0.9, 0, 0]).expand(count, 3)

    return CropHMR(predict, 32, device, crop_scale)
"""
OF_WHOLE_IMAGES = """
import numpy as np
from factory.models.hmr.base import BodyEstimate

class Finder:
    finds = True

    def estimate(self, images, boxes):
        return [self.everybody(image) for image in images]

    def everybody(self, image):
        height, width = image.shape[:2]
        crop, camera = np.array([[width / 2, height / 2, width]]), np.array([[0.9, 0, 0]])
        upright = np.pi * np.eye(1, 3)
        return BodyEstimate(upright, np.zeros((1, 69)), np.zeros((1, 10)), camera, crop, score=np.array([0.7]))

def load(model, device, crop_scale):
    return Finder()
"""
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


@pytest.fixture
def installed(tmp_path, monkeypatch) -> None:
    """A package as pip leaves it: a module and its metadata."""
    (tmp_path / "my_hmr.py").write_text(PLUGIN)
    (tmp_path / "my_finder.py").write_text(OF_WHOLE_IMAGES)
    metadata = tmp_path / "my_hmr-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-hmr\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[factory.hmr]\nmine = my_hmr:load\nwhole = my_finder:load\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("my_hmr", "my_finder"):
        sys.modules.pop(name, None)


def test_an_installed_package_brings_an_estimator(installed):
    assert kinds() == ["spin", "bev", "mine", "whole"]
    hmr = load_hmr("mine", "0.5", crop_scale=2.0)
    found = hmr.estimate([IMAGE], [np.array([[10, 20, 30, 60], [40, 5, 60, 55]])])
    assert len(found[0]) == 2 and not hmr.finds
    assert found[0].betas[0].tolist() == [0.5] * 10
    np.testing.assert_allclose(found[0].crop[1], [50, 30, 100])


def test_an_installed_package_may_look_at_whole_images(installed):
    hmr = load_hmr("whole", "no file")
    found = estimate_bodies(hmr, [IMAGE, IMAGE[:32]], None)
    assert hmr.finds and [len(people) for people in found] == [1, 1]
    assert found[0].crop.tolist() == [[48, 32, 96]] and found[1].score.tolist() == [np.float32(0.7)]


def test_an_unknown_kind_is_told_what_there_is(tiny_hmr):
    with pytest.raises(UserError, match="hmr.kind: no hmr2; there are spin, bev .*factory.hmr"):
        load_hmr("hmr2", "x")
    assert isinstance(load_hmr("spin", str(tiny_hmr)), CropHMR)


def test_crops_from_keypoints(tiny_hmr):
    """The box of those that are known, or three torsos where that is more."""
    points = np.zeros((49, 3), np.float32)
    points[25 + 9], points[25 + 3] = (50, 20, 1), (50, 40, 1)  # left shoulder and hip, 20 px apart
    np.testing.assert_allclose(keypoint_crop(points, 1.2), [50, 30, 60])
    points[25] = (50, 120, 1)  # an ankle
    np.testing.assert_allclose(keypoint_crop(points, 1.2), [50, 70, 120])
    by_points = load_spin(str(tiny_hmr)).estimate([IMAGE], [points[None]])[0]
    by_box = load_spin(str(tiny_hmr)).estimate([IMAGE], [np.array([[50, 20, 50, 120]])])[0]
    np.testing.assert_array_equal(by_points.body_pose, by_box.body_pose)
    with pytest.raises(ValueError, match="no keypoint"):
        keypoint_crop(np.zeros((49, 3)), 1.2)


def test_spins_mean_parameters_may_lie_beside_the_checkpoint(tmp_path):
    from tests.support.spin_layout import spin_shapes

    state = {name: torch.zeros(shape) for name, shape in spin_shapes().items() if not name.startswith("init_")}
    path = tmp_path / "model_checkpoint.pt"
    torch.save({"model": state}, path, _use_new_zipfile_serialization=False)  # as PyTorch 1.0 wrote it
    with pytest.raises(UserError, match="lacks 3 parameters, first init_pose.*fetch_data.sh"):
        load_hmr_network(str(path))
    mean = {"pose": np.arange(144.0), "shape": np.ones(10), "cam": np.array([0.9, 0, 0])}
    np.savez(tmp_path / "smpl_mean_params.npz", **mean)
    assert load_hmr_network(str(path)).init_pose[0, 143] == 143
    np.savez(tmp_path / "smpl_mean_params.npz", pose=mean["pose"])
    with pytest.raises(UserError, match="smpl_mean_params.npz lacks shape, cam"):
        load_hmr_network(str(path))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match="damaged"):
        load_hmr_network(str(path))


@pytest.fixture(scope="module")
def bev_file(tmp_path_factory) -> Path:
    """BEV.pth: the state dict of its whole network. Random weights, but sure of every centre."""
    try:
        torch.manual_seed(0)
        network = bev._network(bev.CONFIDENCE)
    except UserError as error:
        pytest.skip(str(error))
    network.det_head[-1].bias.data[0] = 4.0
    path = tmp_path_factory.mktemp("bev") / "BEV.pth"
    torch.save(network.state_dict(), path)
    return path


def test_bevs_own_network_runs(bev_file):
    hmr = load_hmr("bev", str(bev_file))
    assert hmr.finds
    assert len(hmr.estimate([IMAGE], None)) == 1  # whatever it sees with random weights


@pytest.fixture
def bev_answering(tmp_path, monkeypatch):
    """BEV with a network that finds the people that it is told, as rows of scale, y, x. simple_romp is not needed."""
    for name, source in LAYOUT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    torch.save({"backbone.weight": torch.ones(2, 2), "backbone.bias": torch.ones(2)}, tmp_path / "BEV.pth")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("bev", "romp")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    hmr = load_hmr("bev", str(tmp_path / "BEV.pth"))

    def answering(cameras: list, scores: list):
        params = torch.zeros(len(cameras), 3 + 22 * 6 + 11)
        params[:, :3] = torch.tensor(cameras)
        params[:, 3:135] = torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(22)
        hmr.network = lambda pixels: {"params_pred": params, "center_confs": torch.tensor(scores)}
        return hmr

    yield answering
    for name in [name for name in sys.modules if name.partition(".")[0] in ("bev", "romp")]:
        del sys.modules[name]


def test_bev_finds_people_in_its_own_camera(bev_answering):
    twin = [0.5, 0.1, -0.301]  # scale, y, x
    hmr = bev_answering([[0.5, 0.1, -0.3], [0.4, 0.0, 0.4], twin], [0.5, 0.9, 0.4])
    people = hmr.estimate([IMAGE], None)[0]
    assert len(people) == 2 and people.crop[0].tolist() == [48, 32, 96]
    K = people.K
    assert K[0, 0] == pytest.approx(48 / np.tan(np.pi / 6), rel=1e-5) and K[:2, 2].tolist() == [48, 32]
    placed = place_bodies(people, K, BodyModel("starter:body"))
    hips = placed.joints[:, [25 + 2, 25 + 3]].mean(1, keepdim=True)
    found = project(hips.numpy(), K)[:, 0]
    # Its image plane: x and y over 60 degrees, seen from the depth that its scale stands for.
    np.testing.assert_allclose(found, [[48 + 0.4 * 48, 32], [48 - 0.3 * 48, 32 + 0.1 * 48]], atol=0.05)
    scores = people.score.tolist()
    assert scores == sorted(scores, reverse=True)
    boxes = np.array([[0, 0, 90, 64], [30, 0, 120, 64], [0, 0, 10, 64]], np.float32)  # nearest: second, first, second
    by_box = hmr.estimate([IMAGE], [boxes])[0]
    assert len(by_box) == 3 and by_box.camera.tolist() == people.camera[[1, 0, 1]].tolist()


def test_a_bev_that_finds_nobody(bev_answering):
    """Neither people behind its camera nor anybody at all: an empty answer, or an error where boxes ask for bodies."""
    behind = bev_answering([[-1.0, 0.1, -0.3]], [0.9])
    assert len(behind.estimate([IMAGE], None)[0]) == 0
    behind.network = lambda pixels: None
    assert len(behind.estimate([IMAGE], None)[0]) == 0
    with pytest.raises(ValueError, match="finds nobody"):
        behind.estimate([IMAGE], [np.array([[0, 0, 9, 9]])])


def test_bev_files_that_are_not(bev_file, tmp_path):
    with pytest.raises(UserError, match="not found.*releases"):
        load_hmr("bev", str(tmp_path / "BEV.pth"))
    state = torch.load(bev_file, weights_only=True)
    first = next(iter(state))
    torch.save({name: value for name, value in state.items() if name != first}, tmp_path / "BEV.pth")
    with pytest.raises(UserError, match=f"lacks 1 parameters, first {first}"):
        load_hmr("bev", str(tmp_path / "BEV.pth"))
    torch.save({**state, first: torch.zeros(3)}, tmp_path / "BEV.pth")
    with pytest.raises(UserError, match=f"has another {first}; is it BEV's"):
        load_hmr("bev", str(tmp_path / "BEV.pth"))
    (tmp_path / "BEV.pth").write_bytes(bev_file.read_bytes()[:5000])
    with pytest.raises(UserError, match="BEV.pth is damaged"):
        load_hmr("bev", str(tmp_path / "BEV.pth"))


TRAP = """
import os, socket, subprocess, sys
from pathlib import Path

def download_model():
    os.system("true")  # pip install wget
    subprocess.run(["true"])
    Path.home().joinpath(".romp").mkdir()
    socket.create_connection(("127.0.0.1", 9))

download_model()
raise SystemExit("the main module ran")
"""
LAYOUT = {  # simple_romp's: what imports what, and where its downloads start
    "bev/__init__.py": "from .main import BEV, bev_settings\n",
    "bev/main.py": "from .model import BEVv1\nfrom romp.utils import rot6D_to_angular\n" + TRAP,
    "bev/model.py": """
import torch
from romp.model import HigherResolutionNet
from .post_parser import CenterMap3D

class BEVv1(torch.nn.Module):
    def __init__(self, center_thresh):
        super().__init__()
        print("Using BEV.")
        self.backbone, self.thresh = HigherResolutionNet(), center_thresh

    def forward(self, pixels):
        from . import post_parser  # a late import needs its package once more
        from romp import utils
        return None
""",
    "bev/post_parser.py": "from romp.utils import rot6D_to_angular\nclass CenterMap3D: pass\n",
    "romp/__init__.py": "from .main import ROMP, romp_settings\nfrom .utils import rot6D_to_angular\n",
    "romp/main.py": TRAP,
    "romp/model.py": "import torch\nclass HigherResolutionNet(torch.nn.Linear):\n"
    "    def __init__(self): super().__init__(2, 2)\n",
    "romp/utils.py": "def rot6D_to_angular(x): return x\n",
}
WATCHED = """
import sys
import numpy as np, torch
from factory.models.hmr.choice import load_hmr
import scipy.sparse, smplx  # what the body model imports later

events = []
OUTSIDE = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "socket.__new__",
           "socket.connect", "socket.getaddrinfo", "urllib.Request", "ftplib.connect", "os.mkdir")
sys.addaudithook(lambda event, _: events.append(event) if event in OUTSIDE else None)
hmr = load_hmr("bev", sys.argv[1])
assert hmr.network.thresh == 0.08 and hmr.estimate([np.zeros((4, 4, 3), np.uint8)], None)[0].camera.shape == (0, 3)
assert not [name for name in sys.modules if name in ("bev.main", "romp.main")]
print("events:", events)
"""


def test_bev_is_loaded_without_a_process_or_a_download(tmp_path):
    """In a process of its own, where every process, socket and folder that Python makes is noted."""
    for name, source in LAYOUT.items():
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_text(source)
    (tmp_path / "home").mkdir()
    torch.save(
        {"module.backbone.weight": torch.ones(2, 2), "module.backbone.bias": torch.ones(2)}, tmp_path / "BEV.pth"
    )
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "site"), str(Path(__file__).parents[3])])
    run = [sys.executable, "-B", "-c", WATCHED, str(tmp_path / "BEV.pth")]
    done = subprocess.run(run, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, "events: []\n"), done.stderr
    assert not list((tmp_path / "home").iterdir())


def test_bevs_real_modules_start_nothing_either(bev_file, tmp_path):
    """The same watch over simple_romp itself, where it is installed."""
    watched = WATCHED.replace("assert hmr.network.thresh == 0.08 and", "import cv2; ").replace(
        "[0].camera.shape == (0, 3)", ""
    )
    run = [sys.executable, "-B", "-c", watched, str(bev_file)]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(run, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, "events: []\n"), done.stderr


def test_a_bev_that_answers_nan_fails_and_sees_not_nobody(bev_file):
    hmr = load_hmr("bev", str(bev_file))
    seen = torch.full((1, 3 + 22 * 6 + 11), torch.nan)
    hmr.network = lambda pixels: {"params_pred": seen, "center_confs": torch.ones(1)}
    with pytest.raises(BadAnswer, match="bev's network gives what is not finite"):
        hmr.estimate([IMAGE], None)


def test_without_simple_romp_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bev", None)
    monkeypatch.setitem(sys.modules, "bev.model", None)
    torch.save({}, tmp_path / "BEV.pth")
    with pytest.raises(UserError, match="needs simple_romp.*pip install"):
        load_hmr("bev", str(tmp_path / "BEV.pth"))


def test_square_crops_keep_a_point_a_pixel_wide():
    assert square_crop(np.array([5, 5, 5, 5]), 1.2)[2] == pytest.approx(1.2)
