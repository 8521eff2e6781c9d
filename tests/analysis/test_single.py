"""Single examples with their texts, for kinds whose rows hold labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.analysis.single import Example, examples
from harness.cards.catalogue import read_card
from harness.data.layout import DataLocation
from harness.data.load import load
from harness.results.outcomes import OutcomeFile
from tests.board.boards import BASE, measure


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
