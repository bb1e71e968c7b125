"""`factory evaluate study-sum` as tables for people and as plain values for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from factory.evaluate.study_sum import StudySummary
from factory.present.terminal import say, shown

HOW = (
    "95 %: bootstrap over raters and pairs. mean, std: of the raters' own shares",
    "ties left out: among the answers that prefer an image, as in the paper, whose shares of both images add up to one",
    "ties split: each counts half for either image",
)


def show_summary(console: Console, summary: StudySummary) -> None:
    """The shares, then the raters, as tables, then agreement in sentences."""
    title = f"{summary.data}: {summary.pairs:,} pairs, {len(summary.raters)} of {summary.asked} raters"
    table = _table(title, "", ["share", "95 %", "mean", "std"])
    for name, share in summary.shares.items():
        low, high = share.interval or (None, None)
        interval = f"{_words(low)} – {_words(high)}"
        table.add_row(name, f"[bold]{_words(share.value)}[/]", interval, _words(share.mean), _words(share.std))
    console.print(table)
    console.print()
    names = ["final", "initial", "no preference"]
    table = _table("", "rater", ["answered", *names, "left side", "consistent"])
    for each in summary.raters:
        figures = [*(each.shares[name] for name in names), each.first_side, each.consistent]
        table.add_row(str(each.rater), f"{each.answered:,}", *map(_words, figures))
    console.print(table)
    console.print()
    alpha = "undefined" if summary.alpha is None else _words(summary.alpha)
    say(console, f"agreement between raters: Krippendorff's alpha {alpha} (nominal; 1: entire, 0: as by chance)")
    if summary.consistent is not None:
        say(
            console,
            f"consistency: {_words(summary.consistent)} of {summary.repeated} pairs shown twice were answered the same",
        )
    for line in HOW:
        console.print(f"[dim]{escape(line)}[/]", highlight=False, soft_wrap=True)
    for line in summary.notes:
        say(console, f"note: {line}")


def _table(title: str, first: str, others: Sequence[str]) -> Table:
    table = Table(
        title=escape(shown(title)) or None, title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    table.add_column(first, header_style="dim", no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", header_style="dim", no_wrap=True)
    return table


def _words(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def as_plain(summary: StudySummary) -> dict[str, Any]:
    """Plain values for JSON; a figure that nothing says is null."""
    plain = asdict(summary)
    plain["shares"] = {
        name: {"value": share.value, "interval_95": share.interval, "mean": share.mean, "std": share.std}
        for name, share in summary.shares.items()
    }
    return {**plain, "krippendorff_alpha": plain.pop("alpha"), "methods": list(HOW)}
