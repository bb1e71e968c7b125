"""JSON of strangers."""

from __future__ import annotations

import json

import pytest

from factory.untrusted import Unreadable, text

LIMIT = 10_000_000


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True, "ä", "\U0001f600"]}, [], "x", {"ud": "\\ud"}])
def test_json_is_read(value):
    assert text.loads(json.dumps(value).encode(), LIMIT) == value
    assert text.loads(json.dumps(value, ensure_ascii=False).encode("utf-8-sig"), LIMIT) == value


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"[]," * 2_500_000 + b"[]]", "more than 4,000,000 values"),
        (b'"' + b"x" * LIMIT + b'"', "more than the 10,000,000"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'["\\ud800"]', "half of a surrogate pair"),
        (b"9" * 5000, "4300"),
        (b"\xff\xfe", "not a text file in UTF-8"),
        (b"{", "Expecting"),
        (b"", "Expecting"),
    ],
    ids=range(10),
)
def test_json_that_is_none_or_far_too_much(data, words):
    with pytest.raises(Unreadable, match=words):
        text.loads(data, LIMIT)


def listed(tmp_path, content, limit=3000):
    (tmp_path / "a.json").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return list(text.items(tmp_path / "a.json", "data", limit))


def test_entries_come_one_at_a_time(tmp_path):
    entries = [{"number": i, "text": "ä" * (i % 300), "inner": [[i]]} for i in range(20_000)]
    assert listed(tmp_path, {"ver": 0.1, "other": {"data": [1]}, "data": entries, "rest": 1}) == entries
    assert listed(tmp_path, {"data": []}) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"data": [{"a": "x" * 1_100_000}]}, "longer than 3,000"),
        ({"other": 1}, "has no list 'data'"),
        ({"data": {"a": 1}}, "no '\\[' where one must be"),
        ([1, 2], "no '{' where one must be"),
        (b'{"data": [' + b"[" * 100_000, "nested too deeply"),
        (b'{"data": [1 2]}', "no ',' where one must be"),
        (b'{"data": [1', "no ',' where one must be"),
        (b'{"data": [{"a": NaN}]}', "NaN"),
        (b"\xff", "UTF-8"),
        (b"", "no '{'"),
    ],
    ids=range(10),
)
def test_a_file_of_entries_that_is_none(tmp_path, content, words):
    with pytest.raises(Unreadable, match=words):
        listed(tmp_path, content)
