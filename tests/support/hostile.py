"""A data set that has been in a stranger's hands (mischief.py): whether every verb that reads it stays civil.

Run in a process of its own, whose memory is then the trials' alone.
"""

from __future__ import annotations

import io
import random
import shutil
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from factory.errors import UserError
from factory.job import JobSpec
from factory.present.mesh import coarse
from tests.support import small
from tests.support.mischief import CHANGES


def begin(folder: Path) -> None:
    """OUT with two sealed shards and a part of a third; beside it a canary that nobody may touch."""
    values = {
        "name": "small", "output": str(folder / "out"), "records": 12, "image_size": 64, "unit_size": 2,
        "samples_per_shard": 4, "engine": "inline", "prompts": {"action": ["walking", "diving"]},
        "body": {"model": "starter:body", "name": "open-body"},
        "stages": {
            "generate": {"model": "starter:text-to-image"},
            "estimate": {
                "hmr": {"model": "starter:hmr"}, "prior": {"model": "starter:vposer"},
                "detector": {"model": "starter:detector"}, "easy": "refine",
            },
            "refine": {"model": "starter:depth-to-image"},
        },
        "sample": {"extras": ["initial", "depth", "masks"]},
    }  # fmt: skip
    small.make(JobSpec.model_validate(values), units=5, failed=(5,))
    (folder / "canary").mkdir()
    (folder / "canary" / "victim").write_text("mine")
    (folder / "canary" / "small-000000.parquet").write_text("mine")


@dataclass
class Trial:
    """problems: what was not civil, one line each. codes: verb -> exit code. peak: MB that the process held at most."""

    problems: list[str] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    peak: int = 0


def trial(base: str, work: str, changes: list[tuple[str, int]], formats: list[str]) -> Trial:
    """Copy the data set, change it so, and take it through the verbs."""
    root = Path(work)
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(base, root, symlinks=True)
    for name, seed in changes:
        CHANGES[name](root, random.Random(seed))
    before, done, out = _tree(root), Trial(), str(root / "out")
    _reset_peak()
    verbs: list[list[str]] = [
        ["status"],
        ["status", "--json"],
        ["stats"],
        ["stats", "--json"],
        ["verify"],
        ["inspect", "--limit=3"],
    ]
    for verb, *options in verbs:
        _run(done, [verb, out, *options])
    for name in formats:
        to = str(root / f"to-{name}")
        if _run(done, ["export", out, f"--format={name}", f"--to={to}"]) == 0:
            _run(done, ["validate", to, f"--format={name}"])
    _load(done, out)
    _run(done, ["retry", out])
    _run(done, ["verify", out, "--repair"])
    changed = {path for path, content in before.items() if _tree(root).get(path) != content}
    done.problems += [f"touched {path}" for path in sorted(changed | (_tree(root).keys() - before.keys()))]
    done.peak = _peak()
    coarse.cache_clear()  # it keeps a body model for each `inspect`, of which a command has one
    return done


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def _tree(root: Path) -> dict[str, bytes]:
    """All that is none of the verbs' business: it lies beside the data set and the exports."""
    found = {}
    for path in [*root.glob("*"), *(root / "canary").rglob("*"), *Path(root.parent).glob("*")]:
        if path.name != "out" and not path.name.startswith("to-"):
            found[str(path)] = path.read_bytes() if path.is_file() else b""
    return found


def _run(done: Trial, arguments: list[str]) -> int:
    from factory import cli

    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ["factory", *arguments]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error}"[:300]
        done.problems.append(f"{arguments[0]} {arguments[2:]}: {text} ({where.filename}:{where.lineno})")
        return -1
    allowed = {"verify": (0, 1, 2, 3), "validate": (0, 1, 2)}.get(arguments[0], (0, 2))
    told = err.getvalue()
    if code not in allowed:
        done.problems.append(f"{arguments[0]}: exit code {code}: {told[:200]}")
    if code == 2 and not (told.startswith("error: ") and told.count("\n") == 1 and len(told) < 2000):
        done.problems.append(f"{arguments[0]}: not one line: {told[:300]!r}")
    done.codes[" ".join([arguments[0], *arguments[2:]])] = code
    return code


def _load(done: Trial, out: str) -> None:
    import factory

    try:
        for _ in factory.load(out, crop=32, train=False):
            pass
    except UserError:
        pass
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        done.problems.append(f"load: {type(error).__name__}: {str(error)[:300]} ({where.filename}:{where.lineno})")
