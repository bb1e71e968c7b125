"""YAML of strangers: aliases and merge keys are counted before they are expanded."""

from __future__ import annotations

import pytest

from factory.untrusted import Unreadable, yaml_text

MERGED = "a0: &a0 {x: 1, y: 2}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 26))
LISTED = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))


def test_honest_aliases_mean_what_they_name():
    assert yaml_text.load("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\n") == {
        "a": {"x": 1},
        "b": {"x": 1},
        "c": {"x": 1, "y": 2},
    }
    assert yaml_text.load("") is None


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [
        (MERGED, "more than 100,000 values, written out", 14),
        (LISTED, "more than 100,000 values, written out", 6),
        ("a: &a [*a]", r"\*a stands inside of what it names", 1),
        ("a: &a\n  <<: *a", r"\*a stands inside", 2),
        ("a: " + "[" * 5000, "nested too deeply", None),
        ("a: 1\nb: 0x" + "f" * 6000, "a number of 6,002 characters", 2),
        ('a: 1\nb: "\\ud800"', "half of a surrogate pair", 2),
        ('"\\Uffffffff": 1', "not valid YAML", None),
        ("a: 2026-99-99", "cannot be read", None),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor", 1),
        ("a: [", "not valid YAML", 1),
        ("\x01", "not valid YAML", None),
        ("# " + "x" * (1 << 24), "more than 16,777,216 characters", None),
    ],
    ids=range(13),
)
def test_what_is_refused_and_where(content, words, line):
    with pytest.raises(Unreadable, match=words) as caught:
        yaml_text.load(content)
    assert caught.value.line == line and "\n" not in str(caught.value)
