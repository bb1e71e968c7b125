"""A distributed batch factory for human-mesh-recovery training data: one job file in, image + SMPL shards out.

    import factory
    factory.run("jobs/demo.yaml")                      make a data set, or go on where an earlier run stopped
    data = factory.open("out/demo")                    look at it: data.job, data.rows, data.samples("score > 30")
    people = factory.load("out/demo", crop=224)        train on it: batches for PyTorch

Each is imported when it is first asked for, so that `import factory` costs nothing. Bad input raises
`factory.UserError`, whose text is one line that says what is wrong, where, and how to mend it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factory.api import run as run
    from factory.errors import UserError as UserError
    from factory.loader import load as load
    from factory.store.dataset import DataSet as DataSet
    from factory.store.dataset import open_data as open

__version__ = "0.1.0"
__all__ = ["DataSet", "UserError", "__version__", "load", "open", "run"]

_PLACES = {
    "DataSet": ("factory.store.dataset", "DataSet"),
    "UserError": ("factory.errors", "UserError"),
    "load": ("factory.loader", "load"),
    "open": ("factory.store.dataset", "open_data"),
    "run": ("factory.api", "run"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _PLACES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
