"""Numbers as text for people: sizes, durations, counts of states. One way for all commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.store.failed import ErrorCount

STATES = ("ok", "rejected", "failed")


def size(count: float) -> str:
    """Bytes, for people: 3.2 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def duration(seconds: float) -> str:
    """Seconds, for people: 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    whole = round(seconds)
    for name, span, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= span:
            rest = whole % span // part
            return f"{whole // span} {name}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s" if seconds >= 1 or seconds == 0 else f"{seconds:.1f} s"


def state_counts(states: Mapping[str, int], planned: int) -> dict[str, int]:
    """State -> count for every state; `pending` is what is left of the planned records."""
    counts = {state: states.get(state, 0) for state in STATES}
    return {**counts, "pending": planned - sum(counts.values())}


def counts(states: Mapping[str, int], reasons: Mapping[str, int] | None = None) -> str:
    """40 ok, 8 rejected (5 easy, 3 no person), 0 failed."""
    words = []
    for state in STATES:
        text = f"{states.get(state, 0):,} {state}"
        if state == "rejected" and reasons:
            why = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
            text += f" ({', '.join(f'{n:,} {reason}' for reason, n in why)})"
        words.append(text)
    return ", ".join(words)


def error_lines(faults: Sequence[ErrorCount], limit: int = 3) -> Iterator[str]:
    """12 x estimate: ValueError: no depth (such as small-00000003): the most frequent faults, a line each."""
    for fault in faults[:limit]:
        yield f"{fault.count:,} x {fault.stage}: {fault.error} (such as {fault.key})"
    if rest := faults[limit:]:
        yield f"{sum(fault.count for fault in rest):,} x {len(rest):,} other errors"
