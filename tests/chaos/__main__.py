"""`make chaos REPEATS=20 SEED=1`: every fault so often, each time at another moment, with a report.

Each repeat is judged against the same job made in peace. The last line is the sum; exit code 1 where a promise broke.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import traceback

from tests.chaos.arena import Arena, Verdict
from tests.chaos.faults import CLUSTER, FAULTS
from tests.support.nodes import Nodes

ROW = "{:<30}{:>8}{:>6}{:>9}{:>16}{:>13}{:>8}".format
COLUMNS = ("fault", "repeats", "lost", "doubled", "byte-identical", "left behind", "s each")


def main(repeats: int, seed: int, names: list[str]) -> bool:
    print(ROW(*COLUMNS), flush=True)
    total: list[Verdict] = []
    with contextlib.ExitStack() as stack:
        needed = {fault.__name__ for fault in CLUSTER} & set(names)
        cluster = stack.enter_context(Nodes()) if needed else None
        for name in names:
            begin = time.monotonic()
            verdicts = [once(name, Arena(f"{name} {seed} {repeat}", cluster)) for repeat in range(repeats)]
            print(row(name, verdicts, f"{(time.monotonic() - begin) / repeats:.1f}"), flush=True)
            total += verdicts
    print(row("sum", total))
    return all(not (v.lost or v.doubled or v.left) and v.identical for v in total)


def once(name: str, arena: Arena) -> Verdict:
    try:
        FAULTS[name](arena)
        verdict = arena.judge()
    except Exception:
        traceback.print_exc()
        verdict = Verdict()
    if verdict.left or not verdict.identical:
        print(f"{name}: see {arena.root}; left behind: {verdict.left}", file=sys.stderr, flush=True)
    return verdict


def row(name: str, verdicts: list[Verdict], seconds: str = "") -> str:
    lost, doubled = sum(v.lost for v in verdicts), sum(v.doubled for v in verdicts)
    identical, left = sum(v.identical for v in verdicts), sum(len(v.left) for v in verdicts)
    return ROW(name.replace("_", " "), len(verdicts), lost, doubled, identical, left, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("faults", nargs="*", help=f"of {', '.join(FAULTS)}; none: all")
    options = parser.parse_args()
    if unknown := set(options.faults) - FAULTS.keys():
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    sys.exit(not main(options.repeats, options.seed, options.faults or list(FAULTS)))
