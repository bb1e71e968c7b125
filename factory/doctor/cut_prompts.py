"""Prompts of a job that are longer than its models read. For `factory plan` and the doctor."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

from factory.errors import UserError
from factory.models.diffusion.layout import Layout
from factory.models.diffusion.prompt_length import PromptReader
from factory.plan import Plan, template_fields
from factory.weights.hub import in_cache
from factory.weights.locate import locate

MOST = 5_000  # prompts that are looked at


def cut_prompts(plan: Plan) -> Iterator[tuple[str, str]]:
    """(field of the model, a sentence with counts and an example) for each model that cuts some prompt. Only models on
    this disk are asked. A model that cannot be read is passed over: its loader reports it."""
    job = plan.job
    generate, refine = job.stages.generate, job.stages.refine
    models = [("stages.refine.model", refine.model, refine.revision)]
    if generate.model and not job.images:
        models.insert(0, ("stages.generate.model", generate.model, generate.revision))
    texts, all_texts = _texts(plan)
    for field, model, revision in models:
        try:
            reader = _reader(model, revision)
            cuts = [(text, read) for text in texts if reader and (read := reader.cut(text)) != text]
        except (UserError, OSError):
            continue
        if reader and cuts:
            text, read = cuts[0]
            limit = f"longer than the {reader.limit} tokens that {reader.layout.name} reads"
            count = f"{len(cuts):,} of {len(texts):,}{'' if all_texts else ' that were looked at'}"
            where = f"{read[-40:]!r}, and {text[len(read) :][:40].strip()!r} is left out"
            yield field, f"prompts {limit}: {count}; it stops after {where}"


def _reader(model: str, revision: str | None) -> PromptReader | None:
    folder = locate(model) or in_cache(model, revision)
    return PromptReader(Layout(model, folder, revision)) if folder is not None else None


def _texts(plan: Plan) -> tuple[list[str], bool]:
    """(distinct prompts, whether they are all that the job can make). At most MOST are looked at."""
    prompts = plan.job.prompts
    templates = [prompts.template] if isinstance(prompts.template, str) else list(prompts.template)
    fields = {template: template_fields(template) for template in templates}
    words = {name: list(getattr(prompts, name)) for names in fields.values() for name in names}
    count = sum(prod(len(words[name]) for name in names) for names in fields.values())
    if not plan.job.images and count <= MOST:
        made = (
            template.format(**dict(zip(names, choice, strict=True)))
            for template, names in fields.items()
            for choice in product(*(words[name] for name in names))
        )
        return list(dict.fromkeys(made)), True
    number = min(plan.records, MOST)
    try:
        drawn = [plan.record(i * plan.records // number).prompt for i in range(number)]
    except UserError:  # its images or poses are not here
        return [], False
    return list(dict.fromkeys(drawn)), number == plan.records
