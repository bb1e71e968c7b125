"""How fast an export is, against plain copying of the same tars, and whether its memory stays flat.

    python -m tests.bench.export [--samples 100000] [--format hmr2] [--workers 2] [--image 256]

The data set is synthetic: real bodies under many names, in shards written by the store's own parts.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from factory.engine.run import run_job
from factory.plan import plan
from factory.store import tar
from factory.store.dataset import open_data
from factory.store.index import index_bytes, index_table, tar_digest
from factory.store.layout import shard_archive
from tests.support.posed_stages import STAGES, job

MODELS = 60  # records that are really made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--format", default="hmr2")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--image", type=int, default=256, help="side of the images, px")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        synthesise(where / "models", where / "out", options.samples, options.image)
        tars = sorted((where / "out").glob("*.tar"))
        total = sum(path.stat().st_size for path in tars)
        wall, cpu = time.perf_counter(), time.process_time()
        for path in tars:
            copy(path, where / "copy")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        tell(f"copying {total / 1e6:,.0f} MB of tars", options.samples, wall, cpu)
        peaks = []
        for samples in (options.samples // 100, options.samples // 10, options.samples):
            taken, used, peak = measured(where, samples, options.format, options.workers)
            peaks.append(f"{peak:,.0f} MB for {samples:,}")
        tell(f"export to {options.format}, {options.workers} workers", options.samples, taken, used)
    print(f"export takes {taken / wall:.1f} times as long as copying; of processor time {used / cpu:.1f} times as much")
    print(f"peak memory {', '.join(peaks)} samples")


def tell(what: str, samples: int, wall: float, cpu: float) -> None:
    print(f"{what}: {samples / wall:,.0f} samples/s, {1000 * cpu / samples:.2f} ms of processor time a sample")


def synthesise(models: Path, out: Path, samples: int, side: int) -> None:
    """A data set of `samples` records, each a body of a small real one with a noisy image of its own side."""
    run_job(job(models, MODELS), STAGES)
    rows = [row for row in open_data(str(models)).rows.to_pylist() if row["size"]]
    files = [open_data(str(models)).sample_files(row) for row in rows]
    schema = open_data(str(models)).rows.schema
    random = np.random.default_rng(0)
    for one in files:
        buffer = io.BytesIO()
        noise = Image.fromarray(random.integers(0, 256, (side // 4, side // 4, 3), np.uint8)).resize((side, side))
        noise.save(buffer, "jpeg", quality=95)
        one["jpg"] = buffer.getvalue()
    spec = job(out, samples).model_copy(update={"samples_per_shard": 1000})
    planned = plan(spec)
    out.mkdir()
    (out / "job.json").write_text(json.dumps({"job": spec.model_dump(mode="json")}))
    for shard in range(planned.shards):
        data, table = bytearray(), []
        for i in range(planned.records_in(shard)):
            number = shard * 1000 + i
            key, source = f"{spec.name}-{number:08d}", number % len(files)
            told = json.dumps({**json.loads(files[source]["json"]), "key": key}).encode()
            segment = tar.tar_segment((f"{key}.{e}", told if e == "json" else c) for e, c in files[source].items())
            table.append(
                {**rows[source], "key": key, "shard": shard, "unit": i // 20, "offset": len(data), "size": len(segment)}
            )
            data += segment
        data += tar.tar_trailer(len(data))
        archive = shard_archive(planned, shard)
        (out / archive.tar_name).write_bytes(data)
        rows, written = pa.Table.from_pylist(table, schema), tar_digest(bytes(data))
        (out / archive.index_name).write_bytes(index_bytes(rows, written))
    assert index_table((out / archive.index_name).read_bytes())[0].num_rows


def measured(where: Path, samples: int, name: str, workers: int) -> tuple[float, float, float]:
    """A process of its own exports so many of the samples: its wall time, processor time, and peak memory in MB (of
    several workers the first process alone)."""
    program = (
        "import re, sys, time; from factory.export.run import export; "
        "wall, cpu = time.perf_counter(), time.process_time(); "
        "export(sys.argv[1], sys.argv[2], sys.argv[3], where=sys.argv[4], workers=int(sys.argv[5])); "
        "peak = re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]; "  # maxrss counts the parent's too
        "print(time.perf_counter() - wall, time.process_time() - cpu, peak)"
    )
    condition = f"key < 'hard_poses-{samples:08d}'"
    command = [sys.executable, "-c", program, where / "out", where / f"to-{samples}", name, condition, str(workers)]
    wall, cpu, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(wall), float(cpu), float(peak) * 1024 / 1e6


def copy(path: Path, folder: Path) -> None:
    """Through memory and down to the disk, as the store puts it."""
    folder.mkdir(exist_ok=True)
    with open(path, "rb") as source, open(folder / path.name, "wb") as target:
        while chunk := source.read(1 << 20):
            target.write(chunk)
        os.fsync(target.fileno())


if __name__ == "__main__":
    main()
