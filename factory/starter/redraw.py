"""A cache whose pictures diffusion has redrawn under the depth of their people: what estimators meet in the factory.

    python -m factory.starter.redraw --cache DIR --base PACK --out DIR --count 4000

Bodies and prompts stay the scenes' own; so does who is where, as well as the model follows the depth. A run continues
where an earlier one stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from factory.models.device import pick
from factory.models.diffusion.depth_to_image import DepthToImage
from factory.starter import cache as world

STEPS, STRENGTH, GUIDANCE = 12, (0.7, 1.0), 4.0


def redraw(
    cache: str | Path, base: str | Path, out: str | Path, count: int, batch: int = 32, console: Console | None = None
) -> None:
    """The first `count` scenes of `cache` in which somebody is seen, by the depth-to-image model of the pack `base`.

    A batch shares its strength and one stream of noise. UserError: `out` holds other scenes.
    """
    data = world.load(cache)
    rows = np.flatnonzero(np.asarray(data.depth).max((1, 2)) > -1)[:count]
    model = DepthToImage(str(Path(base) / "depth-to-image"), device=pick("auto")).pipe
    model.set_progress_bar_config(disable=True)
    with world.Filling(out, len(rows), first_seed=world.first_seed(cache), redrawn=1) as filling:
        for start in track(range(filling.done // batch * batch, len(rows), batch), "redrawing", console=console):
            some = rows[start : start + batch]
            drawn = model(
                [data.prompts[i] for i in some],
                image=torch.from_numpy(data.images[some]).permute(0, 3, 1, 2) / 255,
                depth_map=torch.from_numpy(data.depth[some]),
                num_inference_steps=STEPS,
                strength=np.random.default_rng(start).uniform(*STRENGTH),
                guidance_scale=GUIDANCE,
                generator=torch.Generator().manual_seed(start),
                output_type="np",
            )
            for i, image in list(zip(some, drawn.images, strict=True))[filling.done - start :]:
                truth = {name: getattr(data, name)[i] for name in world.ROWS if name != "images"}
                filling.add(data.prompts[i], images=(image * 255).round(), **truth)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--base", required=True, help="pack of the diffusion models")
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args(argv)
    redraw(args.cache, args.base, args.out, args.count, args.batch)


if __name__ == "__main__":
    main()
