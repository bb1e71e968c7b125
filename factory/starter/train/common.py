"""What every training script shares: one resumable loop, atomic checkpoints, weight averaging, batches drawn by step.

A batch depends on (seed, step) alone, so on a CPU a resumed run repeats an uninterrupted one.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from torch import Tensor, nn

from factory.errors import UserError
from factory.present.progress import Live
from factory.present.terminal import open_console, say
from factory.present.words import duration


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bfloat(options: argparse.Namespace) -> bool:
    """Whether to compute in bfloat16: where it is quick, and --full-precision was not asked for. A processor without
    AVX-512 only imitates it, ten times slower than it computes in float32."""
    quick = torch.cuda.is_available() or torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return quick and not options.full_precision


def seed_everything(seed: int, threads: int = 0) -> None:
    """Fix torch's random state; threads > 0 also limits the CPU threads of this process."""
    torch.manual_seed(seed)
    if threads:
        torch.set_num_threads(threads)


def rng(seed: int, step: int) -> np.random.Generator:
    """The generator from which step number `step` draws its batch and augmentation."""
    return np.random.default_rng((seed, step))


def generator(rng: np.random.Generator, where: torch.device) -> torch.Generator:
    """Of a device, for what is too much to draw by NumPy: seeded by `rng`, so by the step."""
    return torch.Generator(where).manual_seed(int(rng.integers(2**63)))


def put(array: np.ndarray, where: torch.device | None = None) -> Tensor:
    """On the device, without waiting for it. Doubles become floats."""
    array = array.astype(np.float32) if array.dtype == np.float64 else array
    return torch.from_numpy(array).to(where or device(), non_blocking=True)


def to_tensor(images: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


class Pictures:
    """Images (N, H, W, 3) uint8 by row; on a CUDA device they all lie there."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = put(np.array(images)) if torch.cuda.is_available() else images

    def __call__(self, rows: np.ndarray) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1]."""
        if isinstance(self.images, Tensor):
            some = self.images[put(rows)]
        else:
            some = torch.from_numpy(np.stack([self.images[row] for row in rows]))
        return some.permute(0, 3, 1, 2) / 255


def sample(images: Tensor, matrix: Tensor, size: int, mode: str = "bilinear", padding: str = "zeros") -> Tensor:
    """images (N, C, H, W), matrix (N, 2, 3) from output to input coordinates, both -1 ... 1 -> (N, C, size, size).

    The grid is made without `affine_grid`, whose batched product took half the time of drawing a batch on a CPU.
    """
    line = (2 * torch.arange(size, device=images.device) + 1) / size - 1
    x, y = line[None, None, :, None], line[None, :, None, None]
    column = matrix[:, None, None]
    grid = column[..., 0] * x + column[..., 1] * y + column[..., 2]
    return nn.functional.grid_sample(images, grid, mode, padding, align_corners=False)


def degrade(images: Tensor, rng: np.random.Generator) -> Tensor:
    """images (N, 3, H, W) in [0, 1] -> the same, as a diffusion model might have drawn them: colours shifted in all,
    softened to a lower resolution in half, noise in half."""
    count, (height, width) = len(images), images.shape[2:]

    def some(share: float) -> Tensor:
        return put(np.flatnonzero(rng.random(count) < share))

    gain = put(rng.uniform(0.7, 1.3, (count, 1, 1, 1)) * rng.uniform(0.9, 1.1, (count, 3, 1, 1)))
    shift = put(rng.uniform(-0.1, 0.1, (count, 1, 1, 1)))
    images = ((images - 0.5) * gain + 0.5 + shift).clamp(0, 1)
    for part, factor in zip(some(0.5).chunk(4), rng.uniform(0.3, 0.9, 4), strict=False):
        size = (round(height * factor), round(width * factor))
        small = nn.functional.interpolate(images[part], size=size, mode="bilinear", antialias=True)
        images[part] = nn.functional.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 1)
    noisy = some(0.5)
    noise = torch.randn(len(noisy), *images.shape[1:], generator=generator(rng, images.device), device=images.device)
    noise *= put(rng.uniform(0, 0.06, (len(noisy), 1, 1, 1)))
    images[noisy] = (images[noisy] + noise).clamp(0, 1)
    return images


def learning_rate(peak: float, step: int, fraction: float, warmup: int = 200, floor: float = 0.02) -> float:
    """Linear warm-up over `warmup` steps, then a cosine down to floor * peak at fraction 1."""
    decay = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))
    return peak * min(1.0, (step + 1) / warmup) * decay


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


class EMA:
    """Exponential moving average of a module's parameters and float buffers; `.model` is the averaged copy."""

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.count = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.count += 1
        weight = 1 - min(self.decay, self.count / (10 + self.count))  # a short memory while young
        averages: list[Tensor] = []
        news: list[Tensor] = []
        for average, new in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if average.is_floating_point():
                averages.append(average)
                news.append(new)
            else:
                average.copy_(new)
        torch._foreach_lerp_(averages, news, weight)

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.count = state["count"]


class Checkpoint:
    """One file, DIR/checkpoint.pt: step, seconds spent, torch's random state, and the state of each named part."""

    def __init__(self, directory: str | Path) -> None:
        self.path = Path(directory) / "checkpoint.pt"

    def save(self, step: int, seconds: float = 0.0, **parts: Any) -> None:
        """Parts have `state_dict()`. Written beside and renamed: a kill leaves the old file or the new, never half."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state = {name: part.state_dict() for name, part in parts.items()}
        state |= {"step": step, "seconds": seconds, "rng": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda_rng"] = torch.cuda.get_rng_state()
        temporary = self.path.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)

    def load(self, **parts: Any) -> tuple[int, float]:
        """Restore the parts in place; returns (next step, seconds spent), or (0, 0.0) where nothing was saved."""
        if not self.path.exists():
            return 0, 0.0
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["rng"])
        if "cuda_rng" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda_rng"])
        return state["step"], state["seconds"]


class Progress(Live):
    """Name, step, share done, rate, time to go, and the mean of each value since the last time: a live line on a
    terminal, elsewhere a plain line now and then. `steps` or `minutes` is the budget."""

    def __init__(self, name: str, steps: int = 0, minutes: float = 0.0, console: Console | None = None) -> None:
        super().__init__(
            console or open_console(),
            TextColumn("[bold]{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[line]}"),
        )  # fmt: skip
        self.name, self.budget, self.minutes = name, steps, minutes
        self.interval = 1.0 if self.console.is_terminal else 20.0
        self.since, self.steps, self.sums = time.monotonic(), 0, dict[str, float | Tensor]()
        self.task = self.bar.add_task(name, total=1.0, line="starting")

    def tick(self, step: int, fraction: float, values: dict[str, float | Tensor]) -> None:
        self.steps += 1
        for key, value in values.items():  # no float() yet, which would wait for the device
            self.sums[key] = self.sums.get(key, 0.0) + value
        elapsed = time.monotonic() - self.since
        if elapsed < self.interval and fraction < 1:
            return
        means = "  ".join(f"{key} {float(total) / self.steps:.4g}" for key, total in self.sums.items())
        left = (self.budget - step - 1) * elapsed / self.steps if self.budget else 60 * self.minutes * (1 - fraction)
        rate = f"{self.steps / max(elapsed, 1e-9):.2f} steps/s"
        line = f"step {step + 1}  {fraction:.0%}  {rate}  ETA {duration(left)}  {means}"
        self.bar.update(self.task, completed=fraction, line=line)
        if not self.console.is_terminal:
            say(self.console, f"{self.name}  {line}")
        self.since, self.steps, self.sums = time.monotonic(), 0, {}


def descend(
    terms: dict[str, Tensor], optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor], limit: float
) -> dict[str, float | Tensor]:
    """One step down the sum of the terms, with a gradient of norm `limit` at most; returns the terms, detached."""
    optimizer.zero_grad(set_to_none=True)
    torch.stack([*terms.values()]).sum().backward()
    torch.nn.utils.clip_grad_norm_(parameters, limit)
    optimizer.step()
    return {key: value.detach() for key, value in terms.items()}


class Descent:
    """Steps down the sum of `terms(batch)`, with a gradient of norm `limit` at most.

    On a CUDA device terms and gradients are recorded at the first step and replayed from then on, since a small network
    spends its time there on the starting of kernels. `terms` must then do the same whatever the values: no branch, no
    shape and no copy from the host may depend on them.
    """

    def __init__(
        self,
        terms: Callable[[dict[str, Tensor]], dict[str, Tensor]],
        optimizer: torch.optim.Optimizer,
        parameters: list[Tensor],
        limit: float,
    ) -> None:
        self.terms, self.optimizer, self.parameters, self.limit = terms, optimizer, parameters, limit
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, float | Tensor]:
        """One step; returns the terms, detached."""
        if not torch.cuda.is_available():
            return descend(self.terms(batch), self.optimizer, self.parameters, self.limit)
        if self.graph is None:
            self._record(batch)
        for name, value in batch.items():
            self.batch[name].copy_(value)
        self.graph.replay()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.limit)
        self.optimizer.step()
        return {key: value.clone() for key, value in self.values.items()}

    def _gradients(self) -> dict[str, Tensor]:
        values = self.terms(self.batch)
        torch.stack([*values.values()]).sum().backward()
        return {key: value.detach() for key, value in values.items()}

    def _record(self, batch: dict[str, Tensor]) -> None:
        self.batch = {name: value.clone() for name, value in batch.items()}
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):  # libraries choose their kernels and make their workspaces
                self.optimizer.zero_grad(set_to_none=True)
                self._gradients()
        torch.cuda.current_stream().wait_stream(aside)
        self.optimizer.zero_grad(set_to_none=True)  # the recorded gradients are written anew at each replay
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.values = self._gradients()


def fit(
    name: str,
    options: argparse.Namespace,
    step: Callable[[int, float], dict[str, float | Tensor]],
    parts: dict[str, Any],
    export: Callable[[], None],
    picture: Callable[[], np.ndarray],
) -> int:
    """Resume, then call `step(index, fraction)` until the budget is spent; returns the number of steps made in all.

    The budget is options.steps, or options.minutes of training over all resumed runs; fraction is how much of it was
    spent, for the learning rate. `parts` (model, optimizer, ema ...) are saved, then exported, then `picture` of the
    export is written as samples.png beside the checkpoint: every options.every steps and at the end.
    """
    steps, minutes, every = options.steps, options.minutes, options.every
    if not steps and not minutes:
        raise UserError("a training needs a budget: give --minutes or --steps")
    checkpoint = Checkpoint(options.out)
    index, seconds = checkpoint.load(**parts)
    start = time.monotonic() - seconds

    def fraction() -> float:
        return min(1.0, index / steps if steps else (time.monotonic() - start) / (60 * minutes))

    def keep() -> None:
        checkpoint.save(index, time.monotonic() - start, **parts)
        export()
        with torch.random.fork_rng():  # looking must not change what is learnt
            draw_samples(picture, checkpoint.path.with_name("samples.png"))

    with Progress(name, steps, minutes) as progress:
        while fraction() < 1:
            values = step(index, fraction())
            index += 1
            progress.tick(index - 1, fraction(), values)
            if index % every == 0:
                keep()
        if index % every or not index:
            keep()
    return index


def draw_samples(picture: Callable[[], np.ndarray], path: Path) -> None:
    """Written beside and renamed. A picture that fails is told of and ends no training."""
    try:
        temporary = path.with_suffix(".tmp")
        Image.fromarray(picture()).save(temporary, "PNG")
        os.replace(temporary, path)
    except Exception as error:
        print(f"{path.name} was not drawn: {type(error).__name__}: {error}", flush=True)


def parser(description: str | None, batch: int, rate: float, cache: bool = True) -> argparse.ArgumentParser:
    """The command line that the training scripts share."""
    out = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if cache:
        out.add_argument("--cache", required=True, help="folder of the rendered world's cache")
    out.add_argument("--out", required=True, help="folder of the checkpoint; run again to resume from it")
    out.add_argument("--export", required=True, help="folder that the model is written to at each checkpoint")
    out.add_argument("--start", type=Path, help="an earlier export to go on from")
    out.add_argument("--steps", type=int, default=0, help="budget in steps")
    out.add_argument("--minutes", type=float, default=0.0, help="budget in minutes, where no steps are given")
    out.add_argument("--every", type=int, default=500, help="steps between checkpoints")
    out.add_argument("--batch", type=int, default=batch)
    out.add_argument("--rate", type=float, default=rate, help="highest learning rate")
    out.add_argument("--seed", type=int, default=0)
    out.add_argument("--threads", type=int, default=0, help="CPU threads; 0 = torch's default")
    out.add_argument(
        "--full-precision", action="store_true", help="float32 throughout; default: bfloat16 where it is quick"
    )
    return out
