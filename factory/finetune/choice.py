"""The method that the options name."""

from __future__ import annotations

from factory.finetune.fitted import Fitted
from factory.finetune.methods import Method, MethodContext, Pairs, SelfTraining
from factory.finetune.rendered import Rendered

METHOD_CLASSES: dict[str, type[Method]] = {
    "2d": Method, "spin-ft": Fitted, "dapa": Rendered, "controlnet": Pairs, "self": SelfTraining, "ours": Pairs,
}  # fmt: skip


def make_method(context: MethodContext) -> Method:
    """The method of `options.method`, which is not none. UserError: what it needs is not there."""
    return METHOD_CLASSES[context.options.method](context)
