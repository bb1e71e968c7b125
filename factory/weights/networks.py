"""Networks of diffusers and transformers, loaded whole or not at all: both libraries fill what a file lacks with random
numbers and only warn."""

from __future__ import annotations

from typing import Any

from factory.errors import UserError, first_line


def load_network(kind: Any, label: str, source: str, **options: Any) -> Any:
    """kind.from_pretrained(source, **options), with all its layers read from the file.

    UserError, which begins with `label`, when the file is not there, does not open, lacks layers, or has them in other
    shapes; for a network of diffusers also when the file holds layers that this kind of network has not, since
    diffusers would drop them in silence.
    """
    try:
        network, info = kind.from_pretrained(source, use_safetensors=True, output_loading_info=True, **options)
    except Exception as error:  # diffusers, transformers, safetensors and the hub have dozens
        raise UserError(f"{label}: does not load as {kind.__name__} ({first_line(error)}); fetch it again") from error
    missing, other_shape = sorted(info.get("missing_keys", ())), sorted(info.get("mismatched_keys", ()))
    if missing or other_shape:
        says = (
            f"lacks {len(missing)} layers, first {missing[0]}" if missing else f"has another shape of {other_shape[0]}"
        )
        raise UserError(f"{label}: its file {says}; fetch it again")
    if kind.__module__.startswith("diffusers.") and (surplus := sorted(info.get("unexpected_keys", ()))):
        says = f"holds {len(surplus)} layers that a {kind.__name__} has not, first {surplus[0]}"
        union = any(name.startswith(("task_embedding", "control_add_embedding")) for name in surplus)
        raise UserError(f"{label}: its file {says}; it is {'a ControlNet-Union' if union else 'of another kind'}")
    return network
