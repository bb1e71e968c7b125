"""`factory.run`: what the command of that name does, for programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from factory.config import load_job
from factory.doctor.models import require_models
from factory.engine.run import Event, RunSummary, run_job
from factory.job import JobSpec
from factory.plan import plan
from factory.present.card import write_card
from factory.store.dataset import open_data


def run(
    job: str | os.PathLike[str] | JobSpec,
    overrides: Sequence[str] = (),
    on_event: Callable[[Event], None] = lambda event: None,
) -> RunSummary:
    """Make the data set of a job, or what is missing of it, with its card. Returns what it holds then.

    job: a job file, or a job that is loaded. overrides: fields of a job file to change, such as
    "stages.refine.strength=0.6". on_event is called with each thing that happens, such as a unit that is committed.

    UserError: the job is wrong, or cannot be made here; before anything is touched, unless too many records fail.
    KeyboardInterrupt on Ctrl-C or SIGTERM. What was finished is kept in both cases.
    """
    planned = plan(job if isinstance(job, JobSpec) else load_job(Path(job), overrides))
    if not planned.job.ray_address:  # on a cluster the models lie on its nodes
        require_models(planned.job)
    summary = run_job(planned, on_event=on_event)
    write_card(open_data(planned.job.output, keep=True))
    return summary
