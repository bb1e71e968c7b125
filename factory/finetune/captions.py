"""The captions that images of a domain are trained with: templates of a prompt set, filled with the image's action."""

from __future__ import annotations

from itertools import product

from factory.errors import UserError
from factory.plan import LISTS, template_fields
from factory.prompts import read_prompts

MOST = 4096  # captions of one action


class Captions:
    """All captions that a prompt set has for an action. prompts: a set that comes with the factory, or a YAML file.

    UserError: no such set, or one whose templates name what it does not list.
    """

    def __init__(self, prompts: str) -> None:
        self.prompts = prompts
        values = read_prompts(prompts)
        template = values.get("template", "{description} {person} doing {action}")
        self.templates = [template] if isinstance(template, str) else list(template)
        self.words = {name: list(values.get(name) or ()) for name in LISTS}
        for each in self.templates:
            for field in template_fields(each):
                if field not in LISTS:
                    raise UserError(f"prompts.template: unknown field {{{field}}}; there are {', '.join(LISTS)}")
                if field != "action" and not self.words[field]:
                    raise UserError(f"prompts.{field} is missing or empty, and the template of {prompts} asks for it")
        self._known: dict[str, list[str]] = {}

    def of(self, action: str) -> list[str]:
        """The captions of an image that shows `action`; empty: of all actions that the set lists."""
        if action not in self._known:
            words = {**self.words, "action": [action] if action else self.words["action"]}
            if not words["action"] and any("action" in template_fields(each) for each in self.templates):
                raise UserError(f"prompts {self.prompts} list no action, and some images come without one; list some")
            captions = [
                template.format(**dict(zip(fields, choice, strict=True)))
                for template in self.templates
                for fields in [template_fields(template)]
                for choice in product(*(words[field] for field in fields))
            ]
            self._known[action] = list(dict.fromkeys(captions))[:MOST]
        return self._known[action]
