"""Whether the weights are here that evaluations can use, and where to get them. No run needs them."""

from __future__ import annotations

from collections.abc import Iterator

from factory.doctor.finding import Finding
from factory.errors import UserError
from factory.job import JobSpec
from factory.weights import hub
from factory.weights.catalogue import Need, evaluation_needs
from factory.weights.files import check_file
from factory.weights.folders import check_pointers
from factory.weights.locate import locate


def evaluation_weights(job: JobSpec | None) -> Iterator[Finding]:
    """A finding for each kind of weights: `ok` where they are here, `note` where they are not, `fault` where what is
    here is of another kind or damaged. No server is asked. job: its body model's folder is looked into."""
    for need in evaluation_needs(job).values():
        try:
            yield _look(need)
        except UserError as error:
            yield Finding("fault", need.field, str(error))


def _look(need: Need) -> Finding:
    try:
        path = locate(need.model)
    except UserError:
        path = None
    path = path or (hub.in_cache(need.model) if need.kind.hub else None)
    if path is None:
        return Finding("note", need.field, f"not here: {need.model}{need.remedy}")
    need.kind.require(path, need.model)
    if path.is_dir():
        check_pointers(path, need.model, ())
    else:
        check_file(path, need.model)
    return Finding("ok", need.field, f"{need.model} ({need.licence})")
