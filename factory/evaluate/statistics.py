"""Distances between two sets of image features: Fréchet distance, kernel distances, precision and recall.

Shapes: x (N, D) are the features of the images that are judged, y (M, D) those of the real images; float64, on one
device. Every figure comes with its spread and is the same in every run: the draws have a seed of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LEAST_IMAGES = 8  # images of a set: with fewer, neither a covariance nor a neighbourhood says anything
RESAMPLINGS = 20  # of the bootstrap: its standard deviation is then known to about a sixth
NORMAL = 1.96  # standard deviations on either side that hold 95 % of a normal distribution
SUBSETS, SUBSET_SIZE = 100, 1000  # of KID, as its libraries draw them
NEIGHBOURS = 3  # of precision and recall (Kynkäänniemi et al. 2019)
BANDWIDTH, SCALE = 10.0, 1000.0  # of CMMD (Jayasumana et al. 2024): sigma of the RBF kernel, and what it is times
ROWS = 1024  # of a matrix of distances, held in memory at a time


@dataclass(frozen=True)
class SpreadValue:
    """A value and its spread: half the width of its 95 % interval, value - spread ... value + spread; or, where the
    value is a mean `over_subsets`, the standard deviation over them."""

    value: float
    spread: float
    over_subsets: bool = False


def frechet_distance(x: Tensor, y: Tensor) -> SpreadValue:
    """The Fréchet distance between the normal distributions fitted to both sets: FID, on Inception's features.

    |mean x - mean y|^2 + tr(Sx) + tr(Sy) - 2 tr((Sx Sy)^1/2). With Sx = Rx^T Rx and Sy = Ry^T Ry the eigenvalues of
    Sx Sy are the squared singular values of Rx Ry^T. So no root of a matrix is taken, which loses half the digits where
    a covariance is singular: fewer images than dimensions.

    The interval is the one that a bootstrap over the images of both sets tends to: from how much each image moves the
    distance, to first order. Resampling itself would take minutes for each of its sets, and would widen the interval,
    because its sets hold copies. To first order nothing moves the distance of two equal sets: their interval is 0.
    """
    shift = x.mean(0) - y.mean(0)
    (directions_x, root_x), (directions_y, root_y) = _factors(x), _factors(y)
    left, cross, right = torch.linalg.svd(root_x @ root_y.T, full_matrices=False)
    value = float(shift @ shift + (root_x**2).sum() + (root_y**2).sum() - 2 * cross.sum())
    sides = ((x, directions_x, left, shift), (y, directions_y, right.T, -shift))
    variance = sum(float(_influence(*side, cross).var()) / len(side[0]) for side in sides)
    return SpreadValue(value, NORMAL * variance**0.5)


def _factors(x: Tensor) -> tuple[Tensor | None, Tensor]:
    """(Q, R) with R^T R = the covariance of x and Q R = its centred rows over the root of N - 1. Where there are not
    more rows than columns, R is these rows themselves, and Q, an identity, is None."""
    centred = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    if len(x) <= x.shape[1]:
        return None, centred
    q, r = torch.linalg.qr(centred)
    return q, r


def _influence(x: Tensor, directions: Tensor | None, singular: Tensor, shift: Tensor, cross: Tensor) -> Tensor:
    """(N,): how much the distance rises per weight of each image, up to a constant. directions: Q of `_factors`;
    singular: the singular vectors on this side; cross: the singular values. The derivative of a sum of singular values
    is a product of singular vectors, so the last term's is a sum over `cross` of squared coordinates."""
    centred = x - x.mean(0)
    along = singular if directions is None else directions @ singular
    return 2 * centred @ shift + (centred**2).sum(1) - (len(x) - 1) * (along**2) @ cross


def subset_size(x: Tensor, y: Tensor) -> int:
    """Images of a subset of KID where none is asked for: SUBSET_SIZE, or half of the smaller set if that is less.
    Subsets as large as the set would all be the same, and their spread 0."""
    return min(SUBSET_SIZE, min(len(x), len(y)) // 2)


def kernel_distance(x: Tensor, y: Tensor, size: int) -> SpreadValue:
    """The squared maximum mean discrepancy under the kernel (a.b / D + 1)^3, unbiased, as the mean over SUBSETS subsets
    of `size` images of each set, drawn without replacement: KID, on Inception's features. It may be below 0."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(SUBSETS):
        a, b = (rows[torch.from_numpy(rng.permutation(len(rows))[:size]).to(rows.device)] for rows in (x, y))
        values.append(_polynomial_mmd(a, b))
    return SpreadValue(float(np.mean(values)), float(np.std(values)), over_subsets=True)


def _polynomial_mmd(a: Tensor, b: Tensor) -> float:
    """a, b (S, D)."""
    within = 0.0
    for rows in (a, b):
        kernel = (rows @ rows.T / rows.shape[1] + 1) ** 3
        within += float(kernel.sum() - kernel.trace()) / (len(rows) * (len(rows) - 1))
    return within - 2 * float(((a @ b.T / a.shape[1] + 1) ** 3).mean())


def cmmd(x: Tensor, y: Tensor) -> SpreadValue:
    """1000 times the squared maximum mean discrepancy under a Gaussian kernel of sigma 10 between features of length 1:
    CMMD, on CLIP's features. The estimate is its authors' (each image also counts as its own neighbour, which makes it
    0 for identical sets and never negative). Its interval is 1.96 standard deviations of a bootstrap over the images of
    both sets, around the figure: a resampled set holds copies, which raises the distance by a bias that is none of the
    figure's own."""
    x, y = (rows / rows.norm(dim=1, keepdim=True) for rows in (x, y))
    rng = np.random.default_rng(0)
    # A resampled set is the set with a weight for each image: column 0 holds the figure's own, the others the draws'.
    weights = []
    for rows in (x, y):
        drawn = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), RESAMPLINGS) / len(rows)
        weights.append(torch.from_numpy(np.vstack([np.full(len(rows), 1 / len(rows)), drawn]).T).to(rows.device))
    wx, wy = weights
    values = SCALE * (_kernel_sum(x, x, wx, wx) + _kernel_sum(y, y, wy, wy) - 2 * _kernel_sum(x, y, wx, wy))
    return SpreadValue(float(values[0]), NORMAL * float(values[1:].std()))


def _kernel_sum(a: Tensor, b: Tensor, weight_a: Tensor, weight_b: Tensor) -> Tensor:
    """a (N, D), b (M, D), weight_a (N, W), weight_b (M, W) -> (W,): sum over i, j of weight_a[i] k(a_i, b_j)
    weight_b[j]."""
    total = torch.zeros(weight_a.shape[1], dtype=a.dtype, device=a.device)
    for rows, weight in zip(a.split(ROWS), weight_a.split(ROWS), strict=True):
        kernel = torch.exp(-_squared_distances(rows, b) / (2 * BANDWIDTH**2))
        total += (weight * (kernel @ weight_b)).sum(0)
    return total


def precision_recall(x: Tensor, y: Tensor) -> tuple[SpreadValue, SpreadValue]:
    """Precision: the share of x that lies in the neighbourhood of a real image, which is a ball that reaches to the
    NEIGHBOURS-th nearest other real image. Recall: the share of y that lies in the neighbourhood of an image of x. The
    intervals are those of a bootstrap over the images that are counted, with the neighbourhoods as they are."""
    return _covered(x, y), _covered(y, x)


def _covered(points: Tensor, around: Tensor) -> SpreadValue:
    # Squared distances come from a product of matrices: they are off by this much, and copies of an image by all of it.
    slack = 1e-10 * float(torch.maximum((points**2).sum(1).max(), (around**2).sum(1).max()))
    nearest = [  # the first is the image itself
        _squared_distances(rows, around).kthvalue(NEIGHBOURS + 1, dim=1).values for rows in around.split(ROWS)
    ]
    radii = torch.cat(nearest) + slack
    inside = torch.cat([(_squared_distances(rows, around) <= radii).any(1) for rows in points.split(ROWS)])
    share = float(inside.double().mean())
    return SpreadValue(share, NORMAL * (share * (1 - share) / len(points)) ** 0.5)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """a (N, D), b (M, D) -> (N, M)."""
    return ((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T).clamp(min=0)
