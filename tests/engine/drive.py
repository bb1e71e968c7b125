"""A run to be killed: `python -m tests.engine.drive JOB_JSON [Slow]` tells each event in a line of its own."""

from __future__ import annotations

import sys

from factory.engine.run import run
from factory.errors import UserError
from factory.job import JobSpec
from tests.engine.stages import LINES

if __name__ == "__main__":
    job, line = JobSpec.model_validate_json(sys.argv[1]), LINES["".join(sys.argv[2:]) or "Depth"]
    try:
        run(job, line, lambda event: print(event.kind, event.message, flush=True))
    except UserError as error:
        sys.exit(f"error: {error}")
