"""An invented XTREME: every task in its official layout with a few examples, and runs on it.

All texts are made up here. Models are stand-ins that are right often, not always: a sentence's
number is its meaning, and a hash of its text the noise.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.cards.catalogue import read_card
from harness.cards.task import TaskCard
from harness.data.examples import Loaded
from harness.data.load import DataLocation, load
from harness.inference.vector_store import text_key
from harness.kinds import KINDS
from harness.kinds.kind import UnitSettings
from harness.results.outcomes import OutcomeFile, outcome_file
from tests.metadata import metadata

# XTREME's languages of each task, and XTREME-R's Mewsli-X.
_CODES = {
    "tatoeba": "ar he vi id jv tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg ru ja ka ko"
    " th sw zh kk tr et fi hu",
    "bucc2018": "de fr ru zh",
    "xquad": "en es de el ru tr ar vi th zh hi",
    "mlqa": "en es de ar hi vi zh",
    "tydiqa": "en ar bn fi id ko ru sw te",
    "mewsli_x": "ar de en es fa ja pl ro ta tr uk",
}
LANGUAGES = {task: codes.split() for task, codes in _CODES.items()}
# Several with the same text: the sorted order has to keep the order of the file among them.
ENGLISH = [8, 3, 11, 3, 0, 7, 3, 10, 8, 2, 5, 9]
Scores = dict[str, dict[str, dict[str, float]]]  # task → unit → metric (en→xx) → [0, 1]
ANSWERS = {
    "en": "the red house, an owl",
    "es": "el perro de la casa «Uno»",
    "de": "ein Wagen des Königs (1871)",
    "ar": "البيت الكبير، والشمس",
    "hi": "लाल घर। 12",
    "vi": "những ngôi nhà của làng",
    "zh": "1998年的《红房子》",
    "th": "บ้านสีแดง the 7",
}


def lay_data(folder: Path, mlqa_pairs: Sequence[str] = ()) -> None:
    """Every task's official files. ``mlqa_pairs``: pairs of two languages besides the 7."""
    for lang in LANGUAGES["tatoeba"]:
        _lay_tatoeba(folder, lang)
    for lang in LANGUAGES["bucc2018"]:
        for part in ("dev", "test"):
            _lay_bucc(folder, lang, part)
    for task in ("xquad", "tydiqa"):
        for lang in LANGUAGES[task]:
            _lay(folder, task, lang, "questions", json.dumps(questions(task, lang, lang)))
    for unit in (*(f"{lang}-{lang}" for lang in LANGUAGES["mlqa"]), *mlqa_pairs):
        context, asked = unit.split("-")
        gold = json.dumps(questions("mlqa", context, asked))
        _lay(folder, "mlqa_cross", unit, "questions", gold)
    _lay_mewsli_x(folder)


def questions(task: str, context: str, asked: str) -> dict[str, Any]:
    """Gold in SQuAD's format: six questions on three passages."""
    answer = ANSWERS.get(context, f"the house of {context}, 12")
    paragraphs = []
    for number in range(3):
        text = f"{number} {answer} {number} end."
        second = f"{number} end"
        qas = [
            {
                "id": f"{task}-{number}-{index}",
                "question": f"{asked} {number} {index}?",
                "answers": [{"text": gold, "answer_start": text.index(gold)} for gold in accepted],
            }
            for index, accepted in enumerate(([answer], [second, answer]))
        ]
        paragraphs.append({"context": text, "qas": qas})
    return {"version": "1.1", "data": [{"title": "Houses", "paragraphs": paragraphs}]}


def run_task(
    card: TaskCard,
    languages: Sequence[str] | None,
    folder: Path | None,
    out: Path,
    split: str | None = None,
    **meta: Any,
) -> dict[str, dict[str, float]]:
    """One task's outcome file and scores. ``meta``: what differs from a usual run's metadata."""
    chosen = card.check_split(split)
    wanted = card.select(languages)
    loaded = load(card, chosen, wanted, DataLocation(folder, out / "cache", offline=True))
    units = [unit for unit in wanted if unit not in loaded.missing]
    file = outcome_file(
        out, "org__model", "0123456789ab", card.name, meta.get("signature", "0" * 8)
    )
    scores = {}
    for unit, rows in _rows(card, loaded, units, chosen, meta.get("limit")):
        file.write_part(unit, rows, _meta(card, unit, chosen, meta))
        scores[unit] = {
            score.metric: score.value
            for score in KINDS[card.kind].fold(rows, card.metrics, chosen)
            if not score.direction.endswith("-en") or card.kind == "span_qa"
        }
    file.merge(units)
    return scores


def run_all(folder: Path, out: Path, tasks: Sequence[str]) -> Scores:
    """Run the stand-ins on every task; the outcomes lie under ``out``. Returns all scores."""
    return {task: run_task(read_card(task), LANGUAGES.get(task), folder, out) for task in tasks}


def unfinished(file: OutcomeFile) -> None:
    """Turn a finished file back into one that has parts only."""
    meta = file.meta()
    rows = {unit: file.read(unit) for unit in meta["languages"]}
    file.path.unlink()
    for unit, table in rows.items():
        file.write_part(unit, table, meta | {"languages": [unit]})


def _rows(
    card: TaskCard, loaded: Loaded, units: Sequence[str], split: str, limit: int | None
) -> Iterator[tuple[str, Any]]:
    kind = KINDS[card.kind]
    settings = UnitSettings(split, limit, 1, card.scorer or "squad", tuple(card.labels))
    model: Any = Labeller()
    if kind.needs in ("encoder", "span"):
        model = Reader(loaded.examples) if kind.needs == "span" else Encoder()
    prepared = kind.prepare(settings, loaded.examples, model)
    for unit in units:
        yield unit, kind.run(settings, loaded.examples, unit, model, prepared)[0]


class Encoder:
    """Near the direction of the text's number, by a noise that the text decides."""

    def encode(self, texts: Sequence[str], **options: Any) -> npt.NDArray[np.float32]:
        rows = [_direction(_number(text)) + 1.1 * _direction(text) for text in texts]
        vectors = np.array(rows, dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    stored = encode  # in slices or whole, it is all in memory here

    def ids_keys(self, texts: Sequence[str], **options: Any) -> list[bytes]:
        return [text_key(text) for text in texts]


class Reader:
    """Gives the gold answer, or one of many things near it."""

    def __init__(self, examples: Mapping[str, Any]) -> None:
        self.gold = {
            (question.question, question.context): question.answers[0]
            for unit in examples.values()
            for question in unit.questions
        }

    def read(self, pairs: Sequence[tuple[str, str]], **options: Any) -> list[Any]:
        texts = [_near(self.gold[pair], "".join(pair)) for pair in pairs]
        return [SimpleNamespace(text=text, answered=bool(text)) for text in texts]


class Labeller:
    """Decides by a hash of the text."""

    def classify(
        self, pairs: Sequence[tuple[str, str]], labels: Sequence[str], **options: Any
    ) -> npt.NDArray[np.float32]:
        return np.array([_direction("".join(pair))[: len(labels)] for pair in pairs], np.float32)

    def choose(
        self, questions: Sequence[tuple[str, Sequence[str]]], **options: Any
    ) -> npt.NDArray[np.float32]:
        return np.array([_direction(prompt)[: len(own)] for prompt, own in questions], np.float32)

    def tag(
        self, sentences: Sequence[Sequence[str]], labels: Sequence[str], **options: Any
    ) -> list[list[str]]:
        return [[random.Random(word).choice(labels) for word in words] for words in sentences]


def _near(answer: str, seed: str) -> str:
    ways: list[Callable[[str], str]] = [
        lambda text: text,
        lambda text: f"\n{text}\t",
        lambda text: text.replace(" ", "\r\n"),
        lambda text: f"The {text.upper()}!",
        lambda text: text[: len(text) // 2],
        lambda text: f'{text} "and" \\more\u2028\x85',
        lambda text: "",
        lambda text: "12",
    ]
    return random.Random(seed).choice(ways)(answer)


def _number(text: str) -> str:
    found = re.search(r"\d+", text)
    return found[0] if found else text


def _direction(text: str) -> npt.NDArray[np.float64]:
    seed = int(sha256(text.encode()).hexdigest()[:8], 16)
    vector = np.random.default_rng(seed).normal(size=24)
    return vector / np.linalg.norm(vector)


def _meta(card: TaskCard, unit: str, split: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    given = {"model": "org/model", "split": split, "signature": "0" * 8, "timing": {}} | changes
    return metadata(card, [unit], **given)


def _lay(
    folder: Path, task: str, unit: str, role: str, text: str, split: str | None = None
) -> None:
    card = read_card(task)
    path = folder / card.fill(card.source.splits[split or card.split].files[role].path, unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _lay_tatoeba(folder: Path, lang: str) -> None:
    source = "".join(f"{lang} {number} {line}\n" for line, number in enumerate(ENGLISH))
    english = "".join(f"Sentence {number} \n" for number in ENGLISH)
    _lay(folder, "tatoeba", lang, "source", source)
    _lay(folder, "tatoeba", lang, "english", english)


def _lay_bucc(folder: Path, lang: str, split: str) -> None:
    number = {"dev": 100, "test": 200}[split]
    for side, code in (("source", lang), ("english", "en")):
        first = number + (0 if side == "source" else 6)
        lines = [f"{code}-{i:09d}\t{code} {i} {split}\n" for i in range(first, first + 20)]
        _lay(folder, "bucc2018", lang, side, "".join(lines), split)
    gold = "".join(f"{lang}-{i:09d}\ten-{i:09d}\n" for i in range(number + 6, number + 20))
    _lay(folder, "bucc2018", lang, "gold", gold, split)


def _lay_mewsli_x(folder: Path) -> None:
    candidates = [
        {
            "entity_id": f"Q{number}",
            "description": f"Entity {number}.",
            "description_language": "en",
            "sentence_spans": [{"start": 0, "end": len(f"Entity {number}.")}],
        }
        for number in range(40)
    ]
    articles = [_article(lang) for lang in LANGUAGES["mewsli_x"]]
    for role, records in (("candidates", candidates), ("mentions", articles)):
        _lay(folder, "mewsli_x", "en", role, "".join(json.dumps(one) + "\n" for one in records))


def _article(lang: str) -> dict[str, Any]:
    names = [f"{number} {lang}" for number in range(0, 40, 2)]
    text = "".join(f"We met {name}. " for name in names)
    starts = [text.index(f"We met {name}. ") for name in names]
    return {
        "context": {
            "language": lang,
            "text": text,
            "sentence_spans": [
                {"start": start, "end": start + len(f"We met {name}.")}
                for start, name in zip(starts, names, strict=True)
            ],
        },
        "mentions": [
            {
                "example_id": f"{lang}-{index}",
                "entity_id": f"Q{name.split()[0]}",
                "mention_span": {"start": start + 7, "end": start + 7 + len(name), "text": name},
            }
            for index, (start, name) in enumerate(zip(starts, names, strict=True))
        ],
    }
