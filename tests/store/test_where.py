from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from factory.errors import UserError
from factory.store.where import Where

ROWS = pa.table(
    {
        "key": ["a", "b", "c", "d"],
        "prompt": ["a man diving", "a woman walking", "a child diving", "nobody"],
        "pose_score": [10.0, 40.0, float("nan"), 50.0],
        "silhouette_iou": [0.9, 0.5, 0.8, None],
        "refined": [True, False, True, True],
        "people": [1, 2, 3, 0],
    }
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("score > 30 and silhouette_iou > 0.4", "b"),
        ("pose_score > 30", "bd"),
        ("not pose_score > 30", "a"),  # what is missing fits neither way
        ("refined and people in (1, 3)", "ac"),
        ("prompt like '%diving%' or people == 0", "acd"),
        ("silhouette_iou is null", "d"),
        ("round(abs(people - 2)) = 1 -- a comment", "ac"),
    ],
)
def test_rows_that_fit(condition: str, expected: str) -> None:
    fits = Where(condition, ROWS.schema)(ROWS)
    assert fits.dtype == bool and "".join(np.array(ROWS["key"].to_pylist())[fits]) == expected


def test_one_filter_serves_many_tables() -> None:
    where = Where("people > 1", ROWS.schema)
    assert [where(ROWS.slice(start, 2)).tolist() for start in (0, 2, 0)] == [
        [False, True],
        [True, False],
        [False, True],
    ]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("scoer > 30", "unknown column scoer; did you mean score?"),
        ("silhouete_iou > 0.7", "did you mean silhouette_iou?"),
        ("xyz > 1", "there are iou, key, people"),
        ("score >", "syntax error"),
        ("", "syntax error"),
        ("people > 1; drop table samples", "syntax error"),
        ('prompt = "walking"', "single quotes"),
        ("__import__('os').system('touch /tmp/x')", "syntax error"),
        ("load_extension('/tmp/x.so')", "only columns"),
        ("randomblob(100) is not null", "only columns"),
        ("people in (select people from samples)", "only columns"),
        ("exists (with recursive t(n) as (select 1 union all select n + 1 from t) select n from t)", "only columns"),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(condition: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        Where(condition, ROWS.schema)
    assert words in str(error.value) and "\n" not in str(error.value)
