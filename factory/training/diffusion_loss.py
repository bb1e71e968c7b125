"""The loss of a latent diffusion model, with min-SNR weights (Hang et al. 2023).

A model predicts the noise (epsilon), v (Salimans and Ho 2022) or the clean latents (sample): its scheduler's config
says which.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from factory.training.randomness import torch_generator
from factory.training.tensors import to_device

GAMMA = 5.0  # min-SNR: a signal-to-noise ratio above it weighs no more
PURE_NOISE = 1e-3  # signal-to-noise ratio below which a latent counts as pure noise


class NoisyLatents(NamedTuple):
    """Latents with noise and what is to be predicted from them. N latents of shape (C, H, W).

    latents (N, C, H, W); time (N,) int64 step of the scheduler; target (N, C, H, W): what the model is to predict;
    weight (N, 1, 1, 1) of its squared error.
    """

    latents: Tensor
    time: Tensor
    target: Tensor
    weight: Tensor


def add_noise(
    clean: Tensor, alphas: Tensor, rng: np.random.Generator, prediction: str = "v_prediction"
) -> NoisyLatents:
    """clean (N, C, H, W), alphas (T,): the scheduler's cumulative products -> the latents at times drawn from `rng`.

    prediction: epsilon, v_prediction or sample. The weights of all three are the same ones of an error of the clean
    latents, min(SNR, GAMMA), so that a loss of one compares with a loss of another.
    """
    time = to_device(rng.integers(len(alphas), size=len(clean)), clean.device)
    noise = torch.randn(clean.shape, generator=torch_generator(rng, clean.device), device=clean.device)
    alpha = alphas[time][:, None, None, None]
    snr = alpha / (1 - alpha)
    noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
    if prediction == "epsilon":
        return NoisyLatents(noisy, time, noise, (GAMMA / snr).clamp(max=1))
    if prediction == "sample":
        return NoisyLatents(noisy, time, clean, snr.clamp(max=GAMMA))
    weight = snr.clamp(max=GAMMA) / (snr + 1)
    weight = torch.where(snr < PURE_NOISE, 1 / (1 + GAMMA), weight)  # min-SNR alone would give pure noise no weight
    return NoisyLatents(noisy, time, alpha.sqrt() * noise - (1 - alpha).sqrt() * clean, weight)
