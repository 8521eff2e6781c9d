"""Sentences by rule."""

from __future__ import annotations

import pytest

from harness.training.data.splitting import sentence_at, sentence_spans


def cut(text: str) -> list[str]:
    return [text[begin:end] for begin, end in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Pi is 3.14 here. Next.", ["Pi is 3.14 here.", "Next."]),
        ("Dr. Weber met J. Smith. They left.", ["Dr. Weber met J. Smith.", "They left."]),
        ("Am 3. Mai kam er. Dann ging er.", ["Am 3. Mai kam er.", "Dann ging er."]),
        ("It was approx. two miles. Far.", ["It was approx. two miles.", "Far."]),
        ('He said "Go." Then he went.', ['He said "Go."', "Then he went."]),
        ("渡轮七点出发。他说：“好。”然后走了！", ["渡轮七点出发。", "他说：“好。”", "然后走了！"]),
        ("नाव चलती है। वह आया।", ["नाव चलती है।", "वह आया।"]),
        ("متى يغادر؟ في السابعة.", ["متى يغادر؟", "في السابعة."]),
        ("A title\nA sentence.", ["A title", "A sentence."]),
        ("no end", ["no end"]),
        ("  \n ", []),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


def test_spans_tile_all_but_white_space() -> None:
    text = " First one.  Second!\n\nThird 东西。第四？ "
    inside = "".join(cut(text))
    assert "".join(inside.split()) == "".join(text.split())


def test_the_sentence_of_an_answer() -> None:
    text = "The ferry left. It was seven. Nobody came."
    start = text.index("seven")
    assert sentence_at(text, start, start + 5) == "It was seven."
    # An answer over an end takes both sentences.
    start = text.index("left")
    assert sentence_at(text, start, start + 10) == "The ferry left. It was seven."
    # One at the first or last character.
    assert sentence_at(text, 0, 3) == "The ferry left."
    assert sentence_at(text, len(text) - 1, len(text)) == "Nobody came."
    # In white space there is none.
    assert sentence_at("a.   b.", 3, 3) == "a.   b."
