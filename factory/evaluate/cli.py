"""`factory evaluate`: what data sets and models are worth."""

from __future__ import annotations

import json
import re
from typing import Annotated

import typer

from factory.errors import UserError
from factory.evaluate import hmr_cli, study_cli

app = typer.Typer(
    help="Measure what data sets and estimators are worth, with the metrics of the field.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command()
def images(
    out: Annotated[list[str], typer.Argument(metavar="OUT", help="Data sets, one or several.", show_default=False)],
    real: Annotated[
        str,
        typer.Option(
            metavar="DIR|DATA",
            help="Real images: a folder, a list (.txt), tars (.tar), smart:DIR, skipose:DIR, or a data set.",
        ),
    ],
    humans: Annotated[
        bool, typer.Option("--humans", help="Also compare the people alone, cut out: H-FID, H-KID and the like.")
    ] = False,
    crop: Annotated[
        str,
        typer.Option(metavar="frame|person", help="With --humans: all people, or the first in a square."),
    ] = "frame",
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="KIND=MODEL", help="With --humans: mask2former=FOLDER or detectron2=FILE. Default: the starter's."
        ),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[=MODEL]",
            help="What images are compared by: inception (FID, KID), dinov2 (FD-DINOv2), clip (CMMD) or starter, which "
            "needs no download. Repeatable. Default: starter.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many images of each set, evenly spread.", show_default=False)
    ] = None,
    subset_size: Annotated[
        int | None,
        typer.Option(
            min=2, help="Images in each subset of KID. Default: 1000, or half of the smallest set.", show_default=False
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say how far images lie from real ones: initial and final, in one table for all data sets.

    Only figures of the same features, the same real images and as many images compare with each other.
    """
    from factory.evaluate.extractors import DEFAULT, load_extractor
    from factory.evaluate.humans import people_cutter
    from factory.evaluate.image_sets import Samples, real_images
    from factory.evaluate.image_table import comparison_json as plain
    from factory.evaluate.image_table import show_comparison
    from factory.evaluate.images import compare, spread_words
    from factory.evaluate.progress import ImagesProgress
    from factory.evaluate.resizing import RULE
    from factory.models.device import pick
    from factory.present.terminal import open_console

    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise UserError(f"--device {device}: there are auto, cpu, cuda and cuda:N")
    chosen = pick(device)
    sets, truth = [Samples(each, limit) for each in out], real_images(real, limit)
    extractors = [load_extractor(words, chosen) for words in dict.fromkeys(features or [DEFAULT])]
    methods = [each.about for each in extractors]
    cut = None
    if humans:
        cut, how = people_cutter(detector, sets[0].detector, crop, chosen)
        methods.append(how)
    with ImagesProgress(open_console(stderr=True)) as progress:
        comparison = compare(sets, truth, extractors, cut, subset_size, chosen, progress)
    comparison.methods = [*methods, f"resizing: {RULE}", spread_words()]
    if as_json:
        print(json.dumps(plain(comparison), indent=2))
    else:
        show_comparison(open_console(), comparison)


app.command()(hmr_cli.hmr)
app.command()(study_cli.study)
app.command("study-sum")(study_cli.study_sum)
