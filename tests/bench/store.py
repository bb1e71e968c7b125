"""What `status` and the start of a resume cost for 10^4, 10^5 and 10^6 planned records: `python -m tests.bench.store`.

The shards are synthetic: all but the last hold the same rows, which neither of the two looks at. Of the last one a unit
is missing. CPU seconds stand beside wall seconds, for machines that do other things too.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa

from factory.job import JobSpec
from factory.plan import Plan, plan
from factory.store import layout, tar
from factory.store.index import SCHEMA, index_bytes, tar_digest
from factory.store.ledger import open_ledger, require_writable
from factory.store.part import Part
from factory.store.status import status

DATA = b"x" * 512  # one sample's bytes


def job(out: str, records: int) -> JobSpec:
    estimate = {part: {"model": "starter:" + name} for part, name in
                (("hmr", "hmr"), ("prior", "vposer"), ("detector", "detector"))}  # fmt: skip
    model = {"model": "starter:text-to-image"}
    return JobSpec.model_validate({
        "name": "bench", "output": out, "records": records, "image_size": 64, "unit_size": 8, "samples_per_shard": 1000,
        "prompts": {"action": ["walking"]}, "body": {"model": "starter:body", "name": "x"},
        "stages": {"generate": model, "estimate": estimate, "refine": model},
    })  # fmt: skip


def unit(planned: Plan, shard: int, index: int) -> tuple[list[dict], bytes]:
    rows = []
    for at, (key, seed) in enumerate(planned.names(shard, index)):
        row = {field.name: "" if pa.types.is_string(field.type) else 0 for field in SCHEMA} | {"refined": False}
        why = {"state": "rejected", "reason": "easy"} if at == 7 else {"state": "ok", "reason": "", "size": len(DATA)}
        rows.append({**row, "key": key, "seed": seed, "shard": shard, "unit": index, "error": "", **why})
    return rows, DATA * sum(row["size"] > 0 for row in rows)


def make(spec: JobSpec) -> None:
    planned, out = plan(spec), Path(spec.output)
    with open_ledger(spec, planned) as ledger:
        last = planned.shards - 1
        for index in range(planned.units_in(last) - 1):
            rows, data = unit(planned, last, index)
            ledger.commit(last, index, Part(data, index_bytes(pa.Table.from_pylist(rows, SCHEMA), tar_digest(data))))
    units = [unit(planned, 0, index) for index in range(planned.units_in(0))] if last else []
    data = b"".join(data for _, data in units)
    tar_bytes = data + tar.tar_trailer(len(data))
    lengths = [[len(data), hashlib.sha256(data).hexdigest()] for _, data in units]
    table = pa.Table.from_pylist([row for rows, _ in units for row in rows], SCHEMA)
    index = index_bytes(table, {**tar_digest(tar_bytes), "units": json.dumps(lengths)})
    for shard in range(last):
        archive = layout.shard_archive(planned, shard)
        for name, content in ((archive.tar_name, tar_bytes), (archive.index_name, index)):
            (out / name).write_bytes(content)


def resume(spec: JobSpec) -> None:
    planned = plan(spec)
    require_writable(spec, planned)
    with open_ledger(spec, planned) as ledger:
        assert len(list(ledger.missing())) == 1


def measured(work: Callable[[], object]) -> tuple[float, float, float]:
    """Wall and CPU seconds, and the MB that a process of its own took at most."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        begin, busy = time.perf_counter(), time.process_time()
        work()
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        os.write(writing, json.dumps([time.perf_counter() - begin, time.process_time() - busy, used]).encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    os.close(writing)
    with os.fdopen(reading) as pipe:
        seconds, busy, used = json.loads(pipe.read())
    return seconds, busy, used


def main() -> None:
    print(f"{'records':>9} {'shards':>6} {'status':>8} {'CPU':>8} {'resume':>8} {'CPU':>8} {'memory':>8}")
    for records in map(int, sys.argv[1:] or ("10000", "100000", "1000000")):
        with tempfile.TemporaryDirectory() as folder:
            spec = job(os.path.join(folder, "out"), records)
            if child := os.fork():
                assert os.waitpid(child, 0)[1] == 0
            else:
                make(spec)
                os._exit(0)
            looked, resumed = measured(partial(status, spec.output)), measured(partial(resume, spec))
        used = max(looked[2], resumed[2])
        times = " ".join(f"{seconds:>6.2f} s" for seconds in (*looked[:2], *resumed[:2]))
        print(f"{records:>9,} {plan(spec).shards:>6,} {times} {used:>5.0f} MB", flush=True)


if __name__ == "__main__":
    main()
