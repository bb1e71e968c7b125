"""The two kinds of files of a user study: study.json, which says what each rater was shown, and the answers that a
rater's page saves. Both are read within limits, and anything else than they should be is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from factory.errors import UserError, escaped
from factory.store.fs import LocalFiles
from factory.untrusted import Unreadable, text

KEY = "study.json"
ANSWERS = "answers*.json"
PREFERENCES = ("first", "second", "no preference")
MOST_PAIRS, MOST_RATERS = 5_000, 1_000
KEY_BYTES, ANSWERS_BYTES = 1 << 28, 1 << 20


Which = Literal["initial", "final"]


class StudyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Trial(StudyFile):
    """One pair of images as one rater sees it."""

    pair: str = Field(max_length=200)  # key of the record
    first: Which  # the image on the left; on a phone the upper one
    repeat: bool = False  # the pair was shown before, with its sides exchanged


class StudyKey(StudyFile):
    """What all raters were shown: the content of study.json."""

    note: str = "Not for raters: this file says which image is the initial one and which the final one."
    study: str = Field(pattern=r"^[0-9a-f]{12}$")  # differs between studies of other pairs, images, orders or sides
    data: str  # address of the data set
    seed: int
    raters: list[list[Trial]] = Field(min_length=1, max_length=MOST_RATERS)  # in the order of each rater's page


class Answers(StudyFile):
    """What one rater answered, a value for each trial of the rater's page; None: not yet."""

    study: str
    rater: int = Field(ge=1)  # the first rater is 1
    answers: list[Literal["first", "second", "no preference"] | None] = Field(max_length=2 * MOST_PAIRS)

    @property
    def given(self) -> int:
        """The number of trials that are answered."""
        return sum(answer is not None for answer in self.answers)


def read_key(folder: Path) -> StudyKey:
    """The study.json of a folder. UserError: there is none, or it is none. OSError does not pass."""
    try:
        return _read(folder / KEY, StudyKey, KEY_BYTES, "a study's key")
    except FileNotFoundError:
        words = "make a study: factory evaluate study OUT --to DIR, or name its folder"
        raise UserError(f"{folder}: there is no {KEY}; {words}") from None


def read_answers(path: Path) -> Answers:
    """The answers of one rater. UserError: the file is not there, or holds none."""
    try:
        return _read(path, Answers, ANSWERS_BYTES, "a rater's answers")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None


Content = TypeVar("Content", bound=StudyFile)


def _read(path: Path, kind: type[Content], limit: int, what: str) -> Content:
    data = LocalFiles(path.parent, "study").read(path.name, 0, limit + 1)
    try:
        return kind.model_validate(text.loads(data, limit))
    except Unreadable as error:
        raise UserError(f"{path}: not {what}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        why = f"{escaped(where)[:80]}: {first['msg']}" if where else "no JSON object"
        raise UserError(f"{path}: not {what}: {why}") from None
