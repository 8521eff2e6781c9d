"""Published figures: what the file may say, and that its sums are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.analysis import published
from harness.analysis.published import PublishedScore, read_figures
from harness.cards.catalogue import read_card
from harness.errors import DataError

FIGURES = read_figures()


def table(words: str) -> list[PublishedScore]:
    found = [one for one in FIGURES if words in one.table]
    assert found
    return found


@pytest.mark.parametrize(
    ("words", "whole", "models", "digits"),
    [
        ("Mewsli-X", "mewsli_x", 2, 2),
        ("mGTE", "mean", 4, 2),
        ("mmBERT", "mean", 6, 1),
        ("groups of tasks", "mean", 3, 1),
        ("XCOPA, by language", "xcopa", 1, 1),
    ],
)
def test_a_mean_is_that_of_its_row(words: str, whole: str, models: int, digits: int) -> None:
    """A figure that was copied wrongly would miss its row's published mean."""
    rows: dict[str, dict[str, float]] = {}
    for one in table(words):
        rows.setdefault(one.model, {})[one.task] = one.value
    assert len(rows) == models
    for row in rows.values():
        mean = row.pop(whole)
        assert mean == pytest.approx(sum(row.values()) / len(row), abs=0.51 * 10**-digits)


def test_a_figure_that_was_not_published_is_none() -> None:
    tasks = {one.task for one in table("collected with mT5") if one.model == "InfoXLM"}
    assert tasks == {"xnli", "mlqa"}


def test_mewsli_x_has_every_language() -> None:
    languages = {f"mewsli_x ({lang})" for lang in read_card("mewsli_x").languages}
    columns = {one.task for one in table("Mewsli-X")}
    assert columns == {"mewsli_x", *languages}
    official = {(one.model, one.value) for one in FIGURES if one.task == "mewsli_x"}
    assert {("mBERT", 41.45), ("mBERT", 40.84), ("XLM-R large", 52.51)} <= official


@pytest.mark.parametrize(
    ("model", "task", "value", "word"),
    [
        ("mBERT, X-Y", "lareqa", 66.0, "without a cut"),
        ("mBERT, En-En", "lareqa", 29.0, "without a cut"),
        ("mBERT", "lareqa", 75.26, "paragraphs"),
        ("mBERT", "mewsli_x", 40.84, "dev"),
        ("XLM-R base", "xquad", 72.83, "without hi"),
        ("XLM-R base", "tydiqa", 70.5, "not said"),
        ("sentence-transformers/all-MiniLM-L6-v2", "tatoeba", 3.49, "other direction"),
    ],
)
def test_what_is_measured_otherwise_says_so(model: str, task: str, value: float, word: str) -> None:
    (found,) = [o for o in FIGURES if (o.model, o.task, o.value) == (model, task, value)]
    assert word in found.apart


def test_every_figure_has_a_source_and_a_caveat() -> None:
    assert all(one.source and one.caveat and one.metric for one in FIGURES)
    # Nobody has found where these stood (F1 71.9, 65.1 and 55.4 of the base model).
    assert not {71.9, 65.1, 55.4} & {o.value for o in FIGURES if o.model == "XLM-R base"}


@pytest.mark.parametrize(("value", "shown"), [(57.3, "57.3"), (66, "66.0"), (41.45, "41.45")])
def test_a_value_keeps_the_digits_it_came_with(value: float, shown: str) -> None:
    assert FIGURES[0].model_copy(update={"value": value}).shown == shown


TABLE = """
figures: []
tables:
  - title: Two by two
    source: a paper
    caveat: made up
    columns: [{task: xquad, metric: f1}, {task: mlqa, metric: f1, languages: 7, apart: dev}]
    rows: [{model: A, values: [1, 2.5]}, {model: B, values: [3, 4]}]
"""


def read(folder: Path, text: str, patch: pytest.MonkeyPatch) -> tuple[PublishedScore, ...]:
    (folder / "published.yaml").write_text(text)
    patch.setattr(published, "task_root", lambda: folder)
    return read_figures()


def test_a_table_is_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(tmp_path, TABLE, monkeypatch)
    assert [(one.model, one.task, one.value) for one in found] == [
        ("A", "xquad", 1.0), ("A", "mlqa", 2.5), ("B", "xquad", 3.0), ("B", "mlqa", 4.0),
    ]  # fmt: skip
    assert (found[1].languages, found[1].apart, found[1].table) == (7, "dev", "Two by two")
    assert (found[0].languages, found[0].apart) == (None, "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[1, 2.5]", "[1]", "A has 1 values for 2 columns"),
        ("[1, 2.5]", "[1, 101]", "less than or equal to 100"),
        ("metric: f1}", "metrics: f1}", "metrics"),
    ],
)
def test_a_broken_table_is_named(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read(tmp_path, TABLE.replace(old, new, 1), monkeypatch)
