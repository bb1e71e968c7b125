"""What makes a finished data set a folder to upload as it is: README.md, a dataset card; preview.jpg; wids.json.

Their bytes follow from the shards and the job alone, so a data set made twice has the same card.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from factory.doctor import SOURCES, Need, needs
from factory.errors import UserError
from factory.job import JobSpec
from factory.models.locate import PREFIX, resolve
from factory.plan import plan
from factory.present import pictures
from factory.present.stats import SAYS, Stats, figure, summarise
from factory.store import layout
from factory.store.fs import Files, open_files
from factory.store.sample import extensions
from factory.store.status import read_index, read_sample

CARD, PREVIEW, SHARDS = "README.md", "preview.jpg", "wids.json"
PICTURES, SIDE = 12, 180  # on the preview; px
ACTIONS = 100  # rows at most
SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}
OURS = "Apache-2.0"  # the starter pack's


def write(out: str) -> bool:
    """Write the card of a data set whose shards are all sealed, unless one is there: it may have been edited. Says
    whether it did."""
    job, files = layout.read_job(out), open_files(out)
    planned, sizes = plan(job), files.sizes()
    if CARD in sizes or len(layout.found(planned, sizes)[0]) < planned.shards:
        return False
    table = read_index(out)
    rows = [row for row in table.to_pylist() if row["size"]]
    shards = [layout.shard_names(planned, shard)[0] for shard in sorted({row["shard"] for row in rows})]
    files.put(SHARDS, [_shards(files, job, shards, rows)])
    if preview := _preview(out, job, rows):
        files.put(PREVIEW, [preview])
    files.put(CARD, [_card(job, summarise(out, job, table), bool(preview)).encode()])
    return True


def _shards(files: Files, job: JobSpec, names: list[str], rows: list[dict]) -> bytes:
    """The shard index that `wids` reads."""
    count = {row["shard"]: 0 for row in rows}
    for row in rows:
        count[row["shard"]] += 1
    listed = [
        {"url": name, "md5sum": _md5(files, name), "nsamples": count[shard], "filesize": files.sizes()[name]}
        for name, shard in zip(names, sorted(count), strict=True)
    ]
    told = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": job.name, "shardlist": listed}
    return (json.dumps(told, indent=1) + "\n").encode()


def _md5(files: Files, name: str, chunk: int = 1 << 24) -> str:
    digest, at = hashlib.md5(usedforsecurity=False), 0
    while data := files.read(name, at, chunk):
        digest.update(data)
        at += len(data)
    return digest.hexdigest()


def _preview(out: str, job: JobSpec, rows: list[dict]) -> bytes | None:
    """Final images beside the bodies over them, or alone where the body model is not at hand."""
    from PIL import Image

    from factory.models.body import BodyModel
    from factory.present.samples import painter, spread

    chosen = spread(rows, PICTURES)
    if not chosen:
        return None
    try:
        body = BodyModel(resolve(job.body.model))
    except UserError:
        body = None
    paint = painter(body, ("final", "mesh"), SIDE)
    drawn = [[image for image in paint(read_sample(out, row)).values() if image is not None] for row in chosen]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pictures.contact_sheet(drawn, 3, SIDE))).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _card(job: JobSpec, stats: Stats, preview: bool) -> str:
    from jinja2 import Environment

    licences = [
        (need.field.removeprefix("stages.").removesuffix(".model"), need.model, _licence(need)) for need in needs(job)
    ]
    counts = [("planned", stats.planned), ("ok", stats.images), *stats.states.items(), *stats.reasons.items()]
    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False)
    template = environment.from_string(Path(__file__).with_name("card.md.j2").read_text("utf-8"))
    return template.render(
        front=_front(job, stats, {licence for _, _, licence in licences}),
        name=job.name,
        images=stats.images,
        people=sum(number * count for number, count in stats.people.items()),
        body=_code(job.body.name),
        preview=preview,
        members=extensions(job),
        counts=[(_plain(label), count) for label, count in dict(counts).items()],
        measures=[
            (name, [figure(value, m.end) for value in (m.mean, m.low, m.median, m.high)], SAYS[name])
            for name, m in stats.measures.items()
        ],
        actions=[(_plain(label), count) for label, count in list(stats.actions.items())[:ACTIONS]],
        licences=[(part, _code(model), licence) for part, model, licence in licences],
        seed=job.seed,
    )


def _front(job: JobSpec, stats: Stats, licences: set[str]) -> str:
    """What the hub reads: as YAML."""
    import yaml

    one = licences == {OURS}
    front: dict[str, Any] = {
        "pretty_name": job.name,
        "license": OURS.lower() if one else "other",
        **({} if one else {"license_name": "see-licences", "license_link": CARD}),
        "task_categories": ["keypoint-detection"],
        "tags": ["human-mesh-recovery", "smpl", "synthetic", "webdataset", "diffusion-hpc"],
        "size_categories": [next((name for most, name in SIZES.items() if stats.images < most), "10M<n<100M")],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": f"{job.name}-*.tar"}]}],
    }
    return yaml.safe_dump(front, sort_keys=False, width=120)


def _licence(need: Need) -> str:
    if need.model.startswith(PREFIX):
        return OURS
    name = f"{need.model.lower()} {need.part}"
    return next((known[1] for word, known in SOURCES.items() if word in name), "not known: ask its source")


def _plain(text: str) -> str:
    """On one line of a table, as it reads: nothing in a prompt or a name becomes markup, a link, an image or HTML."""
    escaped = re.sub(r"([\\|*_~\[\]!#])", r"\\\1", " ".join(text.split()).replace("`", "'"))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str) -> str:
    """Between two backticks, where nothing but a backtick is markup; in a table, a bar is too."""
    return " ".join(text.split()).replace("`", "'").replace("|", "\\|")
