"""How much of a target occurs in training data: by hand, and beside a slow count."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.training.overlap import CHARACTERS, Counts, count, index, units, worth

ALPHABET = [f"w{number}" for number in range(13)]
RUN = " ".join(ALPHABET)  # 13 words
SIGNS = "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏閏餘"  # 26 characters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" …!? — 🙂️ ", []),
        ("The CAT’s mat.", ["the", "cat", "s", "mat"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("ﬁnd\u00adings", ["findings"]),
        ("e\u0301te\u0301 été", ["été", "été"]),
        ("snake_case 3.5 %", ["snake", "case", "3", "5"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("می‌خواهم", ["میخواهم"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("我 在2024年,在 Berlin。", ["我", "在", "2024", "年", "在", "berlin"]),
        ("ﾃｽﾄ です", ["テ", "ス", "ト", "で", "す"]),
        ("ที่นี่", list("ที่นี่")),
        ("𠀀葛󠄀", ["𠀀", "葛"]),
    ],
)
def test_units_of_a_text(text: str, expected: list[str]) -> None:
    assert units(text) == expected


def test_worked_by_hand() -> None:
    """Three questions on two passages, and a training set that holds parts of them.

    The first question is a training text but for case and punctuation. The second one's passage
    shares 13 words with a training text that goes on otherwise. The third one's passage shares 12,
    and its question stands in a longer training text, which is no equal text.
    """
    training = index(
        [
            "Who wrote it",
            f"Long ago {RUN} they said",
            f"{' '.join(ALPHABET[1:])} and no more",
            "Tell me: who came second? Nobody.",
        ]
    )
    first = ("WHO wrote it?", "A passage of its own.")
    second = ("Who painted it?", f"He found: {RUN}.")
    third = ("Who came second?", f"Other {' '.join(ALPHABET[1:])} words")
    assert count([first, second, third], training) == Counts(3, exact=1, run=1, either=2)
    assert count([first, second, third], training).share == 2 / 3
    assert count([(f"Who wrote it: {RUN}",)], training) == Counts(1, exact=0, run=1, either=1)
    both = (first[0], second[1])
    assert count([both, both], training) == Counts(2, exact=2, run=2, either=2)
    assert count([], training).share == 0.0


@pytest.mark.parametrize(
    ("training", "target", "shared"),
    [
        (RUN, f"before {RUN} after", True),
        (RUN, " ".join(ALPHABET[:12]), False),  # 12 words
        (RUN, " ".join([*ALPHABET[:6], "x", *ALPHABET[6:]]), False),  # not in a row
        (SIGNS, f"前{SIGNS}後", True),
        (SIGNS, f"前{SIGNS[:25]}後", False),  # 25 characters
        (SIGNS, "前" + " ".join(SIGNS), True),  # white space says nothing
        (f"{SIGNS[:24]}x", f"前{SIGNS[:24]} X!", True),  # 24 characters and a word
        (f"{SIGNS[:23]}x", f"前{SIGNS[:23]} X!", False),  # 25
        (f"{SIGNS[:25]}x", f"前{SIGNS[:25]} X!", True),  # 27: the last word goes beyond
        ("", "", False),
    ],
)
def test_where_a_run_begins(training: str, target: str, shared: bool) -> None:
    assert count([(target,)], index([training])).run == shared


WORD = st.sampled_from(["a", "b", "B", "天", "地", "ä", "a\u0308", "7", ",", "  ", "-", "\u200d"])
TEXT = st.lists(WORD, max_size=60).map(" ".join)


def slow(examples: Sequence[Sequence[str]], training: Sequence[str]) -> Counts:
    """The same by the words of the definition: every part of every text beside every other."""

    def parts(text: str) -> list[tuple[str, ...]]:
        found = units(text)
        return [
            tuple(found[start:stop])
            for start in range(len(found))
            for stop in range(start, len(found) + 1)
            if sum(1 if "天" in one or "地" in one else 2 for one in found[start:stop]) >= 26
        ]

    whole = {" ".join(units(text)) for text in training} - {""}
    runs = {part for text in training for part in parts(text)}
    exact = [any(" ".join(units(text)) in whole for text in texts) for texts in examples]
    run = [any(part in runs for text in texts for part in parts(text)) for texts in examples]
    either = [a or b for a, b in zip(exact, run, strict=True)]
    return Counts(len(examples), sum(exact), sum(run), sum(either))


@given(st.lists(st.lists(TEXT, max_size=2), max_size=3), st.lists(TEXT, max_size=3), st.data())
def test_counts_are_those_of_a_slow_count(
    examples: list[list[str]], training: list[str], data: st.DataObject
) -> None:
    copied = data.draw(st.sampled_from([text for texts in examples for text in texts] or [""]))
    cut = data.draw(st.integers(0, len(copied)))
    training = [*training, copied[cut:]]
    assert count(examples, index(training)) == slow(examples, training)


@given(TEXT)
def test_a_text_occurs_in_itself_however_it_is_written(text: str) -> None:
    found = units(text)
    written = unicodedata.normalize("NFD", text.upper())
    counts = count([(written,)], index([text]))
    assert counts.exact == bool(found)
    assert counts.run == (sum(map(worth, found)) >= CHARACTERS)


def squad(path: Path) -> list[tuple[str, str]]:
    """(question, passage) of every question of a file."""
    return [
        (question["question"], paragraph["context"])
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


def xnli(path: Path) -> list[tuple[str, str]]:
    """(premise, hypothesis) of every example of a file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row[0], row[1]) for row in csv.reader(file, delimiter="\t")]


def every(examples: Sequence[Sequence[str]]) -> list[str]:
    return [text for texts in examples for text in texts]


def test_xquad_is_in_squad_dev_in_english_alone(data_dir: Path) -> None:
    training = index(every(squad(data_dir / "squad/dev-v1.1.json")))
    english = count(squad(data_dir / "xquad/xquad.en.json"), training)
    assert english == Counts(1190, exact=1190, run=1190, either=1190)
    # Passages of titles that nobody translates: 28 of 1,190 questions are on them in German.
    german = count(squad(data_dir / "xquad/xquad.de.json"), training)
    assert german == Counts(1190, exact=0, run=28, either=28)
    chinese = count(squad(data_dir / "xquad/xquad.zh.json"), training)
    assert chinese == Counts(1190, exact=0, run=0, either=0)


def test_squad_train_shares_nothing_with_squad_dev(data_dir: Path) -> None:
    training = index(every(squad(data_dir / "squad/train-v1.1.du-test-part.json")))
    found = count(squad(data_dir / "squad/dev-v1.1.json"), training)
    assert (found.examples, found.share < 0.01) == (10570, True)


@pytest.mark.parametrize("lang", ["en", "sw", "th", "zh"])
def test_xnli_dev_shares_next_to_nothing_with_xnli_test(lang: str, data_dir: Path) -> None:
    dev, test = (xnli(data_dir / f"xnli/{split}-{lang}.tsv") for split in ("dev", "test"))
    found = count(test, index(every(dev)))
    assert found.examples == 5010
    assert found.share < 0.01
    equal = {text.strip() for text in every(dev)}  # an independent, rougher count
    assert found.exact >= sum(any(text.strip() in equal for text in texts) for texts in test)
    assert count(dev, index(every(dev))).exact == 2490


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("dev/dev-context-en-question-de", "all"),  # English passages
        ("dev/dev-context-de-question-en", "all"),  # English questions
        ("dev/dev-context-de-question-es", "few"),
        ("test-noanswers/test-context-de-question-es", "none"),
        ("test-noanswers/test-context-zh-question-vi", "none"),
    ],
)
def test_mlqa_dev_in_english_is_in_cross_pairs_with_english(
    pair: str, expected: str, data_dir: Path
) -> None:
    training = index(every(squad(data_dir / "mlqa/dev/dev-context-en-question-en.json")))
    share = count(squad(data_dir / f"mlqa/{pair}.json"), training).share
    assert {"all": share == 1, "few": 0 < share < 0.02, "none": share == 0}[expected]
