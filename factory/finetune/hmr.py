"""Fine-tuning of an estimator of bodies: L2D on real images, and L3D on images with bodies (the paper, 3.3)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from factory.errors import UserError
from factory.finetune.choice import make_method
from factory.finetune.crops import Shuffled, Views
from factory.finetune.curve import Curve
from factory.finetune.losses import spin_losses
from factory.finetune.methods import Method, MethodContext
from factory.finetune.network_files import HMR, load_start, model_path, write_network
from factory.finetune.options import FinetuneOptions
from factory.finetune.ranks import Ranks
from factory.finetune.sources import (
    joined,
    known_people,
    make_crops,
    of_share,
    people_digest,
    require_body,
    synthetic_people,
)
from factory.finetune.validation import Validation
from factory.geometry.body import BodyModel
from factory.labelled.base import LabelledPeople
from factory.labelled.choice import open_people
from factory.present.terminal import say
from factory.training.checkpoint import Checkpoint, Stateful
from factory.training.learner import Batch, Descent, Terms
from factory.training.progress import TrainingProgress
from factory.training.randomness import seed_everything, step_rng
from factory.training.settings import Settings
from factory.training.tensors import bfloat16_is_fast, training_device

CURVE = "curve.jsonl"
# Options that change what a training may use, or how long it goes on, but not what a step learns.
FREE = {"out", "steps", "patience", "threads", "workers", "ray_address"}


@dataclass(frozen=True)
class Result:
    """What a fine-tuning leaves. model: the best network, where stages.estimate.hmr.model may point; best_step: the
    step that it is of; curve: a dict for each point, see `Curve`; steps: how many were made in all."""

    model: Path
    best_step: int
    curve: list[dict[str, float]]
    steps: int


def finetune_hmr(options: FinetuneOptions) -> Result:
    """Fine-tune as the options say, from the checkpoint in options.out where there is one. UserError for whatever the
    user can mend: data, models, or the checkpoint of another training."""
    with FinetuneProgress(f"finetune {options.method}", options.steps) as progress:
        if options.workers > 1:
            from factory.engine.train import train_on_ray

            loop = partial(train_rank, options)
            train_on_ray(loop, options.workers, options.ray_address, options.threads or 1, options.out, progress)
        else:
            train_rank(options, 0, 1, progress)
    return read_result(options)


class Progress(Protocol):
    """Who is told how a training goes. Both are called by the first process alone."""

    def tick(self, step: int, fraction: float, values: dict[str, float | Tensor]) -> None:
        """Step number `step` is made, `fraction` of all are, and these were the terms of its loss."""

    def note(self, line: str) -> None:
        """A line for the user."""


class FinetuneProgress(TrainingProgress):
    """A `Progress` on the terminal: the losses with rate and remaining time, and the measurements in lines."""

    def note(self, line: str) -> None:
        """See `Progress`."""
        say(self.console, line)


def read_result(options: FinetuneOptions) -> Result:
    """What lies in options.out after a training."""
    curve = Curve("")
    state = torch.load(Checkpoint(options.out).path, map_location="cpu", weights_only=True)["curve"]
    curve.points, curve.best = state["points"], state["best"]
    last = int(curve.points[-1]["step"])
    best = int(curve.best["step"]) if curve.best and state["criterion"] != "loss" else last
    return Result(model_path(options.model, options.out), best, curve.points, last)


def settings_of(options: FinetuneOptions, digests: dict[str, str]) -> Settings:
    """What must not change when the training resumes. digests: name of an option -> of the people that it names."""
    asked = {name: str(value) for name, value in asdict(options).items() if name not in FREE}
    return Settings(asked | {f"people of {name}": value for name, value in digests.items()})


def train_rank(options: FinetuneOptions, rank: int, count: int, progress: Progress) -> None:
    """What process number `rank` of `count` does in a training."""
    Training(options, Ranks(rank, count), progress).run()


class Training:
    """One process's share of a fine-tuning: its data, its network and the method."""

    def __init__(self, options: FinetuneOptions, ranks: Ranks, progress: Progress) -> None:
        seed_everything(options.seed, options.threads)
        self.options, self.ranks, self.progress, self.device = options, ranks, progress, training_device()
        self.network = self._start()
        self.body = BodyModel(options.body, self.device)
        self.digests: dict[str, str] = {}
        self.notes: list[str] = []  # shown when nothing is left to refuse
        everybody = known_people(options) if options.real else None
        real = None if everybody is None else of_share(everybody, options)
        synthetic = synthetic_people(options, everybody)
        crops = make_crops(joined(synthetic), self._size("--synthetic", joined(synthetic))) if synthetic else None
        self.validation: Validation | None = None
        if options.validation:
            people = open_people(options.validation, limit=options.validation_limit)
            require_body(people, options.body)
            self.validation = Validation(
                make_crops(people, self._size("--validation", people), bodies=False), self.body
            )
        self.curve = Curve(self.validation.criterion if self.validation else "loss")
        self.model = model_path(options.model, options.out)
        self.method: Method | None = None
        if real is not None and options.method != "none":
            self.real = make_crops(real, self._size("--real", real), bodies=False)
            self.order = Shuffled(len(self.real), options.seed, 0)
            self.method = make_method(
                MethodContext(options, self.real, crops, self.network, self._start, self.body, ranks)
            )
            self.paired = min(max(round(options.batch * options.mix), 1), options.batch - 1)
            self.paired = self.paired if self.method.paired else 0
            if self.paired % ranks.total:
                raise UserError(
                    f"--batch {options.batch} --mix {options.mix:g}: {self.paired} synthetic images cannot be divided "
                    f"among {ranks.total} workers"
                )

    def _start(self) -> HMR:
        """The network that the training starts from, on the device."""
        network = load_start(self.options.model).to(self.device)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's own types

    def _size(self, name: str, people: LabelledPeople) -> int:
        """Note what people were opened; returns the side of their crops, px."""
        self.digests[name] = people_digest(people)
        if self.ranks.lead:
            images = len(set(people.images))
            self.notes.append(f"{name} {people.name}: {len(people):,} people in {images:,} images")
        return self.network.config["crop"]

    def run(self) -> None:
        """Resume, and train until the steps are made or the curve is flat. At each measurement the best network, the
        curve and the checkpoint are written in this order: after a kill, the same steps write the same again."""
        options, checkpoint = self.options, Checkpoint(self.options.out)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=options.rate, fused=True)
        self.parts: dict[str, Stateful] = {
            "settings": settings_of(options, self.digests), "curve": self.curve,
            "model": self.network, "optimizer": optimizer, **(self.method.parts if self.method else {}),
        }  # fmt: skip
        index, _ = checkpoint.load(**self.parts)
        steps = options.steps if self.method else 0
        for line in self.notes:
            self.progress.note(line)
        if not self.curve.points:
            self._measure(0, checkpoint)
        elif self.ranks.lead:
            self.progress.note(f"resumed after step {index:,} of {steps:,}")
        if self.method is None or index >= steps:
            return
        network = self.ranks.wrap(self.network, self.device).train()
        descent = Descent(self._terms(network, self.method), optimizer, list(self.network.parameters()), record=False)
        self.method.renew()
        flat = self.ranks.agree(self.curve.flat(options.patience))
        while index < steps and not flat:
            torch.manual_seed(int(np.random.default_rng((options.seed, index, self.ranks.rank)).integers(2**63)))
            values = self.ranks.mean(descent(self._batch(self.method, index)))
            index += 1
            if self.ranks.lead:
                self.curve.count(values)
                self.progress.tick(index - 1, index / steps, values)
            if index % options.every == 0 or index == steps:
                self._measure(index, checkpoint)
                self.method.renew()
                flat = self.ranks.agree(self.curve.flat(options.patience))

    def _measure(self, step: int, checkpoint: Checkpoint) -> None:
        """Add a point to the curve, and write what a resumed training and its user need."""
        if not self.ranks.lead:
            return
        figures = self.validation(self.network) if self.validation else {}
        if self.curve.add(step, figures) or not self.validation:
            write_network(self.network, self.network.config, self.model)
        self.options.out.mkdir(parents=True, exist_ok=True)
        self.curve.write(self.options.out / CURVE)
        checkpoint.save(step, 0.0, **self.parts)
        if figures:
            words = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            best = self.curve.best and self.curve.best["step"] == step
            self.progress.note(f"step {step:,}: {words}{' (best so far)' if best and step else ''}")

    def _terms(self, network: nn.Module, method: Method) -> Terms:
        bfloat = bfloat16_is_fast() and not self.options.full_precision

        def terms(batch: Batch) -> dict[str, Tensor]:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat):
                rotations, betas, camera = network(batch["image"])
            losses = spin_losses((rotations.float(), betas.float(), camera.float()), self.body, batch)
            return {name: term for name, term in losses.items() if name not in method.unused}

        return terms

    def _batch(self, method: Method, step: int) -> Batch:
        """This process's part of the batch of a step, as `spin_losses` reads it."""
        options, part = self.options, self.ranks.part
        rng, count = step_rng(options.seed, step), options.batch - self.paired
        rows, views = self.order.take(step, count)[part], Views.draw(rng, count).take(part)
        real = self.real.draw(rows, views)
        fitted = method.supervise(real, rows, views)
        with_body = torch.zeros(len(rows), device=self.device) if fitted is None else fitted.float()
        if fitted is None:
            real["rotations"] = torch.eye(3, device=self.device).expand(len(rows), 24, 3, 3)
            real["betas"] = torch.zeros(len(rows), 10, device=self.device)
        weights = {
            "weight2d": torch.full_like(with_body, 1 / len(rows)),
            "weight3d": with_body / with_body.sum().clamp(min=1),
            "real": torch.ones_like(with_body),
        }
        if not self.paired:
            return real | weights
        pairs = method.pairs(step, self.paired, rng)
        each = torch.full((len(pairs["image"]),), 1 / len(pairs["image"]), device=self.device)
        pairs |= {"weight2d": each, "weight3d": each, "real": torch.zeros_like(each)}
        return {name: torch.cat([values, pairs[name]]) for name, values in (real | weights).items()}
