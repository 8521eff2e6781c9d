"""The demo set is our own writing: these tests keep it parallel, complete and findable."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

DEMO = Path(__file__).resolve().parents[2] / "tasks" / "demo"
LANGUAGES = ("en", "de", "es", "ru", "ar", "hi", "zh", "sw")
PAIRS = ("de-en", "ru-en", "zh-en")
SPLITS = {"dev": (40, 16), "test": (20, 9)}
#: First word of the Unicode names of a script's letters.
SCRIPTS = {
    "en": "LATIN",
    "de": "LATIN",
    "es": "LATIN",
    "ru": "CYRILLIC",
    "ar": "ARABIC",
    "hi": "DEVANAGARI",
    "zh": "CJK",
    "sw": "LATIN",
}


def script_of(text: str) -> tuple[str, float]:
    """Most frequent script among the letters of `text`, and its share in [0, 1]."""
    counts = Counter(unicodedata.name(char).split()[0] for char in text if char.isalpha())
    script, count = counts.most_common(1)[0]
    return script, count / counts.total()


def is_clean(text: str) -> bool:
    """No white space at the ends, none doubled, composed form, no invisible characters."""
    return (
        text == " ".join(text.split())
        and text == unicodedata.normalize("NFC", text)
        and not any(unicodedata.category(char) in {"Cc", "Cf", "Co", "Cn"} for char in text)
    )


def context_of(sentences: list[str], language: str) -> str:
    """The passage as one string: sentences with one space between, none in Chinese."""
    return ("" if language == "zh" else " ").join(sentences)


@pytest.fixture(scope="module")
def bitext() -> dict[str, list[str]]:
    lines = (DEMO / "bitext.tsv").read_text(encoding="utf-8").splitlines()
    header, *rows = (line.split("\t") for line in lines)
    assert header == ["id", *LANGUAGES]
    assert {len(row) for row in rows} == {len(header)}
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def read_passages(name: str) -> list[dict[str, Any]]:
    data = json.loads((DEMO / f"{name}.json").read_text(encoding="utf-8"))
    assert data["version"] == 1
    found: list[dict[str, Any]] = data["passages"]
    return found


@pytest.fixture(scope="module", params=["passages", "training"])
def passages(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Those that are scored, and those that are trained on."""
    return read_passages(request.param)


def texts_of(passages: list[dict[str, Any]]) -> set[str]:
    """Every sentence and every question."""
    sentences = {text for p in passages for texts in p["texts"].values() for text in texts}
    return sentences | {
        question[language]["question"]
        for passage in passages
        for question in passage["questions"]
        for language in LANGUAGES
    }


@pytest.fixture(scope="module")
def mining() -> dict[str, dict[str, dict[str, Any]]]:
    data = json.loads((DEMO / "mining.json").read_text(encoding="utf-8"))
    assert data["version"] == 1
    found: dict[str, dict[str, dict[str, Any]]] = data["pairs"]
    return found


def test_files_stay_small_and_end_lines_as_on_unix() -> None:
    files = sorted(path for path in DEMO.iterdir() if path.is_file())
    assert [path.name for path in files] == [
        "bitext.tsv",
        *("choices.de.jsonl", "choices.en.jsonl", "choices.train.en.jsonl"),
        "mining.json",
        *("pairs.de.tsv", "pairs.en.tsv", "pairs.train.en.tsv"),
        "passages.json",
        *("tags.de.tsv", "tags.en.tsv", "tags.train.en.tsv"),
        "training.json",
    ]
    assert sum(path.stat().st_size for path in files) < 400_000
    for path in files:
        raw = path.read_bytes()
        assert b"\r" not in raw
        assert raw.endswith(b"\n")


class TestBitext:
    def test_ids_count_up(self, bitext: dict[str, list[str]]) -> None:
        assert bitext["id"] == [f"s{number:03d}" for number in range(1, 61)]

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_sentences_are_clean_unique_and_in_their_script(
        self, bitext: dict[str, list[str]], language: str
    ) -> None:
        sentences = bitext[language]
        assert [text for text in sentences if not is_clean(text)] == []
        assert len(set(sentences)) == len(sentences)
        for text in sentences:
            script, share = script_of(text)
            assert script == SCRIPTS[language], text
            assert share > 0.9, text
            # A danda is "Po" too, as are the full-width and the Arabic marks.
            assert unicodedata.category(text[-1]) == "Po", text

    def test_no_sentence_is_left_untranslated(self, bitext: dict[str, list[str]]) -> None:
        for row in zip(*(bitext[language] for language in LANGUAGES), strict=True):
            assert len(set(row)) == len(LANGUAGES)


class TestPassages:
    def test_ids_and_languages_are_complete(self, passages: list[dict[str, Any]]) -> None:
        letter = passages[0]["id"][0]
        count = {"p": 12, "t": 16}[letter]
        assert [p["id"] for p in passages] == [
            f"{letter}{number:02d}" for number in range(1, count + 1)
        ]
        for passage in passages:
            assert tuple(passage["texts"]) == LANGUAGES
            ids = [question["id"] for question in passage["questions"]]
            assert ids == [f"{passage['id']}q{number}" for number in (1, 2, 3)]
            for question in passage["questions"]:
                assert tuple(question) == ("id", *LANGUAGES)

    def test_passages_are_parallel_sentence_by_sentence(
        self, passages: list[dict[str, Any]]
    ) -> None:
        for passage in passages:
            lengths = {len(sentences) for sentences in passage["texts"].values()}
            assert len(lengths) == 1, passage["id"]
            assert 3 <= lengths.pop() <= 5
            for question in passage["questions"]:
                places = {question[language]["sentence"] for language in LANGUAGES}
                assert len(places) == 1, question["id"]

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_sentences_and_questions_are_clean_unique_and_in_their_script(
        self, passages: list[dict[str, Any]], language: str
    ) -> None:
        sentences = [text for p in passages for text in p["texts"][language]]
        questions = [q[language]["question"] for p in passages for q in p["questions"]]
        for texts in (sentences, questions):
            assert len(set(texts)) == len(texts)
            assert [text for text in texts if not is_clean(text)] == []
            for text in texts:
                script, share = script_of(text)
                assert script == SCRIPTS[language], text
                assert share > 0.9, text

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_answers_lie_once_in_the_passage_and_in_their_sentence(
        self, passages: list[dict[str, Any]], language: str
    ) -> None:
        for passage in passages:
            sentences = passage["texts"][language]
            context = context_of(sentences, language)
            separator = 0 if language == "zh" else 1
            for question in passage["questions"]:
                answer = question[language]["answer"]
                index = question[language]["sentence"]
                assert context.count(answer) == 1, (question["id"], answer)
                assert answer in sentences[index], (question["id"], answer)
                begin = sum(len(text) + separator for text in sentences[:index])
                start = context.index(answer)
                assert begin <= start
                assert start + len(answer) <= begin + len(sentences[index])


class TestMining:
    def test_pairs_splits_and_sizes(self, mining: dict[str, dict[str, dict[str, Any]]]) -> None:
        assert tuple(mining) == PAIRS
        for pair, splits in mining.items():
            assert tuple(splits) == tuple(SPLITS), pair
            for split, (sentences, gold) in SPLITS.items():
                assert len(splits[split]["source"]) == sentences
                assert len(splits[split]["target"]) == sentences
                assert len(splits[split]["gold"]) == gold

    @pytest.mark.parametrize("pair", PAIRS)
    def test_ids_count_up_and_gold_is_one_to_one(
        self, mining: dict[str, dict[str, dict[str, Any]]], pair: str
    ) -> None:
        for side, language in (("source", pair[:2]), ("target", "en")):
            ids = [item["id"] for split in SPLITS for item in mining[pair][split][side]]
            assert ids == [f"{language}-{number:03d}" for number in range(1, len(ids) + 1)]
        for split in SPLITS:
            data = mining[pair][split]
            sources, targets = zip(*data["gold"], strict=True)
            assert len(set(sources)) == len(sources)
            assert len(set(targets)) == len(targets)
            assert set(sources) < {item["id"] for item in data["source"]}
            assert set(targets) < {item["id"] for item in data["target"]}

    @pytest.mark.parametrize("pair", PAIRS)
    def test_sentences_are_clean_unique_and_in_their_script(
        self, mining: dict[str, dict[str, dict[str, Any]]], pair: str
    ) -> None:
        for side, language in (("source", pair[:2]), ("target", "en")):
            texts = [item["text"] for split in SPLITS for item in mining[pair][split][side]]
            assert len(set(texts)) == len(texts)
            assert [text for text in texts if not is_clean(text)] == []
            for text in texts:
                assert script_of(text)[0] == SCRIPTS[language], text

    def test_a_sentence_has_one_translation_over_all_pairs(
        self, mining: dict[str, dict[str, dict[str, Any]]]
    ) -> None:
        translations: dict[tuple[str, str], set[str]] = {}
        for pair, splits in mining.items():
            for data in splits.values():
                source = {item["id"]: item["text"] for item in data["source"]}
                target = {item["id"]: item["text"] for item in data["target"]}
                for left, right in data["gold"]:
                    translations.setdefault((pair, target[right]), set()).add(source[left])
        assert len(translations) == 75
        assert {len(found) for found in translations.values()} == {1}

    def test_nothing_is_shared_with_the_other_demo_files(
        self,
        mining: dict[str, dict[str, dict[str, Any]]],
        bitext: dict[str, list[str]],
    ) -> None:
        paired = {text for language in LANGUAGES for text in bitext[language]}
        mined = {
            item["text"]
            for splits in mining.values()
            for data in splits.values()
            for side in ("source", "target")
            for item in data[side]
        }
        groups = [paired, mined, *(texts_of(read_passages(n)) for n in ("passages", "training"))]
        for one, other in combinations(groups, 2):
            assert one & other == set()


def test_labelled_files_are_parallel_and_nothing_is_trained_on_that_is_measured() -> None:
    def lines(name: str) -> list[str]:
        return (DEMO / name).read_text(encoding="utf-8").splitlines()

    def words(name: str) -> list[str]:
        sentences = "\n".join(lines(name)).split("\n\n")
        return [" ".join(row.split("\t")[0] for row in one.split("\n")) for one in sentences]

    def column(name: str, number: int) -> list[str]:
        return [line.split("\t")[number] for line in lines(name)]

    def dilemmas(name: str, *keys: str) -> list[list[Any]]:
        return [[json.loads(line)[key] for key in keys] for line in lines(name)]

    assert column("pairs.en.tsv", 2) == column("pairs.de.tsv", 2)
    same = ("question", "label", "idx")
    assert dilemmas("choices.en.jsonl", *same) == dilemmas("choices.de.jsonl", *same)
    assert column_of_tags("en") == column_of_tags("de")
    assert not {*column("pairs.en.tsv", 0)} & {*column("pairs.train.en.tsv", 0)}
    assert not {*words("tags.en.tsv")} & {*words("tags.train.en.tsv")}
    measured, trained = (
        {text for (text,) in dilemmas(f"choices.{name}.jsonl", "premise")}
        for name in ("en", "train.en")
    )
    assert not measured & trained


def column_of_tags(lang: str) -> list[str]:
    """The tags of every word, with the ends of sentences."""
    text = (DEMO / f"tags.{lang}.tsv").read_text(encoding="utf-8")
    return [line.partition("\t")[2] for line in text.splitlines()]
