import io
from types import SimpleNamespace

from rich.console import Console

from factory.present.progress import EVERY, RunProgress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def event(kind: str = "unit", records: int = 10, total: int = 40, **more: object) -> SimpleNamespace:
    fields = {"message": "a message", "states": {"ok": records}, "reasons": {}, "units": 1, "total_records": total}
    return SimpleNamespace(kind=kind, records=records, **(fields | more))


def run(events: list[tuple[float, SimpleNamespace]], terminal: bool = False) -> tuple[str, RunProgress]:
    text, clock = io.StringIO(), Clock()
    with RunProgress(Console(file=text, force_terminal=terminal, width=160), clock) as progress:
        for seconds, item in events:
            clock.now += seconds
            progress(item)
    return text.getvalue(), progress


def test_plain_lines_come_now_and_then_and_always_at_the_end() -> None:
    quick = [(EVERY / 10, event()) for _ in range(4)]
    lines = run(quick)[0].splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("10 of 40 records: 10 ok")
    assert lines[1].startswith("40 of 40 records: 40 ok")


def test_rate_leaves_out_start_up_and_earlier_runs() -> None:
    _, progress = run([(0, event("resumed", 10, units=1)), (60, event()), (5, event())])
    assert progress.pace(165.0) == "2.0 records/s, 5 s to go"


def test_slow_runs_say_seconds_per_record() -> None:
    _, progress = run([(0, event(records=1)), (30, event(records=10))])
    assert progress.pace(130.0) == "3.0 s/record, 1 min 27 s to go"


def test_resuming_is_said_and_a_fresh_start_is_not() -> None:
    assert "a message" in run([(0, event("resumed", 10, units=1))])[0]
    assert run([(0, event("resumed", 0, units=0))])[0] == ""


def test_states_add_up() -> None:
    _, progress = run(
        [
            (0, event(states={"ok": 7, "rejected": 3}, reasons={"easy": 3})),
            (1, event(kind="sealed", records=0, states={})),
        ]
    )
    assert (progress.done, progress.states["rejected"], progress.reasons["easy"]) == (10, 3, 3)


def test_terminal_shows_a_live_line() -> None:
    text, _ = run([(0, event()), (2, event())], terminal=True)
    assert "20/40" in text and "5.0 records/s" in text
