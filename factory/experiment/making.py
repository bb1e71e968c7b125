"""What cells are made from: the domain, adapters, and data sets, by the commands that users have for them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.experiment.spec import AdapterSpec, DomainSpec
from factory.job import JobSpec

ADAPTER = "adapter"  # folder of the weights, within an adapter's


def make_domain(domain: DomainSpec, folder: Path, _: Path) -> dict[str, Any]:
    """Render a domain of the starter world into `folder`, or what is missing of it."""
    from factory.present.terminal import open_console
    from factory.starter.world.domain_files import write_domain

    write_domain(domain.name, folder, domain.train, domain.test, domain.seed, console=open_console())
    return {}


def make_adapter(adapter: AdapterSpec, folder: Path, seed: int, _: Path) -> dict[str, Any]:
    """Fine-tune a diffusion model, or go on where it stopped. Returns its loss on held-out images."""
    from factory.finetune.diffusion import finetune_diffusion
    from factory.finetune.diffusion_options import DiffusionOptions

    options = DiffusionOptions(
        model=adapter.model, images=adapter.images, out=folder / "run", export=folder / ADAPTER,
        epochs=adapter.epochs, steps=adapter.steps, rank=adapter.rank, layers=adapter.layers,
        preserve=adapter.preserve, seed=seed,
    )  # fmt: skip
    loss = finetune_diffusion(options)
    return {"held_out": loss.as_json() if loss else None}


def make_data(job: JobSpec, _: Path) -> dict[str, Any]:
    """Make the data set of a job, or what is missing of it. Returns its counts of states and reasons. UserError: not
    one record could be used."""
    from factory.api import run
    from factory.present.progress import RunProgress
    from factory.present.terminal import open_console

    with RunProgress(open_console()) as progress:
        summary = run(job, on_event=progress)
    if not summary.states.get("ok"):
        raise UserError(f"not one of {summary.planned:,} records could be used; why: factory status {job.output}")
    counts = asdict(summary)
    return {name: dict(counts[name]) for name in ("states", "reasons")} | {"planned": summary.planned}
