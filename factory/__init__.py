"""A distributed batch factory for human-mesh-recovery training data: one job file in, image + SMPL shards out.

`factory.load(OUT)` reads a data set for training: see `factory.loader`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factory.loader import load as load

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "load":  # PyTorch is imported by those who train, not by `factory --help`
        from factory.loader import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
