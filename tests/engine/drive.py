"""A run to be killed: `python -m tests.engine.drive JOB_JSON` tells each event in a line of its own."""

from __future__ import annotations

import sys

from factory.engine.run import run
from factory.job import JobSpec
from tests.engine.stages import STAGES

if __name__ == "__main__":
    run(JobSpec.model_validate_json(sys.argv[1]), STAGES, lambda event: print(event.kind, event.message, flush=True))
