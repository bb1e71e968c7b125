import pytest

from factory.present.words import counts, duration, size, state_counts


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (250e6, "250 MB"), (3.21e9, "3.2 GB"), (5e12, "5.0 TB")],
)
def test_size(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.42, "0.4 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_what_is_not_done_is_pending() -> None:
    assert state_counts({"ok": 3, "failed": 1}, 10) == {"ok": 3, "rejected": 0, "failed": 1, "pending": 6}


def test_counts_name_reasons_largest_first() -> None:
    text = counts({"ok": 1200, "rejected": 3}, {"easy": 1, "no person": 2})
    assert text == "1,200 ok, 3 rejected (2 no person, 1 easy), 0 failed"
