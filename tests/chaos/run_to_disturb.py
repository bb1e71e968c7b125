"""A run to be disturbed, that tells each event in a line of its own.

`python -m tests.chaos.run_to_disturb JOB_JSON LINE [STALE]`. Its lock lasts for STALE seconds.
"""

from __future__ import annotations

import sys

from ray._private import services

from factory.engine.run import run_job
from factory.errors import UserError
from factory.job import JobSpec
from factory.store import lock
from tests.chaos.faulty_stages import LINES
from tests.support.nodes import patient

STOPPED, REFUSED = 1, 2

if __name__ == "__main__":
    services.get_node = patient(services.get_node)
    for stale in map(float, sys.argv[3:]):
        lock.BEAT, lock.STALE = stale / 10, stale
    try:
        run_job(
            JobSpec.model_validate_json(sys.argv[1]), LINES[sys.argv[2]], lambda event: print(event.kind, flush=True)
        )
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)
