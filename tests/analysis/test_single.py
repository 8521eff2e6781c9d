"""Single examples with their texts, for kinds whose rows hold labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.single import Example, examples, parse_condition
from harness.cards.catalogue import read_card
from harness.data.layout import DataLocation
from harness.data.load import load
from harness.errors import UsageError
from harness.results.outcomes import OutcomeFile
from tests.board.boards import BASE, answers, measure


def shown(root: Path, task: str, **columns: Any) -> tuple[Any, Example]:
    """The first item of a demo task, and what is shown of it after a wrong answer."""
    location = DataLocation(None, root.parent / "cache", offline=True)
    item: Any = load(read_card(task), "test", ["de"], location).examples["de"].items[0]  # type: ignore[index]
    row = {"example_id": item.id, "lang": "de", "cluster": item.cluster, **columns}
    path = measure(root, BASE, {"de": [row]}, task=task)
    (found,), why = examples(OutcomeFile(path), location)
    assert why == ""
    return item, found


def test_a_pair_has_both_texts(root: Path) -> None:
    item, found = shown(
        root, "demo_pairs", gold="neutral", prediction="entailment", correct=False,
        scores=[1.0, 0.0, 0.0],
    )  # fmt: skip
    assert found["texts"] == [item.first, item.second]
    assert (found["gold"], found["prediction"], found["score"]) == ("neutral", "entailment", 0)


def test_a_choice_has_its_prompt_and_choices(root: Path) -> None:
    item, found = shown(
        root, "demo_choices", gold="0", prediction="1", correct=False, scores=[0.0, 1.0]
    )
    assert (found["texts"], found["choices"]) == ([item.prompt], list(item.choices))


def test_a_sentence_has_its_words_and_a_line_of_tags(root: Path) -> None:
    item = (
        load(
            read_card("demo_tags"),
            "test",
            ["de"],
            DataLocation(None, root.parent / "c", offline=True),
        )
        .examples["de"]
        .items[0]
    )  # type: ignore[index]
    wrong = ["X"] * len(item.tags)
    _, found = shown(root, "demo_tags", gold=list(item.tags), prediction=wrong)
    assert found["texts"] == [" ".join(item.words)]
    assert found["gold"] == " ".join(item.tags)
    assert found["prediction"] == " ".join(wrong)


def test_a_sentence_without_spans_is_not_among_the_worst(root: Path) -> None:
    rows = [
        {"example_id": name, "lang": "de", "cluster": name, "gold": gold, "prediction": found}
        for name, gold, found in (
            ("right", ["B-PER"], ["B-PER"]),
            ("nothing", ["O"], ["O"]),
            ("invented", ["O"], ["B-PER"]),
            ("half", ["B-PER", "B-LOC"], ["B-PER", "O"]),
        )
    ]
    nowhere = DataLocation(None, root.parent / "none", offline=True)
    file = OutcomeFile(measure(root, BASE, {"de": rows}, task="panx"))
    found, _ = examples(file, nowhere)
    scores = {one["example_id"]: one["score"] for one in found}
    assert [*scores] == ["invented", "half", "right", "nothing"]
    assert scores == {"invented": 0, "half": pytest.approx(2 / 3), "right": 1, "nothing": 1}


def test_texts_are_of_the_data_that_was_measured_or_none(root: Path) -> None:
    card = read_card("demo_pairs")
    location = DataLocation(None, root.parent / "cache", offline=True)
    loaded = load(card, "test", ["de"], location)
    (name,) = loaded.files
    item: Any = loaded.examples["de"].items[0]  # type: ignore[index]
    row = {"example_id": item.id, "lang": "de", "cluster": item.cluster, "gold": "neutral",
           "prediction": "neutral", "correct": True, "scores": [0.0, 1.0, 0.0]}  # fmt: skip
    path = measure(root, BASE, {"de": [row]}, task="demo_pairs", data={name: "0" * 64})
    (found,), why = examples(OutcomeFile(path), location)
    assert "texts" not in found
    assert why == f"{name} is not the file that was measured: give the same data with --data"


def searched(root: Path) -> OutcomeFile:
    """Three queries: found first, found late, and not found by a search that was cut."""
    rows = [
        {
            "example_id": name, "lang": "de", "cluster": f"mewsli_x:{name}", "direction": "de-all",
            "ranks": ranks, "relevant": 1, "top_ids": [f"{name}{place}" for place in range(10)],
        }
        for name, ranks in (("Q1", [1]), ("Q2", []), ("Q3", [90]))
    ]  # fmt: skip
    return OutcomeFile(measure(root, BASE, {"de": rows}, task="mewsli_x"))


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ("score>=0", ["Q2", "Q3", "Q1"]),  # the worst first: the one that was not found at all
        ("rank>10", ["Q3"]),
        ("rank<=1e0", ["Q1"]),
        ("top_ids~q25", ["Q2"]),
        ("example_id!=Q2", ["Q3", "Q1"]),
        ("score<inf", ["Q2", "Q3", "Q1"]),
    ],
)
def test_a_condition_on_any_column_of_a_cut_search(
    root: Path, condition: str, chosen: list[str]
) -> None:
    nowhere = DataLocation(None, root.parent / "none", offline=True)
    found, _ = examples(searched(root), nowhere, conditions=[parse_condition(condition)])
    assert [one["example_id"] for one in found] == chosen


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("ranks>3", "an example has a list there"),
        ("top_ids=Q10", "an example has a list there"),
        ("score>=nan", "'nan' is not a number"),
        ("rank>abc", "'abc' is not a number"),
        ("f1<0.5", "unknown column 'f1'"),
    ],
)
def test_a_condition_that_nothing_can_meet(root: Path, condition: str, why: str) -> None:
    nowhere = DataLocation(None, root.parent / "none", offline=True)
    with pytest.raises(UsageError, match=re.escape(why)):
        examples(searched(root), nowhere, conditions=[parse_condition(condition)])


def test_a_score_is_compared_as_the_decimal_that_is_shown(root: Path) -> None:
    """Rows keep float32, in which 0.8 is a little more and 0.9 a little less."""
    rows = {"de": answers("de", [0.9, 0.8, 0.7])}
    file = OutcomeFile(measure(root, BASE, rows, task="xquad", layer=None))
    nowhere = DataLocation(None, root.parent / "none", offline=True)

    def chosen(condition: str) -> list[float]:
        return [one["f1"] for one in examples(file, nowhere, (), [parse_condition(condition)])[0]]

    assert chosen("f1<=0.8") == [0.7, 0.8]
    assert chosen("score>=0.9") == [0.9]
    assert chosen("f1=0.8") == [0.8]
