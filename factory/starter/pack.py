"""The parts of the embedded starter pack, by name: resolved below the models, which know them too."""

from factory.models.locate import PARTS, PREFIX, WEIGHTS, locate, resolve

__all__ = ["PARTS", "PREFIX", "WEIGHTS", "locate", "resolve"]
