"""spin-ft: the network is trained towards bodies that SMPLify fits to the keypoints, from the network's own estimates,
as SPIN trains (Kolotouros et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from factory.finetune import smplify
from factory.finetune.crops import Views, seen_so, unseen_so
from factory.finetune.methods import Method, MethodContext
from factory.geometry.joints import J24_PART
from factory.geometry.rotations import matrix_to_axis_angle
from factory.training.checkpoint import Stateful
from factory.training.learner import Batch


class Fitted(Method):
    """spin-ft: each step fits the bodies of its real images, and keeps a fit where it is the person's best so far."""

    unused = ("2d", "3d")

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context)
        self.fits = smplify.BestFits(len(context.real))
        self.prior = context.load_prior()

    def supervise(self, real: Batch, rows: np.ndarray, views: Views) -> Tensor:
        """See `Method`. The fits are those of the people as they are, not as they are seen in this step."""
        context, network = self.context, self.context.network
        training = network.training
        network.eval()  # a look at the images must not count twice in the statistics of batch normalisation
        with torch.no_grad():
            rotations, betas, camera = network(real["image"])
        network.train(training)
        pose = matrix_to_axis_angle(rotations).flatten(1)
        keypoints = real["keypoints"][:, J24_PART]
        fitted = smplify.fit(context.body, pose, betas, camera, keypoints, self.prior, context.options.fit_steps)
        straight = unseen_so({"rotations": fitted.rotations}, views)["rotations"]
        self._keep(torch.from_numpy(rows).to(straight.device), straight, fitted.betas, fitted.loss)
        rotations, betas, usable = (values.to(straight.device) for values in self.fits.targets(rows))
        real["rotations"], real["betas"] = seen_so({"rotations": rotations}, views)["rotations"], betas
        return usable

    def _keep(self, rows: Tensor, rotations: Tensor, betas: Tensor, loss: Tensor) -> None:
        """Keep the fits of all processes, of a person that a batch holds several times the best."""
        rows, rotations, betas, loss = map(self.context.ranks.gather, (rows, rotations, betas, loss))
        order = loss.argsort(stable=True)
        distinct, first = np.unique(rows[order].cpu().numpy(), return_index=True)
        picks = order[torch.from_numpy(first).to(order.device)]
        self.fits.update(distinct, rotations[picks], betas[picks], loss[picks])

    @property
    def parts(self) -> Mapping[str, Stateful]:
        return {"fits": self.fits}
