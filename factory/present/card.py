"""The files that make a finished data set ready to be uploaded: README.md (the dataset card), preview.jpg, wids.json.

Their bytes follow from the shards and the job alone, so a data set made twice has the same card.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from factory.errors import UserError
from factory.job import JobSpec
from factory.metrics import METRICS, of_people
from factory.present import pictures
from factory.present.stats import Stats, figure, summarise
from factory.record import State
from factory.store.beside import card_state, decode_shard_list, encode_shard_list, shards_stamp, signed_card
from factory.store.dataset import DataSet
from factory.store.fs import Files
from factory.store.index import LARGEST_INDEX, Head
from factory.store.layout import CARD, PREVIEW, SHARD_LIST
from factory.store.read_ahead import in_order
from factory.store.sample import extensions
from factory.store.status import survey_data
from factory.weights.catalogue import STARTER_LICENCE, needs
from factory.weights.locate import resolve

PICTURES, SIDE = 12, 180  # on the preview; px
ACTIONS = 100  # rows at most
SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}


def write_card(data: DataSet) -> bool:
    """Write the card of a data set whose shards are all sealed, and write it anew where the shards have changed since.
    A card that was edited by hand stays; wids.json always lists the shards that are there. Returns whether anything
    was written."""
    if len(data.sealed) < data.plan.shards:
        return False
    survey = survey_data(data, count_parts=False)
    if survey.broken:
        return False
    stamp = shards_stamp({shard: head.own_hash for shard, head in survey.sealed.items()}, data.fingerprint)
    card, listed = _there(data, CARD), _there(data, SHARD_LIST)
    keep_card = card is not None and ((state := card_state(card)).edited or state.stamp == stamp)
    keep_list = listed is not None and _stamp(listed) == stamp
    if keep_card and keep_list:
        return False
    if not keep_list:
        data.files.put(SHARD_LIST, [_shards(data, survey.sealed, stamp)])
    if not keep_card:
        rows = [row for row in data.rows.to_pylist() if row["size"]]
        if preview := _preview(data, rows):
            data.files.put(PREVIEW, [preview])
        page = _card(data.job, summarise(data.address, data.job, data.rows), bool(preview))
        data.files.put(CARD, [signed_card(page, stamp).encode()])
    return True


def _there(data: DataSet, name: str) -> bytes | None:
    return data.files.read(name, 0, LARGEST_INDEX) if name in data.sizes else None


def _stamp(listed: bytes) -> str | None:
    try:
        return decode_shard_list(listed)[0]
    except ValueError:
        return None


def _shards(data: DataSet, sealed: dict[int, Head], stamp: str) -> bytes:
    """The bytes of wids.json, the list of shards that the package `wids` reads."""
    shards = [shard for shard in sorted(sealed) if sealed[shard].bytes]

    def entry(shard: int) -> dict[str, Any]:
        name, size = data.shard(shard).tar_name, sealed[shard].bytes
        count = sealed[shard].states.get(State.OK, 0)
        return {"url": name, "md5sum": _md5(data.files, name, size), "nsamples": count, "filesize": size}

    return encode_shard_list(data.job.name, list(in_order(entry, shards, data.files, lambda shard: 0)), stamp)


def _md5(files: Files, name: str, size: int, chunk: int = 1 << 24) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for at in range(0, size, chunk):
        digest.update(files.read(name, at, min(chunk, size - at)))
    return digest.hexdigest()


def _preview(data: DataSet, rows: list[dict[str, Any]]) -> bytes | None:
    """The bytes of preview.jpg: final images, each beside the same image with its labelled bodies drawn over it;
    without the body model, final images alone. None when there is no sample."""
    from PIL import Image

    from factory.geometry.body import BodyModel
    from factory.present.samples import damage, painter, spread, stored

    chosen = spread(rows, PICTURES)
    if not chosen:
        return None
    try:
        body = BodyModel(resolve(data.job.body.model))
    except UserError:
        body = None
    paint = painter(data.job, body, ("final", "mesh"), SIDE)
    drawn = []
    for row, files in stored(data, chosen):
        with damage(data, row["key"]):
            drawn.append([image for image in paint(files).values() if image is not None])
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pictures.contact_sheet(drawn, 3, SIDE))).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _card(job: JobSpec, stats: Stats, preview: bool) -> str:
    from jinja2 import Environment

    licences = [
        (need.field.removeprefix("stages.").removesuffix(".model"), need.model, need.licence) for need in needs(job)
    ]
    counts = [("planned", stats.planned), ("ok", stats.images), *stats.states.items(), *stats.reasons.items()]
    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False)
    template = environment.from_string(Path(__file__).with_name("card.md.j2").read_text("utf-8"))
    return template.render(
        front=_front(job, stats, {each for _, _, each in licences}),
        name=job.name,
        images=stats.images,
        people=sum(number * count for number, count in stats.people.items()),
        body=_code(job.body.name),
        preview=preview,
        members=extensions(job),
        counts=[(_plain(label), count) for label, count in dict(counts).items()],
        of_people=[metric.name for metric in of_people() if metric.optional],
        measures=[
            (name, [figure(value, name) for value in (m.mean, m.low, m.median, m.high)], METRICS[name].about)
            for name, m in stats.measures.items()
        ],
        actions=[(_plain(label), count) for label, count in list(stats.actions.items())[:ACTIONS]],
        licences=[(part, _code(model), each) for part, model, each in licences],
        seed=job.seed,
    )


def _front(job: JobSpec, stats: Stats, licences: set[str]) -> str:
    """The YAML header of the card, which the Hugging Face hub reads."""
    import yaml

    one = licences == {STARTER_LICENCE}
    front: dict[str, Any] = {
        "pretty_name": job.name,
        "license": STARTER_LICENCE.lower() if one else "other",
        **({} if one else {"license_name": "see-licences", "license_link": CARD}),
        "task_categories": ["keypoint-detection"],
        "tags": ["human-mesh-recovery", "smpl", "synthetic", "webdataset", "diffusion-hpc"],
        "size_categories": [next((name for most, name in SIZES.items() if stats.images < most), "10M<n<100M")],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": f"{job.name}-*.tar"}]}],
    }
    return yaml.safe_dump(front, sort_keys=False, width=120)


def _plain(text: str) -> str:
    """The text on one line of a Markdown table, shown as it is: Markdown and HTML in prompts and names are escaped."""
    escaped = re.sub(r"([\\|*_~\[\]!#])", r"\\\1", " ".join(text.split()).replace("`", "'"))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str) -> str:
    """The text for the inside of `code` in a Markdown table: backticks and bars, which are markup there, are
    replaced."""
    return " ".join(text.split()).replace("`", "'").replace("|", "\\|")
