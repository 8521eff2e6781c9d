"""A smoke run: small pools, the whole path, nothing kept."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from harness.data.examples import (
    Bitext,
    ItemSet,
    Loaded,
    Mining,
    Pair,
    Query,
    Question,
    QuestionSet,
    Retrieval,
)
from harness.errors import UsageError
from harness.evaluation.smoke import ITEMS, NOTE, PAIRS, QUERIES, QUESTIONS, small


def loaded(examples: object) -> Loaded:
    return small(Loaded(examples, "folder", {}))  # type: ignore[arg-type]


def test_relevant_candidates_stay_in_a_small_pool() -> None:
    count = 1_000
    queries = tuple(Query(f"q{i}", f"text {i}", f"c{i}", (i, count - 1 - i)) for i in range(100))
    names = tuple(f"d{i}" for i in range(count))
    found = loaded(Retrieval(names, names, ("de",) * count, {"de": queries})).examples
    assert isinstance(found, Retrieval)
    assert len(found.candidates) == PAIRS + QUERIES
    assert len(found.queries["de"]) == QUERIES
    for query in found.queries["de"]:
        number = int(query.id[1:])
        ids = {found.candidate_ids[place] for place in query.relevant}
        assert ids == {f"d{number}", f"d{count - 1 - number}"}


def test_other_kinds_are_cut() -> None:
    lines = tuple(map(str, range(500)))
    pairs = loaded({"de": Bitext("de", lines, lines)}).examples
    assert [len(one.source) for one in pairs.values()] == [PAIRS]  # type: ignore[union-attr]
    questions = tuple(Question(str(i), "q", "c", ("a",), "x") for i in range(50))
    asked = loaded({"de": QuestionSet("de", "de", questions)}).examples
    assert [len(one.questions) for one in asked.values()] == [QUESTIONS]  # type: ignore[union-attr]
    items = tuple(Pair(str(i), "a", "b", "yes", "x") for i in range(50))
    labelled = loaded({"de": ItemSet("de", items)}).examples
    assert [len(one.items) for one in labelled.values()] == [ITEMS]  # type: ignore[union-attr]
    side = {name: name for name in lines}
    gold = frozenset((name, name) for name in lines[100:200])
    mined = loaded({"de": {"test": Mining("de", "test", side, side, gold)}})
    corpora = mined.examples["de"]["test"]  # type: ignore[index]
    assert len(corpora.gold) == QUERIES
    assert len(corpora.source) == PAIRS + QUERIES
    assert all(one in corpora.source and two in corpora.english for one, two in corpora.gold)
    assert not mined.complete
    assert NOTE in mined.notes


def test_a_tuning_has_no_small_pool(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--smoke with --finetune"):
        harness.evaluate("xharness/demo", suite="demo", smoke=True, finetune=True, out=tmp_path)
