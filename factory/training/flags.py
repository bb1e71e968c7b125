"""A Typer command whose flags are the fields of a dataclass: each option is written down once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, get_type_hints

OptionsT = TypeVar("OptionsT")


def from_fields(command: Callable[[OptionsT], None]) -> Callable[..., None]:
    """The command with one parameter for each field of its only argument, a dataclass.

    A field is annotated as a parameter of a Typer command would be: `Annotated[int, typer.Option(help=...)] = 3`. The
    result keeps the command's name and docstring, so that `@app.command()` above `@from_fields` shows them.
    """
    [parameter] = inspect.signature(command, eval_str=True).parameters.values()
    options = parameter.annotation
    hints = get_type_hints(options, include_extras=True)

    def run(**values: Any) -> None:
        command(options(**values))

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {field.name: hints[field.name] for field in fields(options)}
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # where Typer looks
        [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=hint)
            for field, hint in ((field, hints[field.name]) for field in fields(options))
        ]
    )
    return run


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is MISSING else field.default
