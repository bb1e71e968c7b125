"""A network of diffusers or transformers, whole or not at all: both fill what a file lacks with random numbers and only
warn."""

from __future__ import annotations

from typing import Any

from factory.errors import UserError


def load_network(kind: Any, where: str, source: str, **options: Any) -> Any:
    """kind.from_pretrained(source, **options). UserError, which begins with `where`, when its file is not there, does
    not open, lacks layers, or has them in other shapes."""
    try:
        network, info = kind.from_pretrained(source, use_safetensors=True, output_loading_info=True, **options)
    except Exception as error:  # diffusers, transformers, safetensors and the hub have dozens
        raise UserError(f"{where}: does not load as {kind.__name__} ({first_line(error)}); fetch it again") from error
    missing, other = sorted(info.get("missing_keys", ())), sorted(info.get("mismatched_keys", ()))
    if missing or other:
        words = f"lacks {len(missing)} layers, first {missing[0]}" if missing else f"has another shape of {other[0]}"
        raise UserError(f"{where}: its file {words}; fetch it again")
    return network


def first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
