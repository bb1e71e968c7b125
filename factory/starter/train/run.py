"""Train the models of the pack one after the other: what `factory starter train` does."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from factory.errors import UserError
from factory.present.terminal import open_console
from factory.starter.train.options import StarterOptions
from factory.starter.world import cache
from factory.store.contents import digest
from factory.weights.locate import WEIGHTS

# The budget of each model in minutes on two cores, in the order of training: later models use earlier ones.
MINUTES = {"vae": 30, "diffusion": 120, "hmr": 120, "base": 120, "detector": 60, "vposer": 10}
FOLDER = {"vae": "text-to-image/vae", "diffusion": "."}  # in a pack; the others have the folder of their own name


def train_models(options: StarterOptions) -> None:
    """Train options.models, or all, each from its checkpoint where it has one.

    UserError: there is no such model, or the cache holds the scenes that the pack is measured on.
    """
    if unknown := [name for name in options.models if name not in MINUTES]:
        raise UserError(f"model {unknown[0]}: there are {', '.join(MINUTES)}")
    chosen = [name for name in MINUTES if name in options.models or not options.models]
    if chosen != ["vposer"]:
        if cache.held_out(options.cache):
            raise UserError(f"cache {options.cache}: holds the scenes that figures are measured on; train on others")
        if not cache.complete(options.cache):
            workers = options.workers or os.cpu_count() or 1
            cache.build(options.cache, 0, options.scenes, workers, open_console(stderr=True))
    for name in chosen:
        _train(name, options)


def _train(name: str, options: StarterOptions) -> None:
    """Train one model. Its module is imported here: each takes seconds to import."""
    own = replace(options, out=options.out / name, export=export_folder(name, options))
    own = own if own.steps else replace(own, minutes=own.minutes or MINUTES[name])
    start = WEIGHTS / FOLDER.get(name, name) if options.start else None
    match name:
        case "vae":
            from factory.starter.train.vae import train_vae

            train_vae(own, cache.load_cache(own.cache), start)
        case "diffusion":
            from factory.starter.train.diffusion import train_diffusion

            train_diffusion(own, cache.load_cache(own.cache), autoencoder(options), start)
        case "hmr":
            from factory.starter.train.hmr import train_hmr

            redrawn = [_redraw(options)] if options.redrawn else []
            train_hmr(own, cache.load_cache(own.cache, *redrawn), start)
        case "base":
            from factory.starter.train.hmr import train_hmr

            train_hmr(own, cache.load_cache(own.cache), start, base=True)
        case "detector":
            from factory.starter.train.detector import train_detector

            train_detector(own, cache.load_cache(own.cache), start)
        case "vposer":
            from factory.starter.train.vposer import train_vposer

            train_vposer(own, start)


def export_folder(name: str, options: StarterOptions) -> Path:
    """The folder that a model is exported to. The autoencoder's is kept apart from the pack: the export of the
    diffusion models, which were trained on its latents, brings it in."""
    return options.out / "vae" / "model" if name == "vae" else options.export / FOLDER.get(name, name)


def autoencoder(options: StarterOptions) -> Path:
    """The folder of the autoencoder trained under options.out, or else of the pack's."""
    trained = export_folder("vae", options)
    return trained if trained.exists() else WEIGHTS / FOLDER["vae"]


def diffusion_models(options: StarterOptions) -> Path:
    """The pack that holds the diffusion models: options.export where they were trained, or else the embedded one."""
    trained = export_folder("diffusion", options)
    return trained if (trained / "depth-to-image").exists() else WEIGHTS


def _redraw(options: StarterOptions) -> Path:
    """The cache of redrawn scenes, completed where needed. The estimator will see images that diffusion has drawn, so
    it must have met some.

    The folder is named after the contents of the diffusion models: when those are trained anew, scenes are redrawn.
    """
    from factory.starter.train.redraw import redraw

    models = diffusion_models(options)
    folder = options.out / f"redrawn-{digest(models / 'depth-to-image')[:8]}"
    count = max(1, int(options.redrawn * len(cache.load_cache(options.cache))))
    redraw(options.cache, models, folder, count, console=open_console(stderr=True))
    return folder
