"""The loss on images of the domain that were not learnt, with the adapter and without it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from factory.finetune.latent_batches import LatentImages, draw_batch
from factory.finetune.latent_model import LatentModel
from factory.training.randomness import step_rng

DRAWS = 8  # of caption, time and noise, for each image
BATCH = 16
BOOTSTRAPS = 2000


@dataclass(frozen=True)
class HeldOutLoss:
    """Losses (N,) of N held-out images, under the same captions, times and noise."""

    without: np.ndarray
    tuned: np.ndarray

    @property
    def share(self) -> float:
        """The mean loss with the adapter, as a share of the one without it."""
        return float(self.tuned.mean() / self.without.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `share`, by bootstrap over the images."""
        rows = np.random.default_rng(0).integers(len(self.without), size=(BOOTSTRAPS, len(self.without)))
        shares = self.tuned[rows].mean(1) / self.without[rows].mean(1)
        low, high = np.percentile(shares, [2.5, 97.5])
        return float(low), float(high)

    def as_json(self) -> dict[str, Any]:
        """Plain values, as figures.json holds them."""
        means = {"loss_without": float(self.without.mean()), "loss_with": float(self.tuned.mean())}
        return {**means, "share": self.share, "share_95": list(self.interval), "images": len(self.without)}

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"loss on {len(self.without):,} held-out images: {self.without.mean():.4f} without the adapter, "
            f"{self.tuned.mean():.4f} with it: {100 * (self.share - 1):+.1f} % "
            f"(95 % interval {100 * (low - 1):+.1f} to {100 * (high - 1):+.1f})"
        )


@torch.no_grad()
def image_losses(model: LatentModel, images: LatentImages, bfloat: bool = False) -> np.ndarray:
    """(N,) the training's loss on each image, the mean over DRAWS of caption, time and noise that depend on the images
    alone: so they are the same for every state of the model."""
    model.unet.eval()
    losses = []
    for start in range(0, len(images), BATCH):
        rows = np.arange(start, min(start + BATCH, len(images)))
        sums = torch.zeros(len(rows))
        for draw in range(DRAWS):
            batch = draw_batch(model, images, step_rng(start, draw), rows, mirror=False)
            with torch.autocast(model.device.type, torch.bfloat16, enabled=bfloat):
                predicted = model.predict(batch).float()
            sums += (batch["weight"] * (predicted - batch["target"]).square()).mean((1, 2, 3)).cpu()
        losses.append(sums / DRAWS)
    model.unet.train()
    return torch.cat(losses).double().numpy()


class HeldOutCurve:
    """The held-out loss at each checkpoint, in a file beside it: step -> loss with the adapter; step 0: without.

    step: the steps that are made. As a part of the checkpoint it is kept there, and so follows a resumed training.
    """

    def __init__(self, path: Path) -> None:
        """The points of an earlier file are kept as far as the training resumes."""
        self.path, self.step = path, 0
        self.content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def add(self, held_out: HeldOutLoss) -> None:
        """Store the loss after `step` steps, under a temporary name that is then renamed."""
        points = {int(step): loss for step, loss in self.content.get("curve", {}).items() if int(step) < self.step}
        points |= {0: float(held_out.without.mean()), self.step: float(held_out.tuned.mean())}
        self.content = {"held_out": held_out.as_json(), "curve": points}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.content, indent=1) + "\n")
        os.replace(temporary, self.path)

    def state_dict(self) -> dict[str, Any]:
        """The number of steps."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set what `state_dict` returned."""
        self.step = state["step"]
