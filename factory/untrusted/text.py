"""Text and JSON of untrusted origin: length and number of values are bounded, and every text can be written as
UTF-8."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factory.untrusted import Unreadable

VALUES = 4_000_000  # at most in one text: some 400 MB of Python objects
CHUNK = 1 << 20  # characters read at a time


def read_text(path: Path, limit: int) -> bytes:
    """The bytes of a file. Unreadable: there are more than `limit` (a device never ends). OSError where the file is not
    there or may not be read."""
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Unreadable(f"more than the {limit:,} bytes that are read here")
    return data


def decoded(data: bytes) -> str:
    """The text in the bytes. Unreadable where they are no UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not a text file in UTF-8 (byte {error.start})") from None


def plain(text: str) -> bool:
    """Whether the text can be written as UTF-8: half of a surrogate pair cannot, but JSON and YAML can name it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def loads(data: bytes, limit: int, values: int = VALUES, finite: bool = True) -> Any:
    """The value of a JSON text. Unreadable: the text is no JSON, is longer than `limit` bytes, is nested too deeply,
    has more than `values` values, holds half of a surrogate pair, or, if it must be `finite`, NaN or infinity."""
    if len(data) > limit:
        raise Unreadable(f"{len(data):,} bytes of JSON, more than the {limit:,} that are read here")
    if sum(data.count(mark) for mark in b"[{,") > values:  # before a single one is made
        raise Unreadable(f"more than {values:,} values")
    return _checked(decoded(data), _DECODER if finite else _LENIENT)


def items(path: Path, key: str, limit: int = CHUNK) -> Iterator[Any]:
    """The entries of the list called `key` in a file's JSON object, one at a time. A file of any length takes no more
    memory than its longest entry, of at most `limit` characters. What comes after the list is not read.

    Unreadable: there is no such file or list, or an entry is no JSON.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            yield from _Entries(file, key, limit)
    except OSError as error:
        raise Unreadable(error.strerror) from None
    except UnicodeDecodeError:
        raise Unreadable("not a text file in UTF-8") from None


def _checked(text: str, decoder: json.JSONDecoder) -> Any:
    try:
        value = decoder.decode(text)
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except ValueError as error:
        raise Unreadable(error) from None
    if "\\ud" in text.lower() and not plain(json.dumps(value, ensure_ascii=False)):
        raise Unreadable("holds a text with half of a surrogate pair")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_constant)
_LENIENT = json.JSONDecoder()


class _Entries:
    """Reads a file by chunks. `text` is the part of the file that is in memory, `at` the place in it that comes
    next."""

    def __init__(self, file: Any, key: str, limit: int) -> None:
        self.file, self.key, self.limit = file, key, limit
        self.text, self.at, self.ended = "", 0, False

    def __iter__(self) -> Iterator[Any]:
        self._expect("{")
        while self._next() != "}":
            name = self._value()
            self._expect(":")
            if name == self.key:
                break
            self._value()
            self._comma("}")
        else:
            raise Unreadable(f"has no list {self.key!r}")
        self._expect("[")
        while self._next() != "]":
            yield self._value()
            self._comma("]")

    def _fill(self) -> None:
        """Read on until `text` holds at least `limit` characters from `at` on, or the file ends."""
        while not self.ended and len(self.text) - self.at < self.limit:
            more = self.file.read(max(self.limit, CHUNK))
            self.ended = not more
            self.text, self.at = self.text[self.at :] + more, 0

    def _next(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            self._fill()
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.at += 1
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]

    def _expect(self, mark: str) -> None:
        if self._next() != mark:
            raise Unreadable(f"is not as expected: no {mark!r} where one must be")
        self.at += 1

    def _comma(self, end: str) -> None:
        if self._next() != end:
            self._expect(",")

    def _value(self) -> Any:
        self._next()
        self._fill()
        try:
            value, self.at = _DECODER.raw_decode(self.text, self.at)
        except RecursionError:
            raise Unreadable("nested too deeply") from None
        except ValueError as error:
            why = error if self.ended else f"an entry is no JSON, or longer than {self.limit:,} characters"
            raise Unreadable(why) from None
        return value
