"""The demo's own training data: inside the package, matched, and nothing that is scored."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cards.training import read_intermediate
from harness.data.load import DataLocation
from harness.training.data.examples import Span, Text
from harness.training.data.reading import read

NAMES = ("demo_text", "demo_qa_en", "demo_qa_multilingual")


@pytest.fixture
def location(tmp_path: Path) -> DataLocation:
    """A data folder without anything: the package's files are not looked for there."""
    return DataLocation(data=tmp_path, cache=tmp_path / "cache", offline=True)


@pytest.mark.parametrize("name", NAMES[1:])
def test_answers_are_at_their_offsets(name: str, location: DataLocation) -> None:
    found = read(read_intermediate(name), location)
    assert found.route == "package"
    assert list(found.files) == ["demo/training.json"]
    assert found.notes == ()
    assert len(found.examples) == 16 * 3
    for one in found.examples:
        assert isinstance(one, Span)
        assert one.start is not None
        assert one.context.startswith(one.answer, one.start)


def test_the_first_question_in_two_languages(location: DataLocation) -> None:
    first, *_ = read(read_intermediate("demo_qa_en"), location).examples
    assert isinstance(first, Span)
    assert (first.item, first.lang) == ("t01q1", "en")
    assert (first.question, first.answer) == ("When does the ferry leave?", "half past six")
    # "The ferry between Lindal and the island of Skor leaves every morning at half past six."
    assert first.start == 72


def test_both_train_on_the_same_questions(location: DataLocation) -> None:
    english, many = (read(read_intermediate(name), location) for name in NAMES[1:])
    assert [one.item for one in english.examples] == [one.item for one in many.examples]
    assert set(english.languages) == {"en"}
    counts = many.languages
    assert set(counts) == {"en", "de", "ru", "ar", "zh"}
    assert max(counts.values()) - min(counts.values()) <= 1


def test_texts_are_every_passage_in_every_language(location: DataLocation) -> None:
    found = read(read_intermediate("demo_text"), location)
    assert found.languages == dict.fromkeys(("en", "de", "es", "ru", "ar", "hi", "zh", "sw"), 16)
    assert all(isinstance(one, Text) for one in found.examples)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_evidence_of_nothing_and_contaminates_nothing(name: str) -> None:
    card = read_intermediate(name)
    assert card.stand_in
    assert not card.contaminates
