"""What each command that reads costs at 1,000 shards of one sample, on a disk and on an S3 server of its own:
`python -m tests.bench.shards [SHARDS]`. Seconds, listings, and milliseconds a shard.

The commands' work is called within one process, without the second that Python and PyTorch take to start. Beside a
figure of an earlier version the ratio is printed: `python -m tests.bench.shards 1000 before.json`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from factory.errors import UserError
from factory.export.run import export
from factory.job import JobSpec
from factory.present import card, report
from factory.present.stats import collect
from factory.store import layout
from factory.store.dataset import open_data
from factory.store.status import status
from factory.store.verify import verify
from tests.support import s3, small


def job(out: str, shards: int) -> JobSpec:
    estimate = {part: {"model": "starter:" + name} for part, name in
                (("hmr", "hmr"), ("prior", "vposer"), ("detector", "detector"))}  # fmt: skip
    model = {"model": "starter:text-to-image"}
    return JobSpec.model_validate({
        "name": "bench", "output": out, "records": shards, "image_size": 64, "unit_size": 1, "samples_per_shard": 1,
        "prompts": {"template": "{action}", "action": ["walking"]}, "body": {"model": "starter:body", "name": "x"},
        "stages": {"generate": model, "estimate": estimate, "refine": model},
    })  # fmt: skip


def commands(out: str, folder: str) -> dict[str, Callable[[], object]]:
    return {
        "status": lambda: status(out),
        "stats": lambda: collect(open_data(out)),
        "card": lambda: card.write_card(open_data(out)),
        "inspect": lambda: report.write_report(open_data(out), 12),
        "verify": lambda: verify(out),
        "export": lambda: export(out, tempfile.mkdtemp(dir=folder), "spin"),
    }


def upload(out: str, url: str, name: str) -> str:
    """The data set in the bucket; its job still names the folder, which no reader asks."""
    client = s3.client(url)
    for path in sorted(Path(out).iterdir()):
        if not path.name.startswith("."):
            client.put_object(Bucket=s3.BUCKET, Key=f"{name}/{path.name}", Body=path.read_bytes())
    return f"s3://{s3.BUCKET}/{name}"


def main() -> None:
    shards = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    before = json.loads(Path(sys.argv[2]).read_text()) if len(sys.argv) > 2 else {}
    figures: dict[str, float] = {}
    print(f"{'place':>6} {'command':>8} {'seconds':>9} {'ms/shard':>9} {'listings':>8} {'before':>9} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as folder, s3.server() as url, s3.Proxy(url) as proxy:
        spec = job(os.path.join(folder, "out"), shards)
        small.make(spec, rejected=(), two=())
        os.environ.update(s3.environment(proxy.url))
        for place in ("disk", "s3"):
            out = spec.output if place == "disk" else upload(spec.output, url, "bench")
            for name, work in commands(out, folder).items():
                lists, begin = proxy.lists, time.perf_counter()
                try:
                    work()
                except UserError as error:
                    print(f"{place:>6} {name:>8} refused: {error}")
                    continue
                seconds, key = time.perf_counter() - begin, f"{place} {name}"
                figures[key] = round(seconds, 2)
                old = f"{before[key]:>7.2f} s {before[key] / seconds:>5.1f}x" if key in before else ""
                told = f"{proxy.lists - lists:>8}" if place == "s3" else " " * 8
                print(
                    f"{place:>6} {name:>8} {seconds:>7.2f} s {1000 * seconds / shards:>9.1f} {told} {old}", flush=True
                )
            for name in (layout.CARD, layout.PREVIEW, layout.SHARD_LIST, layout.REPORT, layout.CONTACT):
                Path(spec.output, name).unlink(missing_ok=True)
        proxy.shutdown()
        shutil.rmtree(spec.output)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
