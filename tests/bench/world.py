"""Scenes of the starter world rendered per second: `python tests/bench/world.py [--scenes 256] [--workers 2]`."""

from __future__ import annotations

import argparse
import os
import tempfile
import time

from factory.starter.world import cache

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--scenes", type=int, default=256)
parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)


def main() -> None:
    """The second cache is timed less the first, so that starting the workers does not count."""
    args = parser.parse_args()
    seconds = [_seconds(count, args.workers) for count in (args.workers, args.workers + args.scenes)]
    rate = args.scenes / (seconds[1] - seconds[0])
    print(f"{rate:.1f} scenes/s, {args.scenes} scenes by {args.workers} workers on {os.cpu_count()} cores")


def _seconds(count: int, workers: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        cache.build(folder, 0, count, workers)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
