"""`factory starter`: train the embedded pack anew, measure it, and show the world it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Train, measure and show the embedded starter pack.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
CACHE, RUNS = Path("out/starter/cache"), Path("out/starter/train")
EVAL, QUICK = Path("out/starter/eval"), Path("out/starter/eval-quick")
SEED = 3  # the job and the pack were chosen by looking at 0, 1 and 2
PACK, FIGURES = Path("out/starter/weights"), Path("out/starter/figures.json")


@app.command()
def train(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="vae, diffusion, adapter, hmr, detector, vposer; none: all."),
    ] = None,
    cache: Annotated[Path, typer.Option(help="The rendered world; rendered where it is missing.")] = CACHE,
    scenes: Annotated[int, typer.Option(min=1, help="Scenes that a missing cache is rendered with.")] = 20_000,
    redrawn: Annotated[float, typer.Option(min=0, max=1, help="Share of them that diffusion redraws for hmr.")] = 0.2,
    out: Annotated[Path, typer.Option(help="Checkpoints and samples.png, a folder for each model.")] = RUNS,
    export: Annotated[Path, typer.Option(help="The models, laid out as factory/starter/weights.")] = PACK,
    start: Annotated[bool, typer.Option("--start", help="Go on from the embedded pack, not from nothing.")] = False,
    minutes: Annotated[float, typer.Option(min=0, help="Budget of each model; 0 = its own.")] = 0,
    steps: Annotated[int, typer.Option(min=0, help="Budget of each model in steps, in place of minutes.")] = 0,
    every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    batch: Annotated[int, typer.Option(min=0, help="0 = the model's own.")] = 0,
    rate: Annotated[float, typer.Option(min=0, help="Highest learning rate; 0 = the model's own.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, batches and noise.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 = as many as PyTorch takes.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that render; 0 = one a core.")] = 0,
) -> None:
    """Train models on the rendered world, or go on where an earlier training stopped."""
    from factory.starter.train.run import Options, run

    options = Options(
        cache, out, export, scenes, redrawn, start, minutes, steps, every, batch, rate, seed, threads, workers
    )
    run(models or [], options)


@app.command()
def evaluate(
    cache: Annotated[
        Path | None,
        typer.Option(help=f"Held-out scenes; rendered where they are missing. Default: {EVAL}, with --quick {QUICK}."),
    ] = None,
    job: Annotated[Path, typer.Option(help="The job whose stages draw the images.")] = Path("jobs/demo.yaml"),
    part: Annotated[
        list[str] | None, typer.Option(help="renders, images, speed (against the authors' loop) or size. Repeatable.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few images: does it run, not how good is it.")] = False,
    seed: Annotated[int, typer.Option(min=1, help="Of the drawn images; 0 is the demo's own.")] = SEED,
    out: Annotated[Path, typer.Option(help="Where the figures are stored.")] = FIGURES,
    as_json: AsJson = False,
) -> None:
    """Print and store the pack's figures on what no training has seen, beside their goals."""
    from factory.errors import UserError
    from factory.present.terminal import open_console
    from factory.starter.evaluate import PARTS, show, store
    from factory.starter.evaluate import evaluate as measure

    parts = part or PARTS
    if strange := set(parts) - set(PARTS):
        raise UserError(f"part {', '.join(sorted(strange))}: there are {', '.join(PARTS)}")
    cache = cache or (QUICK if quick else EVAL)
    figures = measure(cache, job, tuple(dict.fromkeys(parts)), seed, quick)
    store(figures, out)
    if as_json:
        print(json.dumps(figures.as_json(), indent=1))
    else:
        show(figures, open_console())


@app.command()
def sheet(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A .jpg or .png file.")] = Path("out/starter/actions.jpg"),
    seed: Annotated[int, typer.Option(min=0, help="First seed tried.")] = 0,
    each: Annotated[int, typer.Option(min=1, help="Scenes of each action.")] = 1,
) -> None:
    """Draw the world's contact sheet: every action by name."""
    from factory.starter.sheet import draw

    draw(out, seed, each)
    print(out)
