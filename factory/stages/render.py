"""Stage 3: the estimated bodies as depth, minus what objects occlude (Eq. 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from factory.record import Reason, Record
from factory.stages.base import Stage

if TYPE_CHECKING:
    from torch import Tensor


class Render(Stage):
    """Fills `silhouette`, `depth`, `frame_share` and `visible_share`, each person's too. Rejects bodies that leave the
    frame, are too small in it, or wholly occluded."""

    name = "render"

    def setup(self) -> None:
        from factory.geometry.body import BodyModel
        from factory.models.device import pick

        spec = self.job.stages.render
        self.device = pick(spec.device)
        self.body = BodyModel(self.job.body.model, self.device)
        if spec.rasteriser == "pyrender":
            from factory.geometry.pyrender_backend import rasterise_opengl, renderer

            renderer(self.job.image_size, self.job.image_size)  # without a driver it raises here, and not once a record
            self.rasterise = rasterise_opengl
        else:
            from factory.geometry.rasteriser import rasterise

            self.rasterise = rasterise

    def process(self, records: list[Record]) -> None:
        import torch

        from factory.geometry.depth import masked_depth

        spec = self.job.stages.render
        people = [person for record in records for person in record.people]
        owner = np.repeat(np.arange(len(records)), [len(record.people) for record in records])
        height, width = records[0].array("object_mask").shape

        def stack(name: str) -> torch.Tensor:
            return torch.from_numpy(np.stack([getattr(person, name) for person in people])).to(self.device)

        with torch.inference_mode():
            pose = stack("global_orient"), stack("body_pose"), stack("betas"), stack("transl")
            vertices, K = self.body(*pose)[0], stack("K")
            inside = _inside(vertices, K, height, width).cpu().numpy()
            depth = self.rasterise(vertices, self.body.faces, K, height, width).depth.cpu().numpy()
        depth[depth == 0] = np.inf
        for i, record in enumerate(records):
            nearest = depth[owner == i].min(0)  # people occlude each other
            record.silhouette = np.isfinite(nearest)
            record.depth = masked_depth(np.where(record.silhouette, nearest, 0), record.array("object_mask"))
            visible = inside[owner == i] * _unhidden(depth[owner == i], record.depth)
            record.measure(
                frame_share=round(float(record.silhouette.mean()), 4), visible_share=round(float(visible.mean()), 4)
            )
            for person, share in zip(record.people, visible.tolist(), strict=True):
                person.measure(visible_share=round(share, 4))
            if inside[owner == i].min() < spec.min_inside:
                record.reject(Reason.OUT_OF_FRAME, self.name)
            elif record.silhouette.mean() < spec.min_coverage:
                record.reject(Reason.TOO_SMALL, self.name)
            elif not record.depth.any():
                record.reject(Reason.EMPTY_DEPTH, self.name)


def _unhidden(bodies: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """bodies (N, H, W) m, inf = nothing; seen (H, W) m, what is in front -> (N,): share of each body's pixels seen."""
    drawn = np.isfinite(bodies)
    return (drawn & (bodies == seen)).sum((1, 2)) / drawn.sum((1, 2)).clip(1)


def _inside(vertices: Tensor, K: Tensor, height: int, width: int) -> Tensor:
    """vertices (N, V, 3) m, K (N, 3, 3) px -> (N,): share of a body's vertices in front of the camera and in frame."""
    from factory.geometry.camera import project

    pixels, size = project(vertices, K), vertices.new_tensor([width, height])
    return (((pixels >= 0) & (pixels < size)).all(-1) & (vertices[..., 2] > 0)).float().mean(1)
