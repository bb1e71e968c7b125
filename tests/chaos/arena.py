"""Where runs are disturbed: a Ray cluster of two nodes, runs in it or in processes of their own, and the judge."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import webdataset

from factory.engine.run import run_job
from factory.engine.scratch import PREFIX
from factory.job import JobSpec
from factory.store.dataset import open_data
from factory.store.mark import MARK_NAME
from factory.store.status import status
from factory.store.verify import verify
from tests.chaos.faulty_stages import LINES, calls, guilty
from tests.support.command import ROOT
from tests.support.files import folders, tree

RECORDS, UNITS, SHARDS = 46, 12, 4
PATIENCE = 60.0  # s until what must go has gone

JOB: dict[str, Any] = {
    "name": "chaos", "records": RECORDS, "image_size": 64, "unit_size": 4, "samples_per_shard": 12,
    "max_unit_seconds": 3.0,
    "prompts": {"action": ["falling", "standing up"]},
    "body": {"model": "none", "name": "none"},
    "stages": {
        "generate": {"model": "none"},
        "estimate": {"hmr": {"model": "none"}, "prior": {"model": "none"}, "detector": {"model": "none"}},
        "render": {"workers": 2},
        "refine": {"model": "none"},
        "score": {"enabled": False},
    },
}  # fmt: skip


@dataclass
class Verdict:
    """Of one disturbed run that came to its end."""

    lost: int = 0  # planned records without a row, and samples that rows promise and no tar holds
    doubled: int = 0  # rows and samples that come more than once
    identical: bool = False  # to the undisturbed run, byte by byte
    left: list[str] = field(default_factory=list)  # processes, temporary files, locks


class Arena:
    """One per fault and repeat. The cluster, where there is one, is shared."""

    def __init__(self, seed: str, cluster: Any = None) -> None:
        self.random, self.cluster = random.Random(seed), cluster
        self.root = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
        (self.root / "t").mkdir()
        self.line, self.ended = "Depth", ""  # the guilty record's end, where there is one
        self.peace = "Depth"  # the line that gives the same in peace
        self.exported: Counter[str] = Counter()  # keys of the images of a disturbed export, and of one that was not
        self.exportable: set[str] = set()
        self.processes: list[psutil.Process] = []
        values = {**JOB, "output": str(self.root / "out"), "seed": self.random.getrandbits(32)}
        self.job = JobSpec.model_validate(values)

    def on(self, engine: str) -> JobSpec:
        """The job for `inline`, `ray` (a Ray of its own) or `cluster` (the shared one)."""
        address = self.cluster.address if engine == "cluster" else None
        changes = {"engine": "inline" if engine == "inline" else "ray", "ray_address": address}
        return self.job.model_copy(update=changes)

    def drive(self, job: JobSpec, line: str = "", *more: str) -> subprocess.Popen[str]:
        """A run in a process group of its own."""
        return self.start("tests.chaos.run_to_disturb", job.model_dump_json(), line or self.line, *more)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A program that tells its events, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(self.root / "t")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # deaf in the background
        )

    def disturb(
        self, begun: JobSpec | subprocess.Popen[str], strike: Callable[[subprocess.Popen[str]], None]
    ) -> tuple[int, str]:
        """Drive the job, or see what was started, strike at a random moment, and wait for the end: (exit code, what it
        said on stderr)."""
        with self.drive(begun) if isinstance(begun, JobSpec) else begun as process:
            assert process.stdout
            for _ in range(self.random.randint(1, UNITS)):
                process.stdout.readline()
            self.moment()
            self.remember(process.pid)
            strike(process)
            return process.wait(PATIENCE), process.communicate()[1]

    def remember(self, pid: int) -> None:
        """A process and its children, that must be gone in the end."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.processes += [*(parent := psutil.Process(pid)).children(recursive=True), parent]

    def moment(self) -> None:
        time.sleep(self.random.uniform(0, 0.1))

    def within(self, strike: Callable[[], None]) -> None:
        """Run on the cluster from this process, and strike once from a thread of its own."""
        left = self.random.randint(1, UNITS - 2)
        struck: list[Future] = []

        def count(event: Any) -> None:
            nonlocal left
            left -= event.kind == "unit"
            if left == 0 and not struck:
                struck.append(thread.submit(lambda: (self.moment(), strike())))

        with ThreadPoolExecutor(1) as thread:
            run_job(self.on("cluster"), LINES[self.line], count)
        struck[0].result()  # raises what went wrong there

    def kill_worker(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send the signal to one of the processes that host the stages; none, where all have died a moment ago."""
        pids = [int(path.name) for path in calls(self.job).iterdir() if psutil.pid_exists(int(path.name))]
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(sorted(pids)), number)

    def finish(self, engine: str) -> None:
        """The run after the fault."""
        if engine == "cluster":
            run_job(self.on(engine), LINES[self.line])
            return
        with self.drive(self.on(engine)) as process:
            _, wrong = process.communicate()
            assert process.returncode == 0, wrong

    def judge(self) -> Verdict:
        """The data set against one that was made in peace."""
        peace = self.job.model_copy(update={"output": str(self.root / "peace"), "engine": "inline"})
        run_job(peace, LINES["Raises" if self.ended else self.peace])
        rows = open_data(self.job.output).rows.to_pylist()
        keys = Counter(row["key"] for row in rows)
        samples = Counter(sample["__key__"] for sample in self._samples())
        promised = {row["key"] for row in rows if row["state"] == "ok"}
        verdict = Verdict(
            lost=RECORDS - len(keys) + len(promised - samples.keys()),
            doubled=keys.total() - len(keys) + samples.total() - len(samples) + len(samples.keys() - promised),
        )
        verdict.lost += len(self.exportable - self.exported.keys())
        verdict.doubled += self.exported.total() - len(self.exported) + len(self.exported.keys() - self.exportable)
        verdict.identical = verify(self.job.output).ok and self._same(peace, rows)
        verdict.left = self._left()
        if not (verdict.lost or verdict.doubled or verdict.left) and verdict.identical:
            shutil.rmtree(self.root)  # what went wrong is kept to be looked at
        return verdict

    def _samples(self) -> Any:
        tars = sorted(map(str, Path(self.job.output).glob("*.tar")))
        return webdataset.WebDataset(tars, shardshuffle=False, empty_check=False)

    def _same(self, peace: JobSpec, rows: list[dict]) -> bool:
        ours, theirs = tree(self.job.output), tree(peace.output)
        if not self.ended:
            return ours == theirs
        expected = open_data(peace.output).rows.to_pylist()  # a record that raised: how it ended is told apart
        mine = next(row for row in rows if row["key"] == guilty(self.job))
        if mine["state"] != "failed" or self.ended not in mine["error"]:
            return False
        for row in rows + expected:
            row["error"], row["attempts"] = "", 0
        tars = [name for name in ours.keys() | theirs.keys() if name.endswith(".tar")]
        return rows == expected and all(ours.get(name) == theirs.get(name) for name in tars)

    def _left(self) -> list[str]:
        deadline = time.monotonic() + PATIENCE
        pids = [int(path.name) for path in calls(self.job).iterdir()] if calls(self.job).exists() else []
        for pid in set(pids) - {os.getpid()}:
            with contextlib.suppress(psutil.NoSuchProcess):
                self.processes.append(psutil.Process(pid))
        _, alive = psutil.wait_procs(self.processes, max(0, deadline - time.monotonic()))
        files = [path for path in Path(self.job.output).rglob(".*") if path.name != MARK_NAME]
        scratch = list((self.root / "t").glob(PREFIX + "*"))
        live = status(self.job.output).live
        held = [f"lock held by {live}"] if live else []
        return [*map(str, alive), *map(str, [*files, *scratch, *folders(self.job.output)]), *held]


def prove(fault: Callable[[Arena], None], cluster: Any = None) -> None:
    """See one repeat of the fault through. AssertionError where it broke a promise."""
    arena = Arena(f"{fault.__name__} of the fast set", cluster)
    fault(arena)
    verdict = arena.judge()
    assert (verdict.lost, verdict.doubled, verdict.identical, verdict.left) == (0, 0, True, []), arena.root


def images(folder: Path) -> Iterator[str]:
    """The name of each image of an export, without its ending."""
    yield from (path.stem for path in folder.rglob("*.jpg"))
    for path in folder.rglob("*.tar"):
        with tarfile.open(path) as archive:
            yield from (Path(name).stem for name in archive.getnames() if name.endswith(".jpg"))
