"""Whether each model of a job is here, or on the hub, and is what its field takes. For the doctor, and for a run before
it starts."""

from __future__ import annotations

from factory.doctor.finding import Finding
from factory.doctor.model_files import check_content, check_files
from factory.errors import UserError
from factory.job import JobSpec
from factory.weights import hub
from factory.weights.catalogue import Need, needs
from factory.weights.locate import locate, unreadable


def require_models(job: JobSpec) -> None:
    """UserError for the first model that is neither on this disk, nor in the hub's cache, nor on the hub, or that is
    not what its field takes."""
    for need in needs(job):
        finding = look_for(need, job)
        if finding.fault:
            raise UserError(f"{finding.name}: {finding.says}")


def examine(need: Need, job: JobSpec) -> Finding:
    """As `look_for`, and whether a checkpoint opens and the job's parameters fit the family of the model."""
    finding = look_for(need, job)
    if not finding.ok:
        return finding
    path = locate(need.model) or hub.in_cache(need.model, need.revision)
    try:
        if path is not None:
            check_content(need, job, path)
    except UserError as error:
        return Finding("fault", need.field, str(error))
    return finding


def look_for(need: Need, job: JobSpec) -> Finding:
    """Whether the model is here, or on the hub, and whether its files are those that its field takes. Opens headers,
    never whole networks. The hub is asked only about an id that its cache on this disk lacks."""
    try:
        path = locate(need.model)
    except UserError as error:
        closed = isinstance(error.__cause__, OSError)  # the model is here, but this user may not look at it
        says = str(error) if closed else f"no such file or folder: {need.model}{need.remedy}"
        return Finding("fault", need.field, says)
    if path is None and not need.kind.hub:
        return Finding("fault", need.field, f"no such file or folder: {need.model}{need.remedy}")
    if path is None:
        return _look_on_hub(need, job)
    try:
        if path.is_dir() and not any(path.iterdir()):
            return Finding("fault", need.field, f"empty folder: {need.model}{need.remedy}")
        check_files(need, job, path)
    except UserError as error:
        return Finding("fault", need.field, str(error))
    except OSError as error:
        return Finding("fault", need.field, unreadable(error, need.model))
    return Finding("ok", need.field, f"{need.model}")


def _look_on_hub(need: Need, job: JobSpec) -> Finding:
    cached = hub.in_cache(need.model, need.revision)
    if cached is not None:
        try:
            check_files(need, job, cached)
        except UserError as error:
            if hub.offline():
                return Finding("fault", need.field, f"the hub's cache: {error}")
            says = f"{need.model} (a part is in the hub's cache; the first run fetches the rest)"
            return Finding("ok", need.field, says)
        return Finding("ok", need.field, f"{need.model} (in the hub's cache)")
    refusal = hub.refusal(need.model, need.revision)
    if refusal:
        return Finding("fault", need.field, f"{refusal}{need.remedy}")
    return Finding("ok", need.field, f"{need.model} (on the hub; the first run fetches it; licence: {need.licence})")
