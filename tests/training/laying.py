"""Tiny files of any intermediate task in the layout and columns of its card, made up here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.cards.training import IntermediateCard, TrainingFile

SENTENCES: Mapping[str, Sequence[str]] = {
    "en": (
        "The ferry to the island leaves at seven.",
        "My sister planted three apple trees.",
        "The bridge was closed in the winter of 1962.",
        "Two owls live in the tower of the church.",
        "Bread is baked before the town wakes up.",
        "The teacher keeps bees behind the school.",
    ),
    "de": (
        "Die Fähre zur Insel fährt um sieben ab.",
        "Meine Schwester hat drei Apfelbäume gepflanzt.",
        "Die Brücke war im Winter 1962 gesperrt.",
        "Zwei Eulen wohnen im Turm der Kirche.",
        "Brot wird gebacken, bevor die Stadt aufwacht.",
        "Der Lehrer hält Bienen hinter der Schule.",
    ),
    "zh": (
        "去岛上的渡轮七点出发。",
        "我姐姐种了三棵苹果树。",
        "那座桥在1962年冬天关闭了。",
        "两只猫头鹰住在教堂的塔里。",
        "面包在小镇醒来之前就烤好了。",
        "老师在学校后面养蜜蜂。",
    ),
}
# A word of each English, German and Chinese sentence, as an answer.
ANSWERS: Mapping[str, Sequence[str]] = {
    "en": ("seven", "three", "1962", "owls", "Bread", "bees"),
    "de": ("sieben", "drei", "1962", "Eulen", "Brot", "Bienen"),
    "zh": ("七点", "三棵", "1962", "猫头鹰", "面包", "蜜蜂"),
}


def sentences(lang: str) -> Sequence[str]:
    """Six sentences; languages that have none here get the English ones, marked."""
    return SENTENCES.get(lang) or [f"{lang}: {sentence}" for sentence in SENTENCES["en"]]


def squad(lang: str, *, prefix: str = "", unanswerable: bool = False) -> dict[str, Any]:
    """Three paragraphs of two sentences and two questions, in SQuAD's format."""
    texts = sentences(lang)
    answers = ANSWERS.get(lang, ANSWERS["en"])
    paragraphs = []
    for number in range(3):
        context = " ".join(texts[2 * number : 2 * number + 2])
        qas = [
            {
                "id": f"{prefix}q{at}",
                "question": f"{lang} {at}?",
                "answers": [{"text": answers[at], "answer_start": context.index(answers[at])}],
            }
            for at in (2 * number, 2 * number + 1)
        ]
        if unanswerable and number == 2:
            qas[-1]["answers"] = []
        paragraphs.append({"context": context, "qas": qas})
    return {"version": "1.1", "data": [{"title": "Town", "paragraphs": paragraphs}]}


def mention_pair(sentence: str) -> dict[str, Any]:
    """Mewsli-X's training pair: the sentence's first word is the mention."""
    word = sentence.split()[0]
    whole = [{"start": 0, "end": len(sentence)}]
    span = {"start": 0, "end": len(word), "text": word}
    return {
        "contextual_mention": {
            "context": {"language": "en", "text": sentence, "sentence_spans": whole},
            "mention": {"example_id": "m", "entity_id": "Q1", "mention_span": span},
        },
        "entity": {
            "entity_id": "Q1",
            "description": f"{word} is a word.",
            "description_language": "en",
            "sentence_spans": [{"start": 0, "end": len(word) + 11}],
        },
    }


def lay(card: IntermediateCard, folder: Path) -> None:
    """Every file of a card."""
    for file in card.source.splits[card.split].files.values():
        for lang in card.languages:
            path = folder / card.fill(file.path, lang)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_text(card, file, lang, path.suffix), encoding="utf-8", newline="")


def _text(card: IntermediateCard, file: TrainingFile, lang: str, suffix: str) -> str:
    texts = sentences(lang)
    if card.source.format in ("squad", "tydiqa"):
        return json.dumps(squad(lang, unanswerable=card.unanswerable))
    if card.source.format == "mention_pairs":
        return "".join(json.dumps(mention_pair(text)) + "\n" for text in texts)
    if card.source.format == "conll":
        upper, lower = card.labels[:2] or ("N", "X/N")
        return "\n\n".join(
            "\n".join(f"{word}\t{upper if word[0].isupper() else lower}" for word in text.split())
            for text in texts
        )
    if card.source.format == "copa":
        return "".join(
            json.dumps(
                {
                    "premise": text,
                    "choice1": "An owl.",
                    "choice2": "A red house.",
                    "question": "cause",
                    "label": number % 2,
                    "idx": number,
                }
            )
            + "\n"
            for number, text in enumerate(texts)
        )
    if card.source.format in ("lines", "parallel_lines"):
        return "\n".join(texts) + "\n"
    return _table(
        [_record(card, file, texts, number) for number in range(len(texts))],
        suffix,
        header=file.header,
        quoted=file.quoted,
    )


def _record(
    card: IntermediateCard, file: TrainingFile, texts: Sequence[str], number: int
) -> dict[str, Any]:
    """One row with what the card's columns ask for, at the places they ask for it."""
    values: dict[str, Any] = {
        "first": texts[number],
        "second": texts[(number + 1) % len(texts)],
        "text": texts[number],
        "prompt": texts[number],
        "texts": [texts[number], texts[(number + 1) % len(texts)]],
        "choices": [f"{texts[(number + at) % len(texts)]} {at}" for at in range(5)],
        "label": _label(card, number),
    }
    record: dict[str, Any] = {}
    for name, paths in file.columns.items():
        value = values[name]
        if isinstance(paths, str):
            _put(record, paths.split("."), value)
            continue
        for at, path in enumerate(paths):
            _put(record, path.split("."), value[at] if isinstance(value, list) else value)
    return record


def _label(card: IntermediateCard, number: int) -> str:
    names = list(card.label_names) or card.labels or ["0", "1", "2", "3"]
    return names[number % len(names)]


def _put(record: dict[str, Any], path: Sequence[str], value: Any) -> None:
    if len(path) == 1:
        record[path[0]] = value
    elif path[1] == "*":
        record[path[0]] = [{path[2]: one} for one in value]
    else:
        _put(record.setdefault(path[0], {}), path[1:], value)


def _table(records: list[dict[str, Any]], suffix: str, *, header: bool, quoted: bool) -> str:
    if suffix == ".jsonl":
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter="," if suffix == ".csv" else "\t",
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        quotechar='"' if quoted else None,
    )
    names = list(records[0]) if header else sorted(records[0], key=int)
    if header:
        writer.writerow(names)
    writer.writerows([record[name] for name in names] for record in records)
    return text.getvalue()
