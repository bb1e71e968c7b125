"""A cache whose pictures diffusion has redrawn under the depth of their people: what estimators meet in the factory.

    python -m factory.starter.redraw --cache DIR --base PACK --out DIR --count 8000

Bodies and prompts stay the scenes' own; so does who is where, as well as the model follows the depth.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from factory.models.diffusion import DepthToImage
from factory.starter.cache import ROWS, load
from factory.starter.train.common import device

STEPS, STRENGTH, GUIDANCE = 16, (0.6, 0.9), 3.0


def redraw(cache: str | Path, base: str | Path, out: str | Path, count: int, batch: int) -> None:
    """The first `count` scenes of `cache` in which somebody is seen, by the depth-to-image model of the pack `base`."""
    data, out = load(cache), Path(out)
    rows = np.flatnonzero(np.asarray(data.depth).max((1, 2)) > -1)[:count]
    model = DepthToImage(str(Path(base) / "depth-to-image"), device=device()).pipe
    model.set_progress_bar_config(disable=True)
    images = np.empty((len(rows), *ROWS["images"][0]), np.uint8)
    for start in track(range(0, len(rows), batch), "redrawing"):
        some = rows[start : start + batch]
        drawn = model(
            [data.prompts[i] for i in some],
            image=torch.from_numpy(data.images[some]).permute(0, 3, 1, 2) / 255,
            depth_map=torch.from_numpy(data.depth[some]),
            num_inference_steps=STEPS,
            strength=float(np.random.default_rng(start).uniform(*STRENGTH)),
            guidance_scale=GUIDANCE,
            generator=torch.Generator().manual_seed(start),
            output_type="np",
        )
        images[start : start + batch] = (drawn.images * 255).round()
    out.mkdir(parents=True, exist_ok=True)
    for name in ROWS:
        np.save(out / f"{name}.npy", images if name == "images" else getattr(data, name)[rows])
    (out / "prompts.jsonl").write_text("".join(json.dumps(data.prompts[i]) + "\n" for i in rows))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--base", required=True, help="pack of the diffusion models")
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=256 if torch.cuda.is_available() else 32)
    args = parser.parse_args(argv)
    redraw(args.cache, args.base, args.out, args.count, args.batch)


if __name__ == "__main__":
    main()
