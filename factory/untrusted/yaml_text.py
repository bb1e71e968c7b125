"""YAML of untrusted origin: only standard tags are read, and the number of values is bounded with all aliases expanded.

A few lines of aliases or merge keys may stand for billions of values. So while a text is read, the values are counted
as if each alias were written out, before any is expanded.
"""

from __future__ import annotations

from typing import Any

import yaml

from factory.untrusted import Unreadable, text

BYTES = 1 << 24  # of a text, at most
VALUES = 100_000  # at most in one text, with each alias counted as what it stands for
NUMBER = 100  # characters at most of a plain scalar that is read as a number
# What PyYAML raises, uncaught, where a scalar is not what it looks like: month 99, an integer of 5000 digits.
UNREAD = (ValueError, AttributeError, TypeError, OverflowError, RecursionError)


def compose(content: str) -> yaml.Node | None:
    """The root node of a text; None where the text is empty. Unreadable: the text is no YAML, is too long, or holds too
    many values with its aliases expanded."""
    if len(content) > BYTES:
        raise Unreadable(f"more than {BYTES:,} characters")
    try:
        return _Loader(content).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise Unreadable(f"not valid YAML: {error.problem or error.context}", _line(error.problem_mark)) from None
    except yaml.YAMLError as error:
        raise Unreadable(f"not valid YAML: {error}") from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except UNREAD as error:  # such as "\\Uffffffff", which is no character
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"not valid YAML: {error}") from None


def construct(node: yaml.Node) -> Any:
    """The plain values of a node. Unreadable: a tag is not YAML's own, or a value is not what its tag says."""
    try:
        return _Loader("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise Unreadable(error.problem, _line(error.problem_mark)) from None
    except UNREAD as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"a value cannot be read ({' '.join(str(error).split())[:100]})") from None


def load(content: str) -> Any:
    """The plain values of a text. Unreadable as `compose` and `construct`."""
    node = compose(content)
    return None if node is None else construct(node)


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which counts values. sizes: id of a node that has been read -> number of values that the node
    stands for with its aliases expanded."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.sizes: dict[int, int] = {}
        self.values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event, before = self.peek_event(), self.values
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self.sizes:
                raise Unreadable(f"*{event.anchor} stands inside of what it names", line)
            self.values += self.sizes[id(node)]
        else:
            node = super().compose_node(parent, index)
            self.values += 1
            self.sizes[id(node)] = self.values - before
        if self.values > VALUES:
            raise Unreadable(f"more than {VALUES:,} values, written out", line)
        return node

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str):
            line = node.start_mark.line + 1
            if not text.plain(value):
                raise Unreadable("a text with half of a surrogate pair, which is no character", line)
            if node.tag in _NUMBERS and len(value) > NUMBER:
                raise Unreadable(f"a number of {len(value):,} characters", line)
        return value


_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}


def _line(mark: yaml.Mark | None) -> int | None:
    return None if mark is None else mark.line + 1
