"""report.html and contact.png: what a data set looks like, in a page that needs nothing beside it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from factory.errors import UserError
from factory.job import JobSpec
from factory.metrics import METRICS, of_images
from factory.present import pictures
from factory.present.mesh import as_base64, coarse, encode_bodies
from factory.present.samples import COLUMNS, POSED, damage, painter, spread, stored
from factory.present.stats import Stats, action, figure, summarise
from factory.present.words import size, state_counts
from factory.store.dataset import DataSet
from factory.store.decode import decode_people
from factory.store.disk import WRITE_ELSEWHERE, expanded
from factory.store.fs import Files, LocalFiles, open_files
from factory.store.layout import CONTACT, REPORT
from factory.store.status import Status
from factory.store.status import status as read_status

TEMPLATE, SCRIPT = "report.html.j2", "report.js"
PICTURE_SIDE = 320  # px at most, of a picture in the page
LISTED = 500  # records without a sample at most
IN_CONTACT = 48
REPORT_MARK = b'<meta name="factory-stamp"'  # a page of ours holds it near its beginning


@dataclass
class ShownSample:
    """One sample of the page: its index row; its pictures by column, (H, W, 3) uint8 or None where not stored; its
    bodies as `mesh.encode_bodies` gives them, None without the body model."""

    row: dict[str, Any]
    pictures: dict[str, np.ndarray | None]
    bodies: dict[str, Any] | None


def write_report(data: DataSet, limit: int = 48, to: str | None = None) -> tuple[str, bool]:
    """Write the report of a data set, complete or not. Returns its address, and whether there was anything to do.

    At most `limit` samples are shown, evenly spread. `to`: a folder for report.html and contact.png, or an .html file
    for the page alone; without it, the data set. UserError: it cannot be written to, or `to` holds a file that is no
    report.
    """
    try:
        return _write(data, limit, *_target(data, to))
    except UserError as error:
        if to is None and WRITE_ELSEWHERE in str(error):
            raise UserError(f"{error}: factory inspect {data.address} --to DIR") from None
        raise


def _target(data: DataSet, to: str | None) -> tuple[Files, str, str]:
    """(where the report is written, the page's name, the contact sheet's name: empty for none)."""
    if to is None:
        return data.files, REPORT, CONTACT
    place = Path(expanded(to, "--to"))
    page = "" if place.is_dir() or place.suffix.lower() not in (".html", ".htm") else place.name
    files = open_files(to) if "://" in to else LocalFiles(place.parent if page else place, "--to")
    names = (page, "") if page else (REPORT, CONTACT)
    there = {name for name in names if name and _lies(files, name)}
    if there and not (_lies(files, names[0]) and REPORT_MARK in files.read(names[0], 0, 600)):
        raise UserError(f"--to {to}: {min(there)} is there and belongs to no report; name another place")
    return files, *names


def _lies(files: Files, name: str) -> bool:
    try:
        files.read(name, 0, 1)
        return True
    except FileNotFoundError:
        return False


def _write(data: DataSet, limit: int, files: Files, page_name: str, contact: str) -> tuple[str, bool]:
    status, job, table = read_status(data), data.job, data.rows
    rows = sorted(table.to_pylist(), key=lambda row: row["key"])
    folder = files.root if isinstance(files, LocalFiles) else None
    address = (folder / page_name).absolute().as_uri() if folder else f"{files.address}/{page_name}"
    stamp = _stamp(rows, limit)
    whole = _lies(files, page_name) and (not contact or _lies(files, contact))
    if whole and stamp.encode() in files.read(page_name, 0, 600):
        return address, False
    chosen = spread([row for row in rows if row["size"]], limit)
    faces, samples = _samples(data, chosen)
    packed, sheet = [], []
    in_contact = {row["key"] for row in spread(chosen, IN_CONTACT)}
    for sample in samples:  # one at a time: of a thousand only the packed pictures are held
        packed.append(_packed(sample, job))
        if sample.row["key"] in in_contact:
            sheet.append(
                [image for name in ("initial", "final", "mesh") if (image := sample.pictures[name]) is not None]
            )
    if contact:
        files.put(contact, [_png(pictures.contact_sheet(sheet))])
    page = _page(status, job, summarise(data.address, job, table), rows, chosen, packed, faces, stamp)
    files.put(page_name, (part.encode() for part in page))
    return address, True


def _samples(data: DataSet, rows: list[dict[str, Any]]) -> tuple[np.ndarray | None, Iterator[ShownSample]]:
    """(faces of the bodies, the samples). Without the body model, which may be on another machine, no bodies."""
    from factory.geometry.body import BodyModel
    from factory.weights.locate import resolve

    try:
        body = BodyModel(resolve(data.job.body.model))
    except UserError:
        body = None
    paint = painter(data.job, body)

    def draw() -> Iterator[ShownSample]:
        for row, files in stored(data, rows):
            bodies = None
            with damage(data, row["key"]):
                people = decode_people(files["smpl.npz"], POSED)
                if body is not None and len(people["K"]):
                    bodies = encode_bodies(people, body)
                drawn = paint(files)
            yield ShownSample(row, drawn, bodies)

    return None if body is None else coarse(body)[1], draw()


def _packed(sample: ShownSample, job: JobSpec) -> str:
    """The sample as the page holds it: JSON, its pictures inside."""
    links = {
        name: pictures.data_uri(pictures.fit(image, PICTURE_SIDE))
        for name, image in sample.pictures.items()
        if image is not None
    }
    return _json({"pictures": links, "bodies": sample.bodies and {**sample.bodies, "size": job.image_size}})


def _page(
    status: Status, job: JobSpec, stats: Stats, rows: list[dict[str, Any]], chosen: list[dict[str, Any]],
    packed: list[str],
    faces: np.ndarray | None, stamp: str,
) -> Iterable[str]:  # fmt: skip
    from jinja2 import Environment
    from markupsafe import Markup

    stages = job.stages
    facts = {
        "body": job.body.name,
        "first images": job.images.path if job.images else stages.generate.model,
        "depth-to-image": stages.refine.model,
        "poses from": job.poses.path if job.poses else stages.estimate.hmr.model if stages.estimate.hmr else "",
        "pose prior": stages.estimate.prior.model,
        "detector": stages.estimate.detector.model,
        "image": f"{job.image_size} × {job.image_size} px",
        "strength": stages.refine.strength,
        "hard when score >": stages.estimate.prior.tau,
        "easy poses": stages.estimate.easy,
        "seed": job.seed,
    }
    without = [row for row in rows if not row["size"]]
    listed = list(_listed(job, chosen, without[:LISTED]))
    shown = ("label", "short", "about", "unit", "digits", "initial")
    metrics = {metric.name: {name: getattr(metric, name) for name in shown} for metric in of_images()}
    data = {"columns": COLUMNS, "metrics": metrics, "rows": listed,
            "faces": None if faces is None else as_base64(faces.astype("<u2"))}  # fmt: skip
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": figure}
    return environment.from_string(_beside(TEMPLATE)).generate(
        name=status.name,
        planned=status.planned,
        shards=f"{status.shards_sealed} of {status.shards_planned} shards sealed",
        complete=status.complete,
        size=size(status.bytes),
        states=state_counts(status.states, status.planned),
        reasons=sorted(status.reasons.items(), key=lambda item: -item[1]),
        facts=facts,
        stats=stats,
        metrics=METRICS,
        initial={metric.initial for metric in METRICS.values()},
        shown=len(chosen),
        actions=sorted({row["action"] for row in listed}),
        columns=COLUMNS,
        without=len(without),
        listed=min(len(without), LISTED),
        data=Markup(_json(data)),
        data_rows=len(listed),
        samples=map(Markup, packed),
        code=Markup(_beside(SCRIPT)),
        stamp=stamp,
    )


def _listed(job: JobSpec, chosen: list[dict[str, Any]], without: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What the page knows of each record without opening its sample, in the plan's order."""
    number = {row["key"]: i for i, row in enumerate(chosen)}
    metrics = [metric.name for metric in of_images()]
    columns = ("key", "state", "prompt", "people", "refined", "stage", *metrics)
    actions = list(job.prompts.action)
    for row in sorted(chosen + without, key=lambda row: row["key"]):
        why = f"{row['stage']}: {row['reason'] or row['error']}" if row["stage"] else ""
        entry = {name: row[name] for name in columns}
        entry |= {name: None for name in metrics if not np.isfinite(row[name] or 0)}  # of a stranger: JSON has no NaN
        yield {**entry, "why": why, "action": action(row["prompt"], actions), "sample": number.get(row["key"], -1)}


def _json(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _stamp(rows: list[dict[str, Any]], limit: int) -> str:
    """Changes with what the page would show, and with how it shows it."""
    shown = [[row["key"], row["state"], row["attempts"], row["size"]] for row in rows]
    parts = ("report.py", "pictures.py", "samples.py", "mesh.py", "stats.py", TEMPLATE, SCRIPT)
    code = "".join(map(_beside, parts)).encode()
    return hashlib.blake2b(json.dumps([shown, limit, repr(METRICS)]).encode() + code, digest_size=12).hexdigest()


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")
