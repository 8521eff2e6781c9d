"""What `export` writes, scored by a plain re-implementation of XTREME's evaluate.py.

Written here after what the official script does (google-research/xtreme, evaluate.py with
evaluate_squad and evaluate_mlqa; utils_mewslix for Mewsli-X), not after our metrics: files by
their names, tsv lines compared as stripped text, QA answers by the two official normalisations.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cards.catalogue import read_card
from harness.data import layout
from harness.data.load import DataLocation
from harness.results.export import export
from harness.results.predictions import score_folder
from tests.mini_xtreme import LANGUAGES, Scores, lay_data, run_all

Plain = dict[str, dict[str, dict[str, float]]]  # task → language → metric → percent
CROSS = ["de-ar", "zh-en"]

# The official script, in plain words


def evaluate(predictions: Path, labels: Path) -> Plain:
    """Every language of every task whose folder is in both places; a missing file is an error."""
    return {
        task: {
            lang: SCORERS[task](
                predictions / task / f"test-{lang}.{suffix}",
                labels / task / f"test-{lang}.{suffix}",
                lang,
            )
            for lang in LANGUAGES["mewsli_x" if task == "mewslix" else task]
        }
        for task, suffix in SUFFIXES.items()
        if (predictions / task).is_dir() and (labels / task).is_dir()
    }


def stripped(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return [line.strip() for line in file]


def accuracy(predicted: Path, label: Path, lang: str) -> dict[str, float]:
    found, gold = stripped(predicted), stripped(label)
    assert len(found) == len(gold)
    return {"accuracy": 100 * sum(map(str.__eq__, found, gold)) / len(found)}


def pairs(predicted: Path, label: Path, lang: str) -> dict[str, float]:
    found, gold = ({tuple(line.split("\t")) for line in stripped(p)} for p in (predicted, label))
    right = len(found & gold)
    if right == 0:
        return {"f1": 0, "precision": 0, "recall": 0}
    precision, recall = right / len(found), right / len(gold)
    f1 = 2 * precision * recall / (precision + recall)
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}


def answers(normal: Callable[[str, str], str], predicted: Path, label: Path, lang: str) -> Any:
    with predicted.open(encoding="ascii") as file:  # whatever the machine's encoding is
        found = json.load(file)
    with label.open(encoding="utf-8") as file:
        gold = json.load(file)["data"]
    exact = overlap = total = 0.0
    for question in (q for a in gold for p in a["paragraphs"] for q in p["qas"]):
        total += 1
        if question["id"] not in found:
            continue
        given = normal(found[question["id"]], lang)
        accepted = [normal(answer["text"], lang) for answer in question["answers"]]
        exact += max(given == one for one in accepted)
        overlap += max(word_f1(given.split(), one.split()) for one in accepted)
    return {"exact_match": 100 * exact / total, "f1": 100 * overlap / total}


def word_f1(found: list[str], gold: list[str]) -> float:
    same = sum((Counter(found) & Counter(gold)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(found), same / len(gold)
    return 2 * precision * recall / (precision + recall)


def squad_normal(text: str, lang: str) -> str:
    text = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


MLQA_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "ar": r"\sال^|ال",
}


def mlqa_normal(text: str, lang: str) -> str:
    text = "".join(
        char
        for char in text.lower()
        if char not in string.punctuation and not unicodedata.category(char).startswith("P")
    )
    if lang in MLQA_ARTICLES:
        text = re.sub(MLQA_ARTICLES[lang], " ", text)
    if lang == "zh":
        text = "".join(f" {char} " if "\u4e00" <= char <= "\u9fa5" else char for char in text)
    return " ".join(text.split())


def reciprocal_ranks(predicted: Path, label: Path, lang: str) -> dict[str, float]:
    found, gold = (json.loads(path.read_text(encoding="utf-8")) for path in (predicted, label))
    total = 0.0
    for identifier, entities in gold.items():
        top = found.get(identifier, [])[:20]
        total += 1 / (top.index(entities[0]) + 1) if entities[0] in top else 0.0
    return {"map@20": 100 * total / len(gold)}


SCORERS: dict[str, Callable[[Path, Path, str], dict[str, float]]] = {
    "tatoeba": accuracy,
    "bucc2018": pairs,
    "xquad": lambda *files: answers(squad_normal, *files),
    "mlqa": lambda *files: answers(mlqa_normal, *files),
    "tydiqa": lambda *files: answers(squad_normal, *files),
    "mewslix": reciprocal_ranks,
}
SUFFIXES = {
    "tatoeba": "tsv", "bucc2018": "tsv", "xquad": "json", "mlqa": "json", "tydiqa": "json",
    "mewslix": "json",
}  # fmt: skip


# The official label folder


def lay_labels(folder: Path, data: Path) -> None:
    """Labels of the test split, made from the official files as XTREME makes them."""

    def lay(task: str, lang: str, text: str) -> None:
        path = folder / task / f"test-{lang}.{SUFFIXES[task]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    for lang in LANGUAGES["tatoeba"]:
        code = read_card("tatoeba").code(lang)
        english = stripped(data / f"tatoeba/tatoeba.{code}-eng.eng")
        # The processed file has (text, line) sorted by text; line i still translates line i.
        processed = sorted(zip(english, range(len(english)), strict=True), key=lambda both: both[0])
        lay("tatoeba", lang, "".join(f"{line}\n" for _, line in processed))
    for lang in LANGUAGES["bucc2018"]:
        lay("bucc2018", lang, (data / f"bucc2018/{lang}-en.test.gold").read_text())
    for lang in LANGUAGES["xquad"]:
        lay("xquad", lang, (data / f"xquad/xquad.{lang}.json").read_text())
    for lang in LANGUAGES["mlqa"]:
        name = f"mlqa/test/test-context-{lang}-question-{lang}.json"
        lay("mlqa", lang, (data / name).read_text())
    for lang in LANGUAGES["tydiqa"]:
        lay("tydiqa", lang, (data / f"tydiqa_goldp/dev/tydiqa.goldp.{lang}.dev.json").read_text())
    for line in (data / "mewsli_x/wikinews_mentions-test.jsonl").read_text().splitlines():
        article = json.loads(line)
        gold = {one["example_id"]: [one["entity_id"]] for one in article["mentions"]}
        lay("mewslix", article["context"]["language"], json.dumps(gold))


# The comparison

METRICS = {
    "tatoeba": ["accuracy"],
    "bucc2018": ["f1", "precision", "recall"],
    "xquad": ["exact_match", "f1"],
    "mlqa": ["exact_match", "f1"],
    "tydiqa": ["exact_match", "f1"],
    "mewsli_x": ["map@20"],
}


def names(task: str) -> str:
    return "mewslix" if task == "mewsli_x" else task


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scores]:
    """A folder with data/, run/, exported/ and labels/, and the run's own scores."""
    folder = tmp_path_factory.mktemp("xtreme")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "read_checksums", dict)  # the files are invented
        lay_data(folder / "data", mlqa_pairs=CROSS)
        scores = run_all(folder / "data", folder / "run", [*METRICS, "mlqa_cross"])
        export(
            folder / "run",
            folder / "exported",
            location=DataLocation(folder / "data", folder / "cache"),
        )
        lay_labels(folder / "labels", folder / "data")
    return folder, scores


@pytest.fixture(autouse=True)
def _no_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "read_checksums", dict)


@pytest.mark.parametrize("task", METRICS)
def test_the_official_script_gives_the_scores_of_the_run(
    world: tuple[Path, Scores], task: str
) -> None:
    folder, scores = world
    official = evaluate(folder / "exported", folder / "labels")[names(task)]
    assert set(official) == set(scores[task])
    seen = set()
    for lang, values in official.items():
        for metric in METRICS[task]:
            # Outcomes keep QA scores as float32.
            assert values[metric] == pytest.approx(100 * scores[task][lang][metric], abs=1e-5)
            seen.add(round(values[metric], 3))
    assert len(seen) > 3, "the stand-ins are meant to score differently by language"


@pytest.mark.parametrize("task", METRICS)
def test_score_gives_what_the_official_script_gives(world: tuple[Path, Scores], task: str) -> None:
    folder, _ = world
    official = evaluate(folder / "exported", folder / "labels")[names(task)]
    location = DataLocation(folder / "data", folder / "cache")
    ours = score_folder(folder / "exported", split=None, location=location).values[task]
    assert set(ours) == set(official)
    for lang, values in official.items():
        chosen = {metric: ours[lang][metric] for metric in METRICS[task]}
        assert chosen == pytest.approx(values, abs=1e-9)


def test_equal_english_sentences_keep_their_order(world: tuple[Path, Scores]) -> None:
    folder, scores = world
    exported = stripped(folder / "exported/tatoeba/test-de.tsv")
    labels = stripped(folder / "labels/tatoeba/test-de.tsv")
    assert labels == ["4", "7", "2", "9", "1", "3", "6", "10", "5", "0", "8", "11"]
    # All sentences numbered 3 share a query, so that one of the three lines can be right.
    assert len(set(exported[4:7])) == 1
    assert 0 < scores["tatoeba"]["de"]["accuracy"] < 1


def test_answers_keep_line_ends_and_tabs(world: tuple[Path, Scores]) -> None:
    folder, _ = world
    texts = [
        text
        for path in (folder / "exported/xquad").iterdir()
        for text in json.loads(path.read_text(encoding="ascii")).values()
    ]
    assert any(text.startswith("\n") and text.endswith("\t") for text in texts)
    assert any("\r\n" in text for text in texts)
    assert any(text.endswith("\u2028\x85") for text in texts)
    assert "" in texts


def test_cross_pairs_lie_apart_and_score_by_the_context(world: tuple[Path, Scores]) -> None:
    folder, scores = world
    found = {path.name for path in (folder / "exported/mlqa_cross").iterdir()}
    assert found == {f"test-{pair}.json" for pair in CROSS}
    assert {path.name for path in (folder / "exported/mlqa").iterdir()} == {
        f"test-{lang}.json" for lang in LANGUAGES["mlqa"]
    }
    location = DataLocation(folder / "data", folder / "cache")
    ours = score_folder(folder / "exported", split=None, location=location)
    for pair in CROSS:
        values = ours.values["mlqa_cross"][pair]
        assert values["f1"] == pytest.approx(100 * scores["mlqa_cross"][pair]["f1"], abs=1e-5)
        label = folder / f"data/mlqa/test/test-context-{pair[:2]}-question-{pair[3:]}.json"
        plain = answers(
            mlqa_normal, folder / f"exported/mlqa_cross/test-{pair}.json", label, pair[:2]
        )
        assert values == pytest.approx(plain, abs=1e-9)


def test_a_gold_entity_below_the_stored_ten_keeps_its_rank(world: tuple[Path, Scores]) -> None:
    folder, _ = world
    rankings = [
        (identifier, ranked)
        for path in (folder / "exported/mewslix").iterdir()
        for identifier, ranked in json.loads(path.read_text()).items()
    ]
    longer = [ranked for _, ranked in rankings if len(ranked) > 10]
    assert longer
    for ranked in longer:
        assert len(ranked) <= 20
        assert ranked[10:-1] == ["?"] * (len(ranked) - 11)
        assert ranked[-1].startswith("Q")
        assert ranked[-1] not in ranked[:10]
