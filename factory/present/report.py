"""OUT/report.html and OUT/contact.png: what a data set looks like, in a page that needs nothing beside it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from factory.errors import UserError
from factory.job import JobSpec
from factory.present import pictures
from factory.present.words import size, state_counts
from factory.store.layout import read_job
from factory.store.status import Status, read_index, read_sample
from factory.store.status import status as read_status

TEMPLATE = Path(__file__).with_name("report.html.j2")
COLUMNS = ("initial", "masks", "depth", "final", "mesh")


@dataclass
class Card:
    """One sample of the page: its index row, its pictures by column ((H, W, 3) uint8, or None where not stored)."""

    row: dict
    pictures: dict[str, np.ndarray | None]


def write(out: str, limit: int = 48) -> tuple[Path, bool]:
    """Write the report of a data set, complete or not. Returns its path, and whether there was anything to do.

    At most `limit` samples are shown, evenly spread. UserError: no data set there.
    """
    status, job = read_status(out), read_job(out)
    rows = sorted(read_index(out).to_pylist(), key=lambda row: row["key"])
    path = Path(out) / "report.html"
    stamp = _stamp(rows, limit)
    if path.is_file() and stamp in path.read_text(encoding="utf-8")[:600] and path.with_name("contact.png").is_file():
        return path, False
    shown = _spread([row for row in rows if row["size"]], limit)
    draw = _painter(job)
    cards = [Card(row, draw(read_sample(out, row))) for row in shown]
    _save(path.with_name("contact.png"), _contact(cards))
    _save(path, _page(status, job, cards, [row for row in rows if row["state"] != "ok"], stamp).encode())
    return path, True


def _painter(job: JobSpec) -> Callable[[dict[str, bytes]], dict[str, np.ndarray | None]]:
    """Files of a sample -> its pictures. Without the body model (it may be on another machine) no mesh is drawn."""
    from factory.models.body import BodyModel
    from factory.starter import pack

    try:
        body = BodyModel(pack.resolve(job.body.model))
    except UserError:
        body = None

    def paint(files: dict[str, bytes]) -> dict[str, np.ndarray | None]:
        out: dict[str, np.ndarray | None] = dict.fromkeys(COLUMNS)
        final = out["final"] = _image(files["jpg"])
        if "initial.jpg" in files:
            out["initial"] = _image(files["initial.jpg"])
        if "person.png" in files:
            behind = final if out["initial"] is None else out["initial"]
            out["masks"] = pictures.masks(behind, *(_mask(files[name]) for name in ("person.png", "object.png")))
        if "depth.npy" in files:
            out["depth"] = pictures.depth(np.load(io.BytesIO(files["depth.npy"]), allow_pickle=False))
        if body is not None:
            with np.load(io.BytesIO(files["smpl.npz"]), allow_pickle=False) as people:
                out["mesh"] = pictures.overlay(final, dict(people), body)
        return out

    return paint


def _page(status: Status, job: JobSpec, cards: list[Card], others: list[dict], stamp: str) -> str:
    from jinja2 import Environment

    stages = job.stages
    facts = {
        "body": job.body.name,
        "initial images": job.images.path if job.images else stages.generate.model,
        "depth-to-image": stages.refine.model,
        "poses": job.poses.path if job.poses else stages.estimate.hmr.model if stages.estimate.hmr else "",
        "pose prior": stages.estimate.prior.model,
        "detector": stages.estimate.detector.model,
        "image": f"{job.image_size} x {job.image_size} px",
        "strength": stages.refine.strength,
        "hard when score >": stages.estimate.prior.tau,
        "easy poses": stages.estimate.easy,
        "seed": job.seed,
    }
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        name=status.name,
        planned=status.planned,
        shards=f"{status.shards_sealed} of {status.shards_planned} shards sealed",
        complete=status.complete,
        size=size(status.bytes),
        states=state_counts(status.states, status.planned),
        reasons=sorted(status.reasons.items(), key=lambda item: -item[1]),
        facts=facts,
        cards=[_links(card) for card in cards],
        others=others,
        columns=COLUMNS,
        stamp=stamp,
    )


def _links(card: Card) -> dict:
    uris = {name: None if image is None else pictures.data_uri(image) for name, image in card.pictures.items()}
    return {**card.row, "pictures": uris}


def _contact(cards: list[Card]) -> bytes:
    from PIL import Image

    names = ("initial", "final", "mesh")
    rows = [[image for name in names if (image := card.pictures[name]) is not None] for card in cards]
    buffer = io.BytesIO()
    Image.fromarray(pictures.contact_sheet(rows)).save(buffer, "PNG")
    return buffer.getvalue()


def _stamp(rows: list[dict], limit: int) -> str:
    """Changes with what the page would show, and with how it shows it."""
    shown = [[row["key"], row["state"], row["attempts"], row["size"]] for row in rows]
    code = b"".join(Path(__file__).with_name(name).read_bytes() for name in ("report.py", "pictures.py", TEMPLATE.name))
    return hashlib.blake2b(json.dumps([shown, limit]).encode() + code, digest_size=12).hexdigest()


def _spread(rows: list[dict], limit: int) -> list[dict]:
    if len(rows) <= limit:
        return rows
    return [rows[i * len(rows) // limit] for i in range(limit)]


def _image(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _mask(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("L")) > 127


def _save(path: Path, data: bytes) -> None:
    """Whole or not at all: a reader never sees half a page."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
