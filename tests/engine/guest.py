"""A run on a Ray of its own that tells what a stranger on the same machine could see and reach of it, as JSON.

`python tests/engine/guest.py JOB_JSON`. Its stages are the seeded ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from factory.engine.run import run_job
from factory.job import JobSpec

JOIN = """
import ray
try:
    ray.init(address={address!r}, log_to_driver=False)
except Exception as error:
    print(type(error).__name__)
else:
    print("let in")
"""


def look() -> dict[str, Any]:
    """While the run goes."""
    import ray

    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    sockets = [(process.name(), each) for process in family for each in process.net_connections("inet")]
    folder = Path(ray._private.worker._global_node.address_info["session_dir"]).parents[1]
    address = ray.get_runtime_context().gcs_address
    own = os.environ["RAY_AUTH_TOKEN"]
    entries = {"stranger": _enter(address, "0" * len(own)), "friend": _enter(address, own)}
    return {
        "listening": [[name, each.laddr.ip, each.laddr.port] for name, each in sockets if each.status == "LISTEN"],
        "folder": str(folder),
        "mode": oct(folder.stat().st_mode & 0o777),
        **entries,
    }


def _enter(address: str, token: str) -> str:
    """What a process gets that joins this Ray with the token: "let in", or the name of an exception."""
    command = [sys.executable, "-c", JOIN.format(address=address)]
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=120)
    return (done.stdout.splitlines() or [done.stderr])[-1]


if __name__ == "__main__":
    from tests.support.seeded_stages import STAGES

    seen: dict[str, Any] = {}
    summary = run_job(
        JobSpec.model_validate_json(sys.argv[1]),
        STAGES,
        lambda event: seen.update(look()) if event.kind == "unit" and not seen else None,
    )
    print(json.dumps({**seen, "states": summary.states}))
