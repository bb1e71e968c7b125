"""What is promised in the situations that strangers get into, and the tests that show it.

A table to read: each row names a situation, what the product promises there, and the test that makes the situation and
holds the promise against it. This file only checks that no row lost its test.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest


class Situation(NamedTuple):
    happens: str
    promise: str
    test: str  # path below tests/, :: and the function


TABLE: dict[str, list[Situation]] = {
    "standard output": [
        Situation("stdout cannot show a character (ASCII, Latin-1)", "it is written as its escape; bars turn to ASCII",
                  "present/test_terminal.py::test_an_output_of_few_characters_gets_plain_bars"),
        Situation("a prompt or an error holds terminal escapes", "they are shown, not obeyed",
                  "present/test_terminal.py::test_what_an_error_holds_does_not_reach_the_terminal_as_a_command"),
        Situation("stdout is full", "the command does its work; one line, exit code 1",
                  "present/test_terminal.py::test_a_full_output_is_told_in_one_line"),
        Situation("the reader of a pipe stops reading", "no error",
                  "present/test_terminal.py::test_a_reader_that_has_seen_enough_is_no_error"),
        Situation("the reader of a run's output dies, or its disk is full", "the run goes on to its end",
                  "present/test_terminal.py::test_a_run_outlives_its_output"),
        Situation("FORCE_COLOR in a log", "colours, no moving bars",
                  "present/test_terminal.py::test_forced_colours_fill_no_log_with_bars"),
        Situation("records failed", "status, stats and the run say why, with counts and an example",
                  "present/test_terminal.py::test_why_records_failed_is_told_with_counts_and_an_example"),
        Situation("prompts or names that hold HTML, links, images", "the card shows them as text",
                  "present/test_card.py::test_nothing_in_a_prompt_or_a_name_becomes_markup"),
    ],
    "training on it": [
        Situation("more ranks and workers than shards", "samples are divided instead; no rank is empty",
                  "test_loader.py::test_no_rank_is_left_without_samples_however_few_shards_there_are"),
        Situation("more readers than samples", "one line with both numbers",
                  "test_loader.py::test_more_readers_than_samples_are_told_so"),
    ],
}  # fmt: skip


@cache
def functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", [row for rows in TABLE.values() for row in rows], ids=lambda row: row.happens)
def test_every_promise_has_its_test(row: Situation):
    path, _, name = row.test.partition("::")
    assert name in functions(Path(__file__).parent / path)
