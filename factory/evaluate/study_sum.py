"""What `factory evaluate study-sum` computes: the raters' answers, unblinded by study.json, as shares and agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from factory.errors import UserError
from factory.evaluate.preference import (
    FINAL,
    INITIAL,
    TIE,
    Share,
    krippendorff_alpha,
    preference_shares,
    shares_of,
)
from factory.evaluate.study_files import ANSWERS, KEY, PREFERENCES, Answers, StudyKey, read_answers, read_key
from factory.store.disk import expanded

FIRST, SECOND, NEITHER = PREFERENCES


@dataclass(frozen=True)
class RaterSummary:
    """One rater. Shares are of the answers given, as `preference.shares_of` names them; first_side: how often the rater
    chose the image on the left (or above), of all preferences; consistent: of the pairs that were shown and answered
    twice, how often the answer was the same. None where nothing says it."""

    rater: int
    answered: int
    trials: int
    shares: dict[str, float | None]
    first_side: float | None
    consistent: float | None


@dataclass(frozen=True)
class StudySummary:
    """The figures of a study. alpha: Krippendorff's, nominal, over the three answers. consistent: the share of repeated
    pairs, over all raters, with the same answer twice; `repeated` of them were answered twice."""

    data: str
    study: str
    pairs: int
    asked: int  # raters that the study has pages for
    shares: dict[str, Share]
    alpha: float | None
    consistent: float | None
    repeated: int
    raters: list[RaterSummary]
    notes: list[str]


def load_study(paths: Sequence[str]) -> tuple[StudyKey, list[Answers]]:
    """The study's key and the answers to it, by rater. paths: folders and files, as the command takes them; the key
    lies in the folder that is named first, or beside the first file.

    UserError: no key or no answers, a file that holds something else, answers of another study, a rater twice.
    """
    places = [Path(expanded(path, "study-sum")) for path in paths]
    folders = [place for place in places if place.is_dir()]
    folder = folders[0] if folders else places[0].parent
    key = read_key(folder)
    files = [place for place in places if not place.is_dir() and place.name != KEY]
    files += [file for place in folders for file in sorted(place.glob(ANSWERS))]
    found: dict[int, tuple[Path, Answers]] = {}
    for file in {file.resolve(): file for file in files}.values():
        answers = read_answers(file)
        _check(key, answers, file)
        if answers.rater in found:
            other, earlier = found[answers.rater]
            raise UserError(
                f"{other} ({earlier.given} answers) and {file} ({answers.given} answers) are both of rater "
                f"{answers.rater}; keep one of them"
            )
        found[answers.rater] = file, answers
    if not any(answers.given for _, answers in found.values()):
        raise UserError(f"{folder}: no answers yet; put the files that raters saved ({ANSWERS}) there, or name them")
    return key, [found[rater][1] for rater in sorted(found)]


def _check(key: StudyKey, answers: Answers, file: Path) -> None:
    if answers.study != key.study:
        raise UserError(f"{file}: answers of another study, {answers.study[:20]!r}; this one is {key.study}")
    if answers.rater > len(key.raters):
        raise UserError(f"{file}: of rater {answers.rater}, but the study has {len(key.raters)} raters")
    trials = len(key.raters[answers.rater - 1])
    if len(answers.answers) != trials:
        raise UserError(f"{file}: {len(answers.answers)} answers where rater {answers.rater} was asked {trials}")


def summarise_study(key: StudyKey, found: Sequence[Answers]) -> StudySummary:
    """The figures of all answers. A pair that was shown twice counts once, as it was answered first."""
    pairs = sorted({trial.pair for trials in key.raters for trial in trials})
    column = {pair: i for i, pair in enumerate(pairs)}
    matrix = np.full((len(found), len(pairs)), np.nan)
    raters, same = [], []
    for row, answers in zip(matrix, found, strict=True):
        trials, again = key.raters[answers.rater - 1], dict[int, float]()
        for trial, answer in zip(trials, answers.answers, strict=True):
            value = _value(trial.first, answer)
            if not trial.repeat:
                row[column[trial.pair]] = value
            elif not np.isnan(value):
                again[column[trial.pair]] = value
        own = [bool(row[i] == value) for i, value in again.items() if not np.isnan(row[i])]
        same += own
        sided = [answer == FIRST for answer in answers.answers if answer in (FIRST, SECOND)]
        raters.append(
            RaterSummary(
                answers.rater,
                answers.given,
                len(trials),
                {name: None if np.isnan(share) else share for name, share in shares_of(row).items()},
                _mean(sided),
                _mean(own),
            )
        )
    return StudySummary(
        key.data,
        key.study,
        len(pairs),
        len(key.raters),
        preference_shares(matrix),
        krippendorff_alpha(matrix),
        _mean(same),
        len(same),
        raters,
        _notes(raters, len(key.raters)),
    )


def _value(first: str, answer: str | None) -> float:
    """FINAL, INITIAL or TIE; NaN for no answer. first: which image was shown first."""
    if answer is None:
        return np.nan
    if answer == NEITHER:
        return TIE
    return FINAL if (first == "final") == (answer == FIRST) else INITIAL


def _mean(truths: Sequence[bool]) -> float | None:
    return float(np.mean(truths)) if truths else None


def _notes(raters: list[RaterSummary], asked: int) -> list[str]:
    notes = []
    if len(raters) < asked:
        missing = sorted(set(range(1, asked + 1)) - {each.rater for each in raters})
        notes.append(f"no answers of rater {', '.join(map(str, missing))}")
    if unfinished := [each for each in raters if each.answered < each.trials]:
        words = (f"rater {each.rater} ({each.answered} of {each.trials})" for each in unfinished)
        notes.append(f"unfinished: {', '.join(words)}")
    if len(raters) == 1:
        notes.append("of one rater the interval says how far other pairs might differ, not other raters")
    return notes
