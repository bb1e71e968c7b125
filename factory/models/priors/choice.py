"""Which pose prior a job names, and its loading from the experiment folder that its authors publish.

Nothing of the folder is run or unpickled but tensors: its Python file would be run by `load_vposer`, its checkpoint
unpickled by `load_model` of the authors' packages.
"""

from __future__ import annotations

import torch

from factory.errors import UserError
from factory.models.priors import vposer_v1, vposer_v2
from factory.models.priors.base import VPoserPrior
from factory.weights.catalogue import BY_KIND
from factory.weights.pickles import load_checkpoint, require_finite

BUILD = {"vposer-v1": vposer_v1.build, "vposer-v2": vposer_v2.build}


def load_prior(kind: str, model: str, device: str | torch.device = "cpu") -> VPoserPrior:
    """kind: `vposer-v1` or `vposer-v2`; model: an experiment folder as published. UserError: the folder lacks a file,
    or its snapshot is damaged, or has other layers or shapes than those of the kind."""
    entry = BY_KIND[kind]
    folder = entry.find(model)
    snapshot = entry.checkpoint_in(folder)
    assert snapshot is not None  # `find` has seen to it
    stored = load_checkpoint(snapshot, entry.title)
    try:
        network = BUILD[kind](folder, stored)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        words = (str(error).splitlines() or [""])[-1].strip()
        says = f"{entry.title} {snapshot} has other layers than {kind} ({words})"
        raise UserError(f"{says}; get {entry.origin}") from error
    require_finite(network.state_dict(), f"{entry.title} {snapshot}")
    return VPoserPrior(network, device)
