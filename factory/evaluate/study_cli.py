"""`factory evaluate study` and `study-sum`: the user study, before and after the raters."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def study(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A data set that keeps its initial images.")],
    pairs: Annotated[int, typer.Option(help="Pairs of images, drawn at random; the same for all raters.")] = 100,
    raters: Annotated[int, typer.Option(help="People who judge them, each with a page of their own.")] = 6,
    to: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="The folder to write. Default: study-NAME here.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the pairs, and the order and sides of each rater.")] = 0,
    repeats: Annotated[
        int | None,
        typer.Option(
            help="Pairs that each rater sees again with sides exchanged, to measure consistency. Default: one in 20.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a page for each rater that asks, blinded, which image has the more plausible human pose: initial or final.

    All that a rater needs is in the page; the answers come back as a file, which `study-sum` reads.
    """
    from factory.evaluate.progress import ImagesProgress
    from factory.evaluate.study import write_study
    from factory.evaluate.study_files import KEY
    from factory.present.terminal import open_console, say
    from factory.present.words import size

    with ImagesProgress(open_console(stderr=True)) as progress:
        written = write_study(out, pairs, raters, to, seed, repeats, progress)
    console, folder = open_console(), written.folder
    again = f", {written.repeats} of them for the second time" if written.repeats else ""
    first, last = written.pages[0], written.pages[-1]
    names = first if first == last else f"{first} to {last}"
    for note in written.notes:
        say(console, f"note: {note}")
    say(console, f"{folder}: {names}, {written.trials} pairs on a page{again}, {size(written.page_bytes)} at most")
    say(console, f"Give each rater one page, and keep {KEY} from them: it says which image is which")
    say(console, f"Then put the files they save beside it: factory evaluate study-sum {folder}")


def study_sum(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY_DIR|ANSWERS...",
            help="The study's folder, with the raters' answers*.json in it; or their files, which may lie elsewhere.",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say how often raters prefer the final image, how sure that is, and how far they agree."""
    from factory.evaluate.study_sum import load_study, summarise_study
    from factory.evaluate.study_table import as_plain, show_summary
    from factory.present.terminal import open_console

    summary = summarise_study(*load_study(paths))
    if as_json:
        print(json.dumps(as_plain(summary), indent=2))
    else:
        show_summary(open_console(), summary)
