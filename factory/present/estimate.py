"""An estimate of how long a job takes, from times that were measured here or published in the paper."""

from __future__ import annotations

import os

from factory.job import JobSpec
from factory.weights.locate import PREFIX

# The starter pack on CPUs: seconds of one core per record, measured on jobs/demo.yaml.
STARTER_FIXED = 0.15  # decoding, estimating, masks, render, scoring
STARTER_STEP = 0.026  # one denoising step at 128 px, guidance included
# The paper's figure: about 6 s per image on one GPU, for four stages and 50 steps, without batches. Batches are faster.
PAPER = 6.0


def seconds(job: JobSpec) -> tuple[float | None, str]:
    """(estimated seconds, or None when there is no basis for an estimate; what the estimate is based on, in words)."""
    stages = job.stages
    drawn = 0 if job.images else stages.generate.steps
    steps = drawn + stages.refine.steps * stages.refine.strength * job.cycles
    hosts = (stages.generate, stages.estimate, stages.render, stages.refine, stages.score)
    gpus = sum(stage.gpus * stage.workers for stage in hosts)
    if all((model or PREFIX).startswith(PREFIX) for model in (stages.generate.model, stages.refine.model)):
        cores = os.cpu_count() or 1
        each = STARTER_FIXED + STARTER_STEP * steps * (job.image_size / 128) ** 2
        return job.records * each / cores, f"measured: {each:.1f} s of one core per starter record, {cores} cores here"
    if gpus:
        each = PAPER * steps / 85 * (job.image_size / 512) ** 2
        basis = f"the paper's {PAPER:.0f} s per image on one GPU, one by one; {gpus:g} GPU{'s' * (gpus != 1)} here"
        return job.records * each / gpus, basis
    return None, "no figure for these models on a CPU; time a few with --set records=8 --set output=/tmp/try"
