"""Hands a job to a cluster through Ray Jobs and follows its log, from any machine that reaches its dashboard."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from factory import config
from factory.errors import UserError
from factory.job import JobSpec

RUN = "python -m factory.cli run job.yaml"
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")  # where Ray looks for the cluster's secret, and then:
TOKEN_FILE = ".ray/auth_token"


def launch(job: JobSpec, address: str, say: Callable[[str], None], stream: Callable[[str], None]) -> int:
    """Submit the job to http://host:port, pass on its log as it comes, and return its exit code.

    The driver runs on the cluster's head and joins the cluster there. UserError where the cluster does not answer or
    refuses the token, or where the output would lie in a folder that goes with the cluster's job.
    """
    if "://" not in job.output and not Path(job.output).is_absolute():
        raise UserError(f"output: {job.output} would lie in a scratch folder of the cluster; give an absolute path")
    client = _client(address)
    there = job.model_copy(update={"engine": "ray", "ray_address": "auto"})
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "job.yaml").write_text(config.dump(there))
        name = client.submit_job(
            entrypoint=RUN,
            submission_id=f"{job.name}-{secrets.token_hex(4)}",
            runtime_env={"working_dir": folder},
        )
    say(f"Submitted {name} to {address}.")
    try:
        asyncio.run(_follow(client, name, stream))
    except KeyboardInterrupt:
        at = f"--address {address} {name}"
        say(f"\n{name} goes on. Its log: ray job logs --follow {at}. Stop it: ray job stop {at}")
        return 1
    details = client.get_job_info(name)
    if details.status == "SUCCEEDED":
        return 0
    say(f"{name}: {details.status}: {details.message or 'no message'}")
    return details.driver_exit_code or 1


def _client(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if any(name in os.environ for name in TOKENS) or (Path.home() / TOKEN_FILE).exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # before Ray is imported: it looks once
    try:
        import aiohttp  # noqa: F401  # Ray's own client needs it and would say so later, in more words
    except ModuleNotFoundError:
        raise UserError("launch needs Ray's job client: pip install 'ray[default]'") from None
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        words = " ".join(str(error).split())
        token = "401" in words or "403" in words or "uthenticat" in words
        hint = "; its token goes into RAY_AUTH_TOKEN or ~/.ray/auth_token" if token else ""
        raise UserError(f"--address {address}: {words[:200]}{hint}") from None


async def _follow(client: Any, name: str, stream: Callable[[str], None]) -> None:
    """The log until the job ends. It is sent in pieces, from its beginning whenever the connection was lost."""
    sent = 0
    while True:
        at = 0
        try:
            async for piece in client.tail_job_logs(name):
                stream(piece[max(0, sent - at) :])
                at += len(piece)
                sent = max(sent, at)
            if client.get_job_status(name).is_terminal():
                return
        except RuntimeError:  # Ray's word for a lost connection
            if client.get_job_status(name).is_terminal():
                return
        await asyncio.sleep(1)
