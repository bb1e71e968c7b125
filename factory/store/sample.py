"""One finished record as the files of one sample: jpg, png, json, npy, npz, and no pickle."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, create_model

from factory.job import JobSpec
from factory.metrics import METRICS, Metric, may_be_missing, of_images, of_people
from factory.record import Record

# smpl.npz: array -> shape of one person's row. float32; units and frames as in factory.record.Person.
PERSON_ARRAYS: dict[str, tuple[int, ...]] = {
    "global_orient": (3,),
    "body_pose": (69,),
    "pose": (72,),  # global_orient ++ body_pose
    "betas": (10,),
    "transl": (3,),
    "K": (3, 3),
    "camera": (3,),
    "crop": (3,),
    "joints2d": (49, 3),
    "joints3d": (49, 4),
    "bbox": (4,),
    "detection_score": (),
    **{metric.name: () for metric in of_people()},  # NaN where it was not or cannot be measured
}
KEY = r"^[a-z0-9][a-z0-9_-]*-[0-9]{8}$"  # of a sample. Readers check it, because it becomes a file's name
EXTRAS = {"initial": ["initial.jpg"], "depth": ["depth.npy"], "masks": ["person.png", "object.png"]}


class Models(BaseModel):
    """Which weights made the sample: folder or hub id, with @revision where one was named. Empty: none."""

    model_config = ConfigDict(extra="forbid")
    generate: str = Field(description="Empty: a real image took its place.")
    generate_adapter: str
    hmr: str = Field(description="Empty: the poses were given.")
    prior: str
    detector: str
    refine: str
    refine_adapter: str
    controlnet: str = Field(description="Of refine.")


class SampleFields(BaseModel):
    """Those fields of the `json` member that are no metrics."""

    model_config = ConfigDict(extra="forbid")
    key: str = Field(pattern=KEY, description="Name of the sample, without extension.")
    prompt: str
    source: str = Field(description="The real image, or the row of the pose file, that it comes from; empty: neither.")
    variant: int = Field(ge=0, description="Of that image or row, or of one text-to-image image.")
    seed: int = Field(ge=0, lt=2**63, description="Everything random in this sample follows from it.")
    state: Literal["ok"] = Field(description="Only finished records become samples; the others are rows of the index.")
    refined: bool = Field(description="False: the final image is the initial one.")
    people: int = Field(ge=0, description="Rows of smpl.npz.")
    width: int = Field(description="Of the final image, px.")
    height: int = Field(description="Of the final image, px.")
    body: str = Field(description="The body model that pose and betas belong to.")
    models: Models


def _field(metric: Metric) -> Any:
    """Its type and description, as pydantic's `create_model` takes them."""
    return (float | None if metric.optional else float, Field(description=metric.about))


SampleJson: type[SampleFields] = create_model(
    "SampleJson",
    __base__=SampleFields,
    __doc__="The `json` member. The same fields, with the same types, in every sample.",
    **{metric.name: _field(metric) for metric in of_images()},
)


def extensions(job: JobSpec) -> list[str]:
    """The members of every sample, in order. They hold no key: a member is called key.extension."""
    extras = [name for extra, names in EXTRAS.items() if extra in job.sample.extras for name in names]
    return ["jpg", "json", "smpl.npz", *extras]


def encode_sample(record: Record, job: JobSpec) -> list[tuple[str, bytes]]:
    """(member name, bytes) of a finished record. Raises ValueError where the stages left something out."""
    final, shape = _present(record, "final"), (job.image_size, job.image_size, 3)
    if final.shape != shape or final.dtype != np.uint8:
        raise ValueError(f"final image is {final.dtype} {final.shape}, not uint8 {shape}")
    files = {"jpg": _jpeg(final, job), "json": _json(record, job), "smpl.npz": npz_bytes(_people(record))}
    if "initial" in job.sample.extras:
        files["initial.jpg"] = _jpeg(_present(record, "initial"), job)
    if "depth" in job.sample.extras:
        files["depth.npy"] = _npy(_present(record, "depth").astype(np.float32))
    if "masks" in job.sample.extras:
        files["person.png"] = _png(_present(record, "person_mask"))
        files["object.png"] = _png(_present(record, "object_mask"))
    return [(f"{record.key}.{extension}", files[extension]) for extension in extensions(job)]


def npz_bytes(arrays: dict[str, np.ndarray], deflate: bool = False) -> bytes:
    """numpy's .npz, stored or deflated, with the fixed dates that numpy does not set."""
    buffer, kind = io.BytesIO(), zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980-01-01
            info.create_system = 3  # whatever the system
            archive.writestr(info, _npy(array), kind)
    return buffer.getvalue()


def _people(record: Record) -> dict[str, np.ndarray]:
    arrays = {}
    for name, shape in PERSON_ARRAYS.items():
        rows: list[Any]
        if name == "pose":
            rows = [np.concatenate([person.global_orient, person.body_pose]) for person in record.people]
        elif name in METRICS:
            missing = METRICS[name].missing
            rows = [person.metrics.get(name, np.nan if missing is None else missing) for person in record.people]
        else:
            rows = [getattr(person, name) for person in record.people]
        if any(np.shape(row) != shape for row in rows):
            raise ValueError(f"{name} is {np.shape(rows[0])}, not {shape}")
        arrays[name] = np.array(rows, np.float32).reshape(-1, *shape)
        if not may_be_missing(name) and not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} is not finite")
    return arrays


def _json(record: Record, job: JobSpec) -> bytes:
    drawn, estimate, refine = job.images is None, job.stages.estimate, job.stages.refine
    models = Models(
        generate=_id(job.stages.generate.model, job.stages.generate.revision) if drawn else "",
        generate_adapter=job.stages.generate.adapter or "" if drawn else "",
        hmr=estimate.hmr.model if estimate.hmr and not job.poses else "",
        prior=estimate.prior.model,
        detector=estimate.detector.model,
        refine=_id(refine.model, refine.revision),
        refine_adapter=refine.adapter or "",
        controlnet=refine.controlnet or "",
    )
    fields: dict[str, Any] = {
        "key": record.key, "prompt": record.prompt, "source": record.source, "variant": record.variant,
        "seed": record.seed, "state": "ok", "refined": record.refined, "people": len(record.people),
        "width": job.image_size, "height": job.image_size, "body": job.body.name, "models": models,
        **{metric.name: record.metrics.get(metric.name, metric.missing) for metric in of_images()},
    }  # fmt: skip
    sample = SampleJson(**fields)
    return json.dumps(sample.model_dump(), sort_keys=True, allow_nan=False).encode()


def _id(model: str | None, revision: str | None) -> str:
    return f"{model}@{revision}" if model and revision else model or ""


def _present(record: Record, name: str) -> np.ndarray:
    array = getattr(record, name)
    if array is None:
        raise ValueError(f"no stage made {name}")
    return array


def _jpeg(image: np.ndarray, job: JobSpec) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=job.sample.jpeg_quality, subsampling=0)
    return buffer.getvalue()


def _png(mask: np.ndarray) -> bytes:
    """A mask (H, W) bool as 8-bit grey, 0 or 255."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, "png")
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
