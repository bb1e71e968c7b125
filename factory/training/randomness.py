"""Random numbers of a training. A batch depends on (seed, step) alone: a resumed run repeats an uninterrupted one."""

from __future__ import annotations

import numpy as np
import torch


def seed_everything(seed: int, threads: int | None = None) -> None:
    """Seed torch's global generator; with `threads`, also limit the CPU threads of this process."""
    torch.manual_seed(seed)
    if threads:
        torch.set_num_threads(threads)


def step_rng(seed: int, step: int) -> np.random.Generator:
    """The generator from which step number `step` draws its batch and its augmentation."""
    return np.random.default_rng((seed, step))


def torch_generator(rng: np.random.Generator, device: torch.device) -> torch.Generator:
    """A torch generator on `device`, seeded from `rng`: for arrays too large to be drawn by NumPy."""
    return torch.Generator(device).manual_seed(int(rng.integers(2**63)))
