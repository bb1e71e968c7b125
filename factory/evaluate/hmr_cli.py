"""`factory evaluate hmr`: how well an estimator of bodies estimates labelled people."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from factory.errors import UserError


def hmr(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="SPIN's checkpoint, a folder that was trained here, or starter:hmr.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A data set of the factory, smart:DIR[@SPLIT], skipose:DIR[@SPLIT], or FILE.npz[:IMAGES] as SPIN's.",
            show_default=False,
        ),
    ],
    kind: Annotated[str, typer.Option(help="What the model is: spin, bev, or a kind that a package brings.")] = "spin",
    body: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The body model of the estimator: SMPL_NEUTRAL as .pkl or .npz, or starter:body, which is the default "
            "for parts of the starter pack. J_regressor_h36m.npy, SMPL_MALE and SMPL_FEMALE are read beside it.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(metavar="train|test", help="Of SMART and Ski-Pose.")] = "test",
    where: Annotated[
        str | None, typer.Option(metavar="CONDITION", help='Of a data set of the factory: --where "score > 30".')
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many people, evenly spread.", show_default=False)
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write worst.png, median.png and best.png there: crop, estimate, truth."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say how far estimated bodies are from the labels: MPJPE, PA-MPJPE, PVE, PCK, AUC and OKS, each with its interval.

    Everybody is shown to the estimator in the square that the labels give, as in fine-tuning.
    """
    from factory.evaluate.bodies import MeasuredBody
    from factory.evaluate.hmr import evaluate_estimator
    from factory.evaluate.hmr_pictures import write_pictures
    from factory.evaluate.hmr_table import estimator_json, show_estimator
    from factory.evaluate.progress import ImagesProgress
    from factory.labelled.base import STARTER_BODY
    from factory.labelled.choice import open_people
    from factory.models.device import pick
    from factory.models.hmr.choice import kinds, load_hmr
    from factory.present.terminal import open_console, say
    from factory.weights.catalogue import SMPL
    from factory.weights.locate import PREFIX

    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise UserError(f"--device {device}: there are auto, cpu, cuda and cuda:N")
    if kind not in kinds():
        raise UserError(f"--kind {kind}: there are {', '.join(kinds())}; packages bring more")
    starter = model.startswith(PREFIX)
    if body is None and not starter:
        raise UserError(f"--body: name the body model of {model}: {SMPL.origin}; or {STARTER_BODY}")
    if starter and body not in (None, STARTER_BODY):
        raise UserError(f"--body {body}: {model} gives bodies of {STARTER_BODY}; leave --body out")
    if pictures is not None and pictures.exists() and not pictures.is_dir():
        raise UserError(f"--pictures {pictures}: is a file; name a folder")
    people = open_people(data, split=split, where=where, limit=limit)
    chosen = pick(device)
    measured = MeasuredBody(body or STARTER_BODY, chosen)
    measured.require_betas_of(people)
    estimator = load_hmr(kind, model, chosen, crop_scale=1, body=measured.name)
    with ImagesProgress(open_console(stderr=True)) as progress:
        found = evaluate_estimator(estimator, measured, people, progress)
    written = write_pictures(pictures, people, measured, found.errors) if pictures else []
    if as_json:
        print(json.dumps(estimator_json(model, found), indent=2))
        return
    console = open_console()
    show_estimator(console, model, found)
    if written:
        say(console, f"Pictures: {', '.join(map(str, written))}")
