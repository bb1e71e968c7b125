"""Which split a sample belongs to, and its place in the shuffle: both follow from names alone."""

from __future__ import annotations

import hashlib
import re

from factory.errors import UserError

WHOLE = "train=1"


def parse(text: str) -> dict[str, float]:
    """'train=0.95,val=0.05' -> {name: share}. UserError where it is not that, or the shares do not add up to 1."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.strip().partition("=")
        if not re.fullmatch(r"[a-z0-9]+", name) or not re.fullmatch(r"\d*\.?\d+", share) or name in shares:
            raise UserError(f"--split {text}: write it as train=0.95,val=0.05 (names of a-z and 0-9, each once)")
        shares[name] = float(share)
    if min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"--split {text}: the shares must be above 0 and add up to 1, not {sum(shares.values()):g}")
    return dict(sorted(shares.items()))  # so that the order in which they are given changes nothing


def assign(group: str, shares: dict[str, float]) -> int:
    """The number of the split that all of a group belong to: the people of an image, the variants of an original."""
    point, total = _uniform("split", group), 0.0
    for number, share in enumerate(shares.values()):
        total += share
        if point < total:
            return number
    return len(shares) - 1


def order(key: str) -> float:
    """Sort by this to shuffle."""
    return _uniform("order", key)


def _uniform(purpose: str, key: str) -> float:
    """In [0, 1)."""
    digest = hashlib.blake2b(f"{purpose}:{key}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
