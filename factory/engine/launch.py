"""`factory launch`: submit a job to a cluster through Ray Jobs and follow its log, from any machine that reaches the
cluster's dashboard."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from factory import config
from factory.errors import UserError, redacted
from factory.job import JobSpec

RUN = "python -m factory.cli run job.yaml"
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")  # variables in which Ray looks for the cluster's token
TOKEN_FILE = "~/.ray/auth_token"  # where Ray looks next


def launch(job: JobSpec, address: str, say: Callable[[str], None], stream: Callable[[str], None]) -> int:
    """Submit the job to the dashboard at `address` (http://host:port) and return its exit code when it has ended.

    `stream` gets the job's log in pieces, `say` gets whole lines about the submission. The driver runs on the cluster's
    head node and joins the cluster there. UserError when the cluster does not answer or refuses the token, or when the
    output is a relative path: it would lie in the job's working directory, which Ray deletes.
    """
    if "://" not in job.output and not Path(job.output).is_absolute():
        raise UserError(f"output: {job.output} would lie in a scratch folder of the cluster; give an absolute path")
    there = job.model_copy(update={"engine": "ray", "ray_address": "auto"})
    _environment(address)
    with _one_line(address), tempfile.TemporaryDirectory() as folder:
        client = _client(address)
        Path(folder, "job.yaml").write_text(config.dump(there))
        name = client.submit_job(
            entrypoint=RUN,
            submission_id=f"{job.name}-{secrets.token_hex(4)}",
            runtime_env={"working_dir": folder},
        )
    say(f"Submitted {name} to {redacted(address)}.")
    try:
        asyncio.run(_follow(client, name, stream))
    except KeyboardInterrupt:
        at = f"--address {redacted(address)} {name}"
        say(f"\n{name} goes on. Its log: ray job logs --follow {at}. Stop it: ray job stop {at}")
        return 1
    details = client.get_job_info(name)
    if details.status == "SUCCEEDED":
        return 0
    say(f"{name}: {details.status}: {details.message or 'no message'}")
    return details.driver_exit_code or 1


def _environment(address: str) -> None:
    """Set the variables that Ray's client reads once, when it is imported."""
    if not address.startswith(("http://", "https://")):  # Ray would import a module named by another scheme
        raise UserError(f"--address {address}: give the dashboard's URL, such as http://HEAD:8265")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["RAY_API_SERVER_ADDRESS"] = address  # takes precedence over RAY_ADDRESS
    if any(name in os.environ for name in TOKENS) or os.path.exists(os.path.expanduser(TOKEN_FILE)):
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _client(address: str) -> Any:
    try:
        import aiohttp  # noqa: F401  # Ray's client needs it; its own error comes later and is longer
    except ModuleNotFoundError:
        raise UserError("launch needs Ray's job client: pip install 'ray[default]'") from None
    from ray.job_submission import JobSubmissionClient

    return JobSubmissionClient(address)


@contextmanager
def _one_line(address: str) -> Iterator[None]:
    """Turn what Ray's client raises into a UserError of one line."""
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        hint = "the cluster's token goes into RAY_AUTH_TOKEN or ~/.ray/auth_token"
        raise UserError(f"--address {address}: {str(error).splitlines()[0]}; {hint}") from None
    except (OSError, RuntimeError) as error:
        raise UserError(f"--address {address}: {' '.join(str(error).split())[:300]}") from None


async def _follow(client: Any, name: str, stream: Callable[[str], None]) -> None:
    """Pass the log to `stream` until the job ends. After a lost connection Ray sends the log from its beginning, so
    what was passed on before is skipped."""
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
        except RuntimeError:  # Ray raises it when the connection is lost
            if client.get_job_status(name).is_terminal():
                return
        await asyncio.sleep(1)
