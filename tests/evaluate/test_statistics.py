"""Every figure is held against its definition, computed in another way on the same features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from factory.evaluate.statistics import (
    SUBSETS,
    cmmd,
    frechet_distance,
    kernel_distance,
    precision_recall,
    subset_size,
)

MEASURES = [frechet_distance, cmmd, lambda x, y: kernel_distance(x, y, 40)]


def features(count: int, width: int = 24, seed: int = 0, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(width, width))  # correlated, as features are
    return torch.from_numpy(scale * rng.normal(size=(count, width)) @ mixing + shift)


X, Y = features(200, seed=1, scale=1.3, shift=0.2), features(150, seed=2)


def scipy_fid(x: Tensor, y: Tensor) -> float:
    a, b = np.cov(x.numpy(), rowvar=False), np.cov(y.numpy(), rowvar=False)
    shift = x.numpy().mean(0) - y.numpy().mean(0)
    return float(shift @ shift + np.trace(a + b - 2 * np.real(sqrtm(a @ b))))


def test_frechet_distance_is_the_formula_with_scipys_root():
    assert frechet_distance(X, Y).value == pytest.approx(scipy_fid(X, Y), rel=1e-6)


def test_frechet_distance_and_kernel_distance_are_torchmetrics():
    fid = pytest.importorskip("torchmetrics.image.fid")
    kid = pytest.importorskip("torchmetrics.image.kid")

    class Features(torch.nn.Module):
        num_features = X.shape[1]

        def forward(self, features: Tensor) -> Tensor:
            return features

    for metric, value in (
        (fid.FrechetInceptionDistance(Features(), input_img_size=(1, 1)), frechet_distance(X, Y).value),
        (kid.KernelInceptionDistance(Features(), subsets=1, subset_size=150), kernel_distance(X[:150], Y, 150).value),
    ):
        metric.set_dtype(torch.float64)
        metric.update(Y, real=True)
        metric.update(X if value == frechet_distance(X, Y).value else X[:150], real=False)
        found = metric.compute()
        assert float(found[0] if isinstance(found, tuple) else found) == pytest.approx(value, rel=1e-6)


def test_frechet_distance_of_fewer_images_than_dimensions():
    """Covariances are singular then, and a root of their product is not; a shift alone is known exactly."""
    x = features(12)
    shift = torch.linspace(-1, 2, x.shape[1], dtype=torch.float64)
    assert frechet_distance(x, x + shift).value == pytest.approx(float(shift @ shift), rel=1e-9)
    stretched = 4 * float(torch.cov(x.T).trace()) + 4 * float(x.mean(0) @ x.mean(0))  # twice as far, and as wide
    assert frechet_distance(3 * x, x).value == pytest.approx(stretched, rel=1e-9)


def test_kernel_distance_is_the_unbiased_estimate_pair_by_pair():
    x, y = X[:20].numpy(), Y[:20].numpy()

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (a @ b / len(a) + 1) ** 3

    pairs = [(i, j) for i in range(20) for j in range(20)]
    within = sum(kernel(s[i], s[j]) for s in (x, y) for i, j in pairs if i != j) / (20 * 19)
    expected = within - 2 * sum(kernel(x[i], y[j]) for i, j in pairs) / 400
    found = kernel_distance(X[:20], Y[:20], 20)  # every subset is the whole set
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert found.over_subsets and found.spread == pytest.approx(0, abs=1e-9)


def test_a_kernel_distance_is_the_mean_of_subsets_with_their_spread():
    found = kernel_distance(X, Y, 50)
    whole = kernel_distance(X[:150], Y, 150).value
    assert found.spread > 0 and abs(found.value - whole) < 4 * found.spread
    assert subset_size(X, Y) == 75 and subset_size(features(5000, 2), features(3000, 2)) == 1000


def test_cmmd_is_its_definition():
    x, y = (rows.numpy() / np.linalg.norm(rows.numpy(), axis=1, keepdims=True) for rows in (X, Y))

    def mean_kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-((a[:, None] - b) ** 2).sum(-1) / 200).mean())

    expected = 1000 * (mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y))
    assert cmmd(X, Y).value == pytest.approx(expected, rel=1e-6)


def test_precision_and_recall_are_their_definition():
    near, far = features(60, 4), features(50, 4, seed=3, shift=1.5)

    def covered(points: Tensor, around: Tensor) -> float:
        radii = [float(torch.sort((around - center).norm(dim=1)).values[3]) for center in around]
        inside = [
            any((point - center).norm() <= radius for center, radius in zip(around, radii, strict=True))
            for point in points
        ]
        return sum(inside) / len(inside)

    precision, recall = precision_recall(near, far)
    assert (precision.value, recall.value) == (covered(near, far), covered(far, near))
    assert 0 < precision.value < 1 and precision.spread > 0


@pytest.mark.parametrize("copies", [1, 6])
def test_identical_sets(copies: int):
    """Also where an image is there so often that its nearest neighbours are copies, at distance 0."""
    x = X[:60].repeat(copies, 1)
    assert frechet_distance(x, x.clone()).value == pytest.approx(0, abs=1e-9)
    assert cmmd(x, x.clone()).value == pytest.approx(0, abs=1e-9)
    precision, recall = precision_recall(x, x.clone())
    assert (precision.value, recall.value) == (1, 1)
    assert kernel_distance(x, x.clone(), len(x)).value <= 0  # unbiased: so near to nothing that it may fall below


def test_sets_far_apart():
    precision, recall = precision_recall(X, X + 1000)
    assert (precision.value, recall.value) == (0, 0)


@pytest.mark.parametrize(("count", "width"), [(60, 8), (20, 24)])
def test_the_interval_of_a_frechet_distance_is_that_of_the_influence_of_each_image(count, width):
    """Weighing one image a little more moves the distance by its influence; also where a covariance is singular."""
    x, y = features(count, width, scale=1.4, shift=0.5), features(count + 5, width, seed=3)
    step, moved = 1e-4, []
    for rows, other in ((x, y), (y, x)):
        weights = np.full(len(rows), 1 / len(rows))
        slopes = []
        for i in range(len(rows)):
            shifted = [weights + sign * step * (np.eye(len(rows))[i] - weights) for sign in (1, -1)]
            above, below = (weighted_fid(rows.numpy(), each, other.numpy()) for each in shifted)
            slopes.append((above - below) / (2 * step))
        moved.append(np.var(slopes) / len(rows))
    assert frechet_distance(x, y).spread == pytest.approx(1.96 * sum(moved) ** 0.5, rel=0.03)


def weighted_fid(x: np.ndarray, weights: np.ndarray, y: np.ndarray) -> float:
    """Through singular values, as roots of singular matrices are too coarse to be differentiated."""
    mean = weights @ x
    root = np.sqrt(weights * len(x) / (len(x) - 1))[:, None] * (x - mean)
    other = (y - y.mean(0)) / np.sqrt(len(y) - 1)
    cross = np.linalg.svd(root @ other.T, compute_uv=False).sum()
    shift = mean - y.mean(0)
    return float(shift @ shift + (root**2).sum() + (other**2).sum() - 2 * cross)


def test_an_interval_shrinks_as_sets_grow():
    few = frechet_distance(features(50, 8), features(50, 8, seed=5, shift=1)).spread
    many = frechet_distance(features(3200, 8), features(3200, 8, seed=5, shift=1)).spread
    assert 0 < many < few / 4


@pytest.mark.parametrize("measure", MEASURES)
def test_figures_repeat_to_the_last_digit(measure):
    torch.rand(1), np.random.rand(1)  # whatever else has drawn
    assert measure(X, Y) == measure(X, Y)
    assert SUBSETS == 100
