"""While nothing is finished: a line now and then, and an end where nothing can come."""

from __future__ import annotations

import threading

import pytest

from factory.engine import lookout
from factory.engine.lookout import Lookout
from factory.errors import UserError


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "FIRST", 0.05)
    monkeypatch.setattr(lookout, "LOOK", 0.01)


def test_says_what_is_waited_for_and_since_when():
    told, said = [], threading.Event()

    def tell(line: str) -> None:
        told.append(line)
        said.set()

    with Lookout(lambda: "of 2 workers: 1 up", lambda since: None, tell, lambda error: None) as look:
        look.progressed()
        assert said.wait(60)
    assert told[0].startswith("waiting: no unit finished since ") and told[0].endswith("s ago; of 2 workers: 1 up")


def test_tells_nothing_while_units_come_as_they_used_to(monkeypatch):
    monkeypatch.setattr(lookout, "FIRST", 3600)
    told = []
    with Lookout(lambda: "", lambda since: None, told.append, lambda error: None) as look:
        look.progressed()
    assert told == []


def test_ends_a_run_that_cannot_go_on():
    ended, said = [], threading.Event()

    def end(error: UserError) -> None:
        ended.append(str(error))
        said.set()

    with Lookout(lambda: "", lambda since: UserError("Ray has died"), lambda line: None, end):
        assert said.wait(60)
    assert ended == ["Ray has died"]


def test_names_the_cause_where_the_engine_fails_of_it_first():
    lookout = Lookout(lambda: "", lambda since: UserError("Ray has died"), lambda line: None, lambda error: None)
    with pytest.raises(UserError, match="Ray has died"), lookout:
        raise ConnectionError("pages of Ray")
