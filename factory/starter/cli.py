"""`factory starter`: train the embedded pack, measure it, and draw the world that it was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from factory.starter.train.options import StarterOptions
from factory.training.flags import from_fields

starter = typer.Typer(
    help="Train, measure and show the embedded starter pack.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
EVAL_CACHE, QUICK_CACHE = Path("out/starter/eval"), Path("out/starter/eval-quick")
SEED = 3  # the job and the pack were chosen on images of the seeds 0, 1 and 2
FIGURES = Path("out/starter/figures.json")


@starter.command()
@from_fields
def train(options: StarterOptions) -> None:
    """Train models on the rendered world, or go on where an earlier training stopped."""
    from factory.starter.train.run import train_models

    train_models(options)


@starter.command()
def evaluate(
    cache: Annotated[
        Path | None,
        typer.Option(
            help=f"Held-out scenes; rendered where they are missing. Default: {EVAL_CACHE}, with --quick {QUICK_CACHE}."
        ),
    ] = None,
    job: Annotated[Path, typer.Option(help="The job whose stages draw the images.")] = Path("jobs/demo.yaml"),
    part: Annotated[
        list[str] | None,
        typer.Option(help="renders, images, adapter, speed (against the authors' loop) or size. Repeatable."),
    ] = None,
    adapter: Annotated[
        str, typer.Option(help="The adapter that part `adapter` measures on the domain smart-like: a file or folder.")
    ] = "starter:adapter",
    quick: Annotated[
        bool, typer.Option("--quick", help="Few images: they show that it runs, not how good the pack is.")
    ] = False,
    seed: Annotated[int, typer.Option(min=1, help="Seed of the drawn images; the demo's own is 0.")] = SEED,
    out: Annotated[Path, typer.Option(help="Where the figures are stored.")] = FIGURES,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure the pack on what no training has used, and print and store the figures beside their goals."""
    from factory.errors import UserError
    from factory.present.terminal import open_console
    from factory.starter.measure.evaluate import PARTS, evaluate_pack, show_figures, store_figures

    parts = part or PARTS
    if unknown := set(parts) - set(PARTS):
        raise UserError(f"part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    cache = cache or (QUICK_CACHE if quick else EVAL_CACHE)
    table = evaluate_pack(cache, job, tuple(dict.fromkeys(parts)), seed, quick, adapter)
    store_figures(table, out)
    if as_json:
        print(json.dumps(table.as_json(), indent=1))
    else:
        show_figures(table, open_console())


@starter.command()
def sheet(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A .jpg or .png file.")] = Path("out/starter/actions.jpg"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first scene.")] = 0,
    each: Annotated[int, typer.Option(min=1, help="Scenes of each action.")] = 1,
) -> None:
    """Draw the contact sheet of the world: scenes of every action, with their names."""
    from factory.starter.world.sheet import draw_sheet

    draw_sheet(out, seed, each)
    print(out)


@starter.command()
def domain(
    name: Annotated[str, typer.Argument(metavar="smart-like|ski-like", help="Which one.", show_default=False)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.", show_default=False)],
    train: Annotated[
        int | None, typer.Option(min=1, help="Images of each action for training.", show_default="100, or 600 skiers")
    ] = None,
    test: Annotated[
        int | None, typer.Option(min=1, help="Held-out images, of all actions together.", show_default="500")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other images.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that render.", show_default="one for each core")
    ] = None,
) -> None:
    """Write a target domain: images in SMART's or Ski-Pose's layout, and test.npz with the truth of held-out ones."""
    from factory.present.terminal import open_console, say
    from factory.starter.world.domain_files import write_domain

    console = open_console()
    done = write_domain(name, out, train, test, seed, workers, console)
    say(console, f"{'Done' if done else 'Nothing to do'}: {out} holds {name}.")
