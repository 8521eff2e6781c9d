"""Counts which examples of the targets occur in training data, for targets whose data is at hand.

The counts are kept in the cache folder, under the checksums of the training texts and of the
target's files and card.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.cards.catalogue import card_names, read_card
from harness.cards.task import TaskCard
from harness.data.examples import Bitext, Mining, QuestionSet, Retrieval
from harness.data.layout import DataLocation
from harness.data.load import fetch, load
from harness.errors import HarnessError
from harness.io.files import write_whole
from harness.training.data.examples import (
    Choice,
    Classified,
    Example,
    Matched,
    Span,
    Tagged,
    Text,
    TrainingSet,
)
from harness.training.overlap import VERSION, Counts, Index, count, index

FOLDER = "overlap"  # the folder's name in the cache

Texts = Sequence[str]
ByLanguage = Mapping[str, Counts]
Measured = Mapping[str, Mapping[str, ByLanguage]]  # target → split → language

# The texts of an example that the model sees in training. An answer is a part of its passage.
TRAINED: Mapping[type[Example], Callable[[Any], Texts]] = {
    Span: lambda one: (one.question, one.context),
    Classified: lambda one: (one.first,) if one.second is None else (one.first, one.second),
    Choice: lambda one: (one.prompt, *one.choices),
    Tagged: lambda one: (" ".join(one.words),),
    Matched: lambda one: (one.query, one.text),
    Text: lambda one: (one.text,),
}


def _pairs(examples: Mapping[str, Bitext], unit: str, split: str) -> list[Texts]:
    """Return both sentences of every pair."""
    return list(zip(examples[unit].source, examples[unit].english, strict=True))


def _gold(examples: Mapping[str, Mapping[str, Mining]], unit: str, split: str) -> list[Texts]:
    """Return both sentences of every gold pair; sentences without a partner are no examples."""
    corpora = examples[unit][split]
    return [(corpora.source[a], corpora.english[b]) for a, b in sorted(corpora.gold)]


def _queries(examples: Retrieval, unit: str, split: str) -> list[Texts]:
    """Return every query, with its relevant candidates in its own language."""
    return [
        (
            query.text,
            *(
                examples.candidates[place]
                for place in query.relevant
                if examples.candidate_langs[place] == unit
            ),
        )
        for query in examples.queries[unit]
    ]


def _questions(examples: Mapping[str, QuestionSet], unit: str, split: str) -> list[Texts]:
    """Return every question, with its passage."""
    return [(one.question, one.context) for one in examples[unit].questions]


def _compared(examples: Mapping[str, Any], unit: str, split: str) -> list[Texts]:
    """Return both texts of every example."""
    return [(one.first, one.second) for one in examples[unit].items]


def _prompts(examples: Mapping[str, Any], unit: str, split: str) -> list[Texts]:
    """Return every prompt; the choices are too short for a comparison to mean anything."""
    return [(one.prompt,) for one in examples[unit].items]


def _sentences(examples: Mapping[str, Any], unit: str, split: str) -> list[Texts]:
    """Return every sentence, with blanks between its words."""
    return [(" ".join(one.words),) for one in examples[unit].items]


# Kind → the function that returns the texts of each example of a language. The examples are those
# that the scores are means over.
TARGET: Mapping[str, Callable[[Any, str, str], list[Texts]]] = {
    "bitext": _pairs,
    "mining": _gold,
    "passages": _queries,
    "span_qa": _questions,
    "classification": _compared,
    "multiple_choice": _prompts,
    "tagging": _sentences,
}


def measure(
    sets: Iterable[TrainingSet],
    location: DataLocation,
    say: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Return target → split → language → how many examples occur in the training sets together.

    All splits of all targets are counted whose data lies in the data folder, or in the cache where
    no folder is given. Nothing is downloaded, and missing data is left out. Data that cannot be
    read is left out too, with a message to ``say``. The demo's targets are counted only where the
    demo's data is trained on.
    """
    sets = list(sets)
    texts = sorted(
        {
            text
            for one in sets
            for example in one.examples
            for text in TRAINED[type(example)](example)
        }
    )
    digest = sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")

    @cache
    def training() -> Index:
        return index(texts)

    demo = any(one.route == "package" for one in sets)
    found: dict[str, dict[str, ByLanguage]] = {}
    for name in card_names():
        card = read_card(name)
        if card.source.package and not demo:
            continue
        for split in card.source.splits:
            try:
                counted = _of_target(
                    card, split, digest.hexdigest(), training, replace(location, offline=True)
                )
            except HarnessError as error:
                say(f"the overlap with {name} ({split}) is not measured: {error}")
                continue
            if counted:
                found.setdefault(name, {})[split] = counted
    return found


def as_record(measured: Measured) -> dict[str, Any]:
    """Return the counts and shares as the record of a training has them."""
    return {
        target: {
            split: {
                lang: asdict(one) | {"share": round(one.share, 6)} for lang, one in counts.items()
            }
            for split, counts in splits.items()
        }
        for target, splits in measured.items()
    }


def shares(measured: Measured) -> dict[str, dict[str, dict[str, float]]]:
    """Return target → split → language → share, as a submission has them: shares above zero."""
    return {
        target: {
            split: {lang: round(one.share, 6) for lang, one in counts.items() if one.either}
            for split, counts in splits.items()
        }
        for target, splits in measured.items()
    }


def _of_target(
    card: TaskCard,
    split: str,
    digest: str,
    training: Callable[[], Index],
    location: DataLocation,
) -> ByLanguage:
    """Return language → counts, from the cache or counted now; empty where there is no data."""
    fetched = fetch(card, split, card.languages, location)
    if not fetched.files:
        return {}
    key = {
        "rules": VERSION,
        "training": digest,
        "target": card.name,
        "card": card.hash,
        "split": split,
        "files": dict(sorted(fetched.digests.items())),
    }
    name = sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    kept = location.cache / FOLDER / f"{name[:32]}.json"
    if (counted := _kept(kept, key)) is not None:
        return counted
    loaded = load(card, split, card.languages, location)
    there = [one for one in card.languages if one not in {**loaded.missing, **loaded.broken}]
    counted = {
        unit: count(TARGET[card.kind](loaded.examples, unit, split), training()) for unit in there
    }
    document = {**key, "counts": {unit: astuple(one) for unit, one in counted.items()}}
    with suppress(OSError):  # Where the disk is full, the next training counts again.
        write_whole(kept, json.dumps(document, ensure_ascii=False))
    return counted


def _kept(path: Path, key: Mapping[str, Any]) -> ByLanguage | None:
    """Return the counts of the file; None where it is not there or was counted of other data."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        counts = document.pop("counts")
        if document != key:
            return None
        return {unit: Counts(*map(int, one)) for unit, one in counts.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
