"""The split that a sample belongs to and its position in the shuffle. Both are hashes of names, so they never
change."""

from __future__ import annotations

import hashlib
import re

from factory.errors import UserError

WHOLE = "train=1"


def parse(text: str) -> dict[str, float]:
    """'train=0.95,val=0.05' -> {name: share}. UserError when it is written otherwise, or the shares do not add up to
    1."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.strip().partition("=")
        if not re.fullmatch(r"[a-z0-9]+", name) or not re.fullmatch(r"\d*\.?\d+", share) or name in shares:
            raise UserError(f"--split {text}: write it as train=0.95,val=0.05 (names of a-z and 0-9, each once)")
        shares[name] = float(share)
    if min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"--split {text}: the shares must be above 0 and add up to 1, not {sum(shares.values()):g}")
    return dict(sorted(shares.items()))  # sorted: the order in which they are given must not matter


def assign(group: str, shares: dict[str, float]) -> int:
    """The index of the group's split. A group is never divided: all people of an image, all variants of an original."""
    point, total = _uniform("split", group), 0.0
    for number, share in enumerate(shares.values()):
        total += share
        if point < total:
            return number
    return len(shares) - 1


def order(key: str) -> float:
    """A number in [0, 1) that depends on the key alone: samples sorted by it are shuffled."""
    return _uniform("order", key)


def _uniform(purpose: str, key: str) -> float:
    """A hash in [0, 1), uniformly distributed; a different one for each purpose."""
    digest = hashlib.blake2b(f"{purpose}:{key}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
