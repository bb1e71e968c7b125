"""`python -m tests.support.seeded_command run JOB`: the real command, whose run draws from seeds and loads no model."""

from __future__ import annotations

from factory import cli
from factory.engine import run
from tests.support.seeded_stages import STAGES

if __name__ == "__main__":
    run.default_stages = lambda job: STAGES
    cli.main()
