"""Whether a candidate is relevant to a question in every language that asks it, or in none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from harness.errors import DataError
from harness.kinds.retrieval import first_candidates
from harness.results.checks import _gold_contradiction, _pairs, check
from harness.results.outcomes import OutcomeFile
from tests.board.boards import BASE, measure
from tests.board.boards import hits as hits_of

Line = tuple[str, list[int], list[str]]  # question, ranks, first candidates


def rows(*lines: Line) -> pa.Table:
    names = ("example_id", "ranks", "top_ids")
    return pa.table(dict(zip(names, zip(*lines, strict=True), strict=True)))


def hits(table: pa.Table) -> npt.NDArray[np.int64]:
    first = first_candidates(table)
    return _pairs(table, first)[first.hit]


ENGLISH = rows(("q1", [1, 4], ["a", "b", "c"]), ("q2", [2], ["a", "b", "c"]))


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (("q1", [3], ["b", "c", "a"]), ""),  # a again; the other one is not among the first
        (("q1", [1], ["x", "b", "c"]), ""),  # x is among the first in one language only
        (("q1", [9], ["b", "c", "x"]), ""),
        (("q1", [2], ["a", "x", "c"]), "a is relevant to q1"),
        (("q2", [1], ["x", "b", "y"]), "b is relevant to q2"),
        (("q3", [1], ["b", "a", "x"]), ""),  # another question
    ],
)
def test_candidates_of_one_question_in_two_languages(line: Line, wrong: str) -> None:
    both = (ENGLISH, rows(line))
    relevant = np.unique(np.concatenate([hits(table) for table in both]))
    found = [said for table in both if (said := _gold_contradiction(table, relevant))]
    assert found == ([f"{wrong} in one language and not in another"] if wrong else [])


@pytest.mark.parametrize(("rows", "wrong"), [(943, ""), (2000, "2000 of 943"), (942, "942 of 943")])
def test_a_half_of_the_rows_is_all_of_its_split(rows: int, wrong: str, tmp_path: Path) -> None:
    row = {"lang": "ja", "gold": "different", "prediction": "different", "correct": True,
           "scores": [1.0, 0.0]}  # fmt: skip
    numbered = [
        {**row, "example_id": f"half:{n}", "cluster": f"pawsx:half:{n}"} for n in range(rows)
    ]
    file = OutcomeFile(
        measure(tmp_path, BASE, {"ja": numbered}, task="pawsx", split="half", layer=None)
    )
    if not wrong:
        assert check(file)["split"] == "half"
    else:
        with pytest.raises(DataError, match=f"ja half has {wrong} examples"):
            check(file)


def test_rows_that_are_reached_through_a_link_are_of_either_name(tmp_path: Path) -> None:
    path = measure(tmp_path, BASE, {"de": hits_of("de", [1, 0])})
    moved = path.parent.parent.rename(tmp_path / "moved")
    slug = path.parent.parent
    slug.symlink_to(moved)
    assert check(OutcomeFile(path))["model"] == BASE  # the link has the right name
    with pytest.raises(DataError, match="lies in moved"):
        check(OutcomeFile(moved / path.parent.name / path.name))
    slug.unlink()
    moved.rename(slug)
    (tmp_path / "link").symlink_to(slug)
    linked = tmp_path / "link" / path.parent.name / path.name
    assert check(OutcomeFile(linked))["model"] == BASE  # and here what it leads to
