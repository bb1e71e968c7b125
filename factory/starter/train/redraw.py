"""A cache whose images a diffusion model has redrawn under the depth of their people.

An estimator meets such images in the factory. Bodies and prompts stay those of the scenes, and so do the people's
places, as far as the model follows the depth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from factory.models.device import pick
from factory.models.diffusion.depth_to_image import DepthToImage
from factory.starter.world import cache as world_cache

STEPS, STRENGTH, GUIDANCE = 12, (0.7, 1.0), 4.0


def redraw(
    cache: str | Path, models: str | Path, out: str | Path, count: int, batch: int = 32, console: Console | None = None
) -> None:
    """Redraw the first `count` scenes of `cache` in which a person is visible, by the depth-to-image model of the pack
    `models`. Continues where an earlier call stopped.

    All scenes of a batch share one strength and one stream of noise. UserError: `out` holds other scenes.
    """
    data = world_cache.load_cache(cache)
    rows = np.flatnonzero(np.asarray(data.depth).max((1, 2)) > -1)[:count]
    pipeline = DepthToImage(str(Path(models) / "depth-to-image"), device=pick("auto")).pipe
    pipeline.set_progress_bar_config(disable=True)
    scenes = {"first_seed": world_cache.first_seed(cache), "redrawn": 1}
    with world_cache.CacheWriter(out, len(rows), **scenes) as writer:
        # A batch that was cut short is drawn again as a whole, because its scenes share their noise.
        for start in track(range(writer.done // batch * batch, len(rows), batch), "redrawing", console=console):
            batch_rows = rows[start : start + batch]
            drawn = pipeline(
                [data.prompts[i] for i in batch_rows],
                image=torch.from_numpy(data.images[batch_rows]).permute(0, 3, 1, 2) / 255,
                depth_map=torch.from_numpy(data.depth[batch_rows]),
                num_inference_steps=STEPS,
                strength=np.random.default_rng(start).uniform(*STRENGTH),
                guidance_scale=GUIDANCE,
                generator=torch.Generator().manual_seed(start),
                output_type="np",
            )
            for i, image in list(zip(batch_rows, drawn.images, strict=True))[writer.done - start :]:
                truth = {name: getattr(data, name)[i] for name in world_cache.ROWS if name != "images"}
                writer.add(data.prompts[i], images=(image * 255).round(), **truth)
