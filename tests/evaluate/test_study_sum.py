"""`factory evaluate study-sum`: known answers give known figures, and anything else than answers is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factory.evaluate.preference import krippendorff_alpha, preference_shares, shares_of
from factory.evaluate.study import draw_trials
from factory.evaluate.study_files import Answers, StudyKey, Trial
from factory.evaluate.study_sum import summarise_study
from tests.support.command import Run, refused

ID = "0123456789ab"
Choose = Callable[[int, Trial], str]  # (place on the page, trial) -> "final", "initial" or "no preference"


def key(raters: int = 3, pairs: int = 20, repeats: int = 4) -> StudyKey:
    names = [f"walks-{i:08}" for i in range(pairs)]
    plan = [draw_trials(names, repeats, 0, rater) for rater in range(1, raters + 1)]
    return StudyKey(study=ID, data="out/walks", seed=0, raters=plan)


def answers(study: StudyKey, rater: int, choose: Choose) -> Answers:
    """As the page saves them: sides, not images."""
    sides: list = []
    for place, trial in enumerate(study.raters[rater - 1]):
        wanted = choose(place, trial)
        sides.append(wanted if wanted == "no preference" else "first" if wanted == trial.first else "second")
    return Answers(study=study.study, rater=rater, answers=sides)


def number(trial: Trial) -> int:
    return int(trial.pair[-2:])


def put(folder: Path, study: StudyKey, *all_answers: Answers) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "study.json").write_text(study.model_dump_json())
    for each in all_answers:
        (folder / f"answers-{each.study}-rater-{each.rater}.json").write_text(each.model_dump_json())
    return folder


def mixed(place: int, trial: Trial) -> str:
    """Of 20 pairs: 12 final, 4 initial, 4 without preference."""
    return "final" if number(trial) < 12 else "initial" if number(trial) < 16 else "no preference"


def test_known_answers_give_the_known_shares(tmp_path, factory: Run):
    study = key()
    folder = put(tmp_path / "s", study, *(answers(study, rater, mixed) for rater in (1, 2, 3)))
    done = factory("evaluate", "study-sum", folder, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    values = {name: share["value"] for name, share in found["shares"].items()}
    assert values == pytest.approx({
        "final": 0.6, "initial": 0.2, "no preference": 0.2, "final, ties left out": 0.75, "final, ties split": 0.7,
    })  # fmt: skip
    low, high = found["shares"]["final"]["interval_95"]
    assert 0.35 < low < 0.45 and 0.75 < high < 0.85  # of 20 pairs, on which all agree: 0.6 +- 0.21
    assert found["shares"]["final"]["mean"] == pytest.approx(0.6) and found["shares"]["final"]["std"] < 1e-9
    assert found["krippendorff_alpha"] == found["consistent"] == 1 and found["repeated"] == 12
    assert (found["pairs"], found["asked"], found["notes"]) == (20, 3, [])
    assert all(0 < rater["first_side"] < 1 for rater in found["raters"])


def test_the_table_says_what_the_json_says(tmp_path, factory: Run):
    study = key()
    folder = put(tmp_path / "s", study, answers(study, 1, mixed), answers(study, 3, lambda *_: "final"))
    done = factory("evaluate", "study-sum", folder)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert "out/walks: 20 pairs, 2 of 3 raters" in done.stdout and "note: no answers of rater 2" in done.stdout
    (split,) = [line for line in lines if line[:3] == ["final,", "ties", "split"]]
    assert split[3] == "0.85" and split[-2:] == ["0.85", "0.21"]
    (first,) = [line for line in lines if line[:1] == ["1"]]
    assert first[:5] == ["1", "24", "0.60", "0.20", "0.20"]
    assert "Krippendorff's alpha" in done.stdout and "of 8 pairs shown twice were answered the same" in done.stdout
    assert "bootstrap over raters and pairs" in done.stdout and "\x1b" not in done.stdout


def test_a_rater_who_always_takes_one_side_prefers_neither_image_and_is_inconsistent():
    study = key(raters=1)
    left = Answers(study=ID, rater=1, answers=["first"] * len(study.raters[0]))
    found = summarise_study(study, [left])
    assert found.shares["final"].value == 0.5 and found.raters[0].first_side == 1
    assert found.consistent == found.raters[0].consistent == 0 and found.repeated == 4
    assert found.alpha is None and found.shares["final"].std is None
    assert any("of one rater" in note for note in found.notes)


def test_answers_that_are_not_given_count_neither_way():
    study = key(repeats=0)
    half = answers(study, 1, lambda *_: "final")
    half = half.model_copy(update={"answers": [*half.answers[:5], *[None] * 15]})
    found = summarise_study(study, [half, answers(study, 2, lambda *_: "no preference")])
    assert found.shares["final"].value == pytest.approx(5 / 25) and found.shares["final"].mean == 0.5
    assert found.shares["final, ties left out"].value == 1
    assert found.consistent is None and "unfinished: rater 1 (5 of 20)" in found.notes


def test_ties_alone_leave_no_share_without_them(tmp_path, factory: Run):
    study = key(raters=2)
    folder = put(tmp_path / "s", study, *(answers(study, rater, lambda *_: "no preference") for rater in (1, 2)))
    found = json.loads(factory("evaluate", "study-sum", folder, "--json").stdout)
    assert found["shares"]["final, ties left out"]["value"] is None and found["krippendorff_alpha"] is None
    assert found["shares"]["final, ties split"]["value"] == 0.5
    shown = factory("evaluate", "study-sum", folder)
    assert shown.returncode == 0 and "alpha undefined" in shown.stdout


def test_alpha_is_that_of_the_published_example():
    """Krippendorff 2011, part C: 4 observers, 12 units, 5 values, missing data: nominal alpha = 0.743."""
    table = """1 2 3 3 2 1 4 1 2 . . .
               1 2 3 3 2 2 4 1 2 5 . 3
               . 3 3 3 2 3 4 2 2 5 1 .
               1 2 3 3 2 4 4 1 2 5 1 ."""
    values = [[np.nan if cell == "." else float(cell) for cell in line.split()] for line in table.splitlines()]
    assert krippendorff_alpha(np.array(values)) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(np.array([[0.0, 1.0], [0.0, 1.0]])) == 1
    chance = np.random.default_rng(0).choice([0, 0.5, 1], (6, 3000))
    assert krippendorff_alpha(chance) == pytest.approx(0, abs=0.02)
    assert krippendorff_alpha(np.full((2, 5), np.nan)) is None


def test_the_interval_is_as_wide_as_raters_differ():
    """Raters who agree within themselves and not with each other: their number, not that of the answers, counts."""
    by_rater = np.repeat([[1.0], [0.0], [1.0], [0.0], [1.0], [0.0]], 100, axis=1)
    by_chance = np.random.default_rng(0).permuted(by_rater.ravel()).reshape(6, 100)
    wide, narrow = (preference_shares(each)["final"] for each in (by_rater, by_chance))
    assert wide.value == narrow.value == 0.5
    assert wide.interval[1] - wide.interval[0] > 0.6 and narrow.interval[1] - narrow.interval[0] < 0.25
    assert wide.std == pytest.approx(0.548, abs=1e-3)
    assert preference_shares(by_chance) == preference_shares(by_chance)  # the draws have a seed of their own


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    for _ in range(40):
        rater, pair = rng.normal(0, 0.5, (6, 1)), rng.normal(0, 1, (1, 30))
        low, high = preference_shares((rater + pair + rng.normal(0, 1, (6, 30)) > 0).astype(float))["final"].interval
        held += low <= 0.5 <= high
    assert held >= 34


def test_shares_of_nothing_are_nan():
    assert all(np.isnan(value) for value in shares_of(np.full((2, 3), np.nan)).values())


def test_what_is_no_answer_to_this_study_is_refused_in_one_line(tmp_path, factory: Run):
    study = key()
    folder = put(tmp_path / "s", study, answers(study, 1, mixed))
    good = (folder / f"answers-{ID}-rater-1.json").read_text()

    def told(content: str | bytes, *words: str) -> None:
        odd = tmp_path / "odd.json"
        odd.write_bytes(content.encode() if isinstance(content, str) else content)
        refused(factory("evaluate", "study-sum", folder, odd), "odd.json", *words)

    told(good.replace(ID, "ffffffffffff"), "answers of another study, 'ffffffffffff'", ID)
    told(good.replace('"rater":1', '"rater":9'), "of rater 9, but the study has 3 raters")
    told(good, "are both of rater 1; keep one of them", "(24 answers)")
    told(good.replace('"rater":1', '"rater":2').replace('["', '["first","'), "25 answers where rater 2 was asked 24")
    told(good[:40], "not a rater's answers")
    told(good.replace("first", "left"), "not a rater's answers: answers.")
    told(good.replace('"rater":1', '"rater":"1"'), "rater: Input should be a valid integer")
    told(good.replace('"rater":1', '"rater":2,"\\u001b[2J":0'), "not a rater's answers")
    told("[]", "not a rater's answers")
    told("[" * 100_000, "nested too deeply")
    told(b"\xff\xfe", "UTF-8")
    told('{"answers": [' + "null," * 300_000 + "null]}", "not a rater's answers")
    refused(factory("evaluate", "study-sum", folder, tmp_path / "gone.json"), "gone.json: no such file")
    refused(factory("evaluate", "study-sum", tmp_path), "there is no study.json", "factory evaluate study OUT --to DIR")
    refused(factory("evaluate", "study-sum", put(tmp_path / "t", study)), "no answers yet", "answers*.json")
    (tmp_path / "t" / "study.json").write_text('{"study": "x"}')
    refused(factory("evaluate", "study-sum", tmp_path / "t"), "study.json: not a study's key: study: String should")


def test_files_alone_are_enough_where_the_key_lies_beside_them(tmp_path, factory: Run):
    study = key()
    folder = put(tmp_path / "s", study, answers(study, 1, mixed), answers(study, 2, mixed))
    both = sorted(folder.glob("answers*"))
    told = json.loads(factory("evaluate", "study-sum", *both, "--json").stdout)
    assert [rater["rater"] for rater in told["raters"]] == [1, 2]
    again = factory("evaluate", "study-sum", folder, *both, "--json")  # the same files, named twice
    assert again.returncode == 0 and json.loads(again.stdout) == told
