"""Predictions in XTREME's layout, ``<task>/test-<lang>.json|tsv``, scored against the gold.

- QA (json): ``{question id: answer text}``. A question without a prediction scores 0 and counts,
  a prediction of an unknown question is ignored.
- Tatoeba (tsv): one line per English sentence, in the order of XTREME's processed files, which
  sort the English side by text; the value is the 0-based line of the other side, ``17`` or as
  XTREME-R's script writes it ``[17]``.
- BUCC (tsv): ``xx-id<TAB>en-id``, one pair a line; a pair of unknown ids counts as wrong.
- XNLI, PAWS-X (tsv): one label a line, in the order of the file; of PAWS-X 0 or 1.
- XCOPA (jsonl): ``{"label": 0}`` or ``{"label": 1}`` a line.
- UDPOS, PAN-X (tsv): one tag a line, a blank line between sentences.
- Mewsli-X (json, ``mewslix/``): ``{mention id: [entity ids, best first]}``, of which 20 count.

Files named ``dev-…`` are those of ``--split dev``. Every score is in percent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.cards.languages import canonical
from harness.cards.task import TaskCard
from harness.data.examples import Bitext, ItemSet, Mining, QuestionSet, Retrieval, Sentence
from harness.data.load import DataLocation, load
from harness.errors import DataError, IncompleteError, NotFoundError, UsageError, unknown_name
from harness.kinds.span_qa import score_answer
from harness.metrics import mlqa
from harness.metrics.by_kind import METRICS, per_example
from harness.metrics.labels import Decisions, TaggedSentences
from harness.metrics.ranking import Ranks
from harness.results.xtreme_layout import (
    Answers,
    find_files,
    find_task,
    read_answers,
    read_choices,
    read_gold,
    read_labels,
    read_lines,
    read_pairs,
    read_rankings,
    read_tag_lists,
    sorted_order,
)

NAMES = "<task>/test-<lang>.json, .jsonl or .tsv"  # of files with predictions
RANKED = ("map@20", "recall@10")  # they look at 20 ranks and at 10

Values = dict[str, float]


@dataclass(frozen=True)
class FileScores:
    """``values``: exact_match and f1 in percent. ``notes``: what a reader must know."""

    values: Values
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FolderScores:
    """``values``: task → language (or context-question) → metric → percent.

    ``missing``: task/language → why its gold could not be had. ``broken``: likewise, what is wrong
    with its predictions or its gold. ``notes``: what was ignored, and what was not predicted.
    """

    values: dict[str, dict[str, Values]]
    missing: Mapping[str, str]
    broken: Mapping[str, str]
    notes: tuple[str, ...]


def score_folder(folder: Path, *, split: str | None, location: DataLocation) -> FolderScores:
    """Score every prediction file under ``folder`` whose task and language are known.

    split: None for the task's own. For another one, ``<split>-<lang>`` files are read, or where
    a task has none of those, its ``test-<lang>`` files.

    QA gives exact_match and f1 as the official scripts do, Tatoeba accuracy (English → language),
    BUCC precision, recall and f1 of the pairs, Mewsli-X map@20 and recall@10, XNLI, PAWS-X and
    XCOPA accuracy, UDPOS accuracy and f1_pos, PAN-X f1_span and accuracy.

    Raises:
        NotFoundError: no such folder, or no file in it that could be scored.
        UsageError: a task with files of the split, or every task, has no such split; or a
            language has two files.
    """
    if folder.is_file():
        raise UsageError(f"{folder} is a file: give --gold too, or the folder that has <task>/")
    if not folder.is_dir():
        raise NotFoundError(f"no folder {folder}: give one with {NAMES}")
    values: dict[str, dict[str, Values]] = {}
    missing: dict[str, str] = {}
    broken: dict[str, str] = {}
    notes: list[str] = []
    read: set[str] = set()
    unsplit: UsageError | None = None
    for inside in sorted(path for path in folder.iterdir() if path.is_dir()):
        card, why = find_task(inside.name)
        if card is None:
            notes.append(f"{inside.name}/ ignored: {why}")
            continue
        if card.name in read:
            raise UsageError(f"{folder} has {card.name} under two names: keep one folder")
        read.add(card.name)
        try:
            chosen = card.check_split(split)
        except UsageError as error:
            if any(inside.glob(f"{split}-*")):
                raise
            notes.append(f"{inside.name}/ ignored: {error}")  # Other tasks may have the split.
            unsplit = unsplit or error
            continue
        files, ignored = find_files(inside, card, chosen)
        notes += ignored
        if not files:
            continue
        try:
            loaded = load(card, chosen, tuple(files), location)
        except DataError as error:
            broken[card.name] = str(error)
            continue
        notes += (*loaded.notes, *loaded.remarks)
        missing |= {f"{card.name}/{unit}": text for unit, text in loaded.missing.items()}
        broken |= {f"{card.name}/{unit}": text for unit, text in loaded.broken.items()}
        for unit, path in files.items():
            if unit in loaded.missing or unit in loaded.broken:
                continue
            try:
                scores = _SCORERS[card.kind](card, loaded.examples, unit, chosen, path)
            except (DataError, NotFoundError) as error:  # of this file: the others are scored
                broken[f"{card.name}/{unit}"] = str(error)
                continue
            values.setdefault(card.name, {})[unit] = scores.values
            notes += scores.notes
    if not values and not missing and not broken:
        if unsplit is not None:
            raise unsplit
        why = f" ({notes[0]})" if notes else ""
        raise NotFoundError(f"nothing to score under {folder}{why}: give {NAMES}")
    return FolderScores(values, missing, broken, tuple(notes))


def check_scored(scores: FolderScores) -> None:
    """Raise where something could not be scored, naming it.

    Raises:
        DataError: a file is not in the format of its task, or the gold is not what it should be.
        IncompleteError: gold is missing.
    """
    if scores.broken:
        why = next(iter(scores.broken.values()))
        raise DataError(f"not scored: {', '.join(scores.broken)} ({why})")
    if scores.missing:
        why = next(iter(scores.missing.values()))
        raise IncompleteError(f"incomplete: no gold for {', '.join(scores.missing)} ({why})")


def score_file(predictions: Path, gold: Path, *, scorer: str, lang: str | None) -> FileScores:
    """Score ``{question id: answer text}`` against gold in SQuAD's JSON format.

    scorer: squad (SQuAD 1.1, for XQuAD and TyDiQA too) or mlqa; lang: the context's language,
    which mlqa needs. exact_match and f1 are means over all questions in percent, equal to those
    of the official scripts. Unanswerable questions (``is_impossible`` of SQuAD 2.0), at which
    those scripts stop, are left out.

    Raises:
        UsageError: an unknown scorer, or a language that mlqa has no rules for, or none.
        NotFoundError: one of the files does not exist.
        DataError: a file is broken or in another format, or the gold has no answers.
    """
    language = _scorer_language(scorer, lang)
    answers, unanswerable = read_gold(gold)
    scores = _score_answers(answers, read_answers(predictions), scorer, language, predictions)
    left_out = f"{gold}: {unanswerable} unanswerable questions left out"
    return FileScores(scores.values, (*scores.notes, *([left_out] if unanswerable else [])))


# How a file is scored


def _score_bitext(
    card: TaskCard, examples: Mapping[str, Bitext], unit: str, split: str, path: Path
) -> FileScores:
    english = examples[unit].english
    predicted = read_lines(path)
    if len(predicted) != len(english):
        raise DataError(
            f"{path}: {len(predicted)} lines, expected {len(english)}: give one for each English"
            f" sentence of {card.name} {unit}, in sorted order"
        )
    right = sum(line == own for line, own in zip(predicted, sorted_order(english), strict=True))
    absent = sum(line is None or not 0 <= line < len(english) for line in predicted)
    note = f"{path}: {absent} of {len(english)} lines name no sentence: they score 0"
    return FileScores({"accuracy": 100 * right / len(english)}, (note,) if absent else ())


def _score_mining(
    card: TaskCard,
    examples: Mapping[str, Mapping[str, Mining]],
    unit: str,
    split: str,
    path: Path,
) -> FileScores:
    corpora = examples[unit][split]
    pairs = read_pairs(path)
    right = len(pairs & corpora.gold)
    precision = right / len(pairs) if pairs else 0.0
    recall = right / len(corpora.gold)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    unknown = sum(a not in corpora.source or b not in corpora.english for a, b in pairs)
    notes = {
        f"{path}: no pairs: everything scores 0": not pairs,
        f"{path}: {unknown} of {len(pairs)} pairs have unknown ids: they count as wrong": unknown,
    }
    values = {"precision": 100 * precision, "recall": 100 * recall, "f1": 100 * f1}
    return FileScores(values, tuple(note for note, told in notes.items() if told))


def _score_decisions(
    card: TaskCard, examples: Mapping[str, ItemSet], unit: str, split: str, path: Path
) -> FileScores:
    items = examples[unit].items
    predicted: Sequence[str | int]
    predicted = read_labels(path, card) if card.kind == "classification" else read_choices(path)
    _check_number(path, len(predicted), len(items), f"examples of {card.name} {unit}")
    right = [
        not isinstance(one, Sentence) and label == one.label
        for label, one in zip(predicted, items, strict=True)
    ]
    decisions = Decisions(np.asarray(right, dtype=np.float64))
    return FileScores(_percent(card, decisions), ())


def _score_tags(
    card: TaskCard, examples: Mapping[str, ItemSet], unit: str, split: str, path: Path
) -> FileScores:
    gold = [one.tags for one in examples[unit].items if isinstance(one, Sentence)]
    predicted = read_tag_lists(path, card)
    _check_number(path, len(predicted), len(gold), f"sentences of {card.name} {unit}")
    for number, (tags, own) in enumerate(zip(gold, predicted, strict=True), start=1):
        if len(tags) != len(own):
            raise DataError(
                f"{path}: sentence {number} has {len(own)} tags, expected {len(tags)}: give one "
                "for every word"
            )
    return FileScores(_percent(card, TaggedSentences(gold, predicted)), ())


def _check_number(path: Path, found: int, expected: int, what: str) -> None:
    if found != expected:
        raise DataError(
            f"{path}: {found} predictions, expected {expected}: one for each of the {what}"
        )


def _percent(card: TaskCard, examples: Any) -> Values:
    known = METRICS[card.kind]
    return {metric: 100 * per_example(known, metric, examples).score for metric in card.metrics}


def _score_questions(
    card: TaskCard, examples: Mapping[str, QuestionSet], unit: str, split: str, path: Path
) -> FileScores:
    predictions = read_answers(path)
    # An id that the gold file repeats is `id#2` here; officially both share one prediction.
    answers = [
        (one.id if one.id in predictions else one.id.partition("#")[0], one.answers)
        for one in examples[unit].questions
    ]
    return _score_answers(answers, predictions, card.scorer or "squad", examples[unit].lang, path)


def _score_answers(
    answers: Answers, predictions: Mapping[str, str], scorer: str, lang: str, path: Path
) -> FileScores:
    exact = overlap = 0.0
    for identifier, accepted in answers:
        if identifier in predictions:
            scores = score_answer(scorer, lang, predictions[identifier], accepted)
            exact, overlap = exact + scores[0], overlap + scores[1]
    values = {"exact_match": 100 * exact / len(answers), "f1": 100 * overlap / len(answers)}
    ids = [identifier for identifier, _ in answers]
    return FileScores(values, _differences(path, ids, predictions.keys(), "questions"))


def _score_passages(
    card: TaskCard, examples: Retrieval, unit: str, split: str, path: Path
) -> FileScores:
    predictions = read_rankings(path)
    queries = examples.queries[unit]
    ranks = []
    for query in queries:
        gold = {examples.candidate_ids[index] for index in query.relevant}
        top = predictions.get(query.id, ())
        ranks.append(sorted(top.index(one) + 1 for one in gold if one in top))
    ragged = Ranks.of(ranks, [len(query.relevant) for query in queries])
    values = {
        metric: 100 * per_example(METRICS["passages"], metric, ragged).score for metric in RANKED
    }
    ids = [query.id for query in queries]
    return FileScores(values, _differences(path, ids, predictions.keys(), "queries"))


def _differences(
    path: Path, gold: Sequence[str], predicted: Set[str], what: str
) -> tuple[str, ...]:
    """Notes on what has no prediction, and on predictions that are of nothing."""
    absent = sum(identifier not in predicted for identifier in gold)
    extra = len(predicted - set(gold))
    notes = {
        f"{path}: {absent} of {len(gold)} {what} have no prediction: they score 0": absent,
        f"{path}: {extra} predictions have ids that are not among the {what}: ignored": extra,
    }
    return tuple(note for note, count in notes.items() if count)


Scorer = Callable[[TaskCard, Any, str, str, Path], FileScores]
_SCORERS: dict[str, Scorer] = {
    "bitext": _score_bitext,
    "mining": _score_mining,
    "span_qa": _score_questions,
    "passages": _score_passages,
    "classification": _score_decisions,
    "multiple_choice": _score_decisions,
    "tagging": _score_tags,
}


def _scorer_language(scorer: str, lang: str | None) -> str:
    """The language whose rules are used; UsageError where the scorer has none of it."""
    if scorer not in ("squad", "mlqa"):
        raise unknown_name("scorer", scorer, ("squad", "mlqa"))
    if scorer == "squad":
        return "en"
    if lang is None:
        raise UsageError("--scorer mlqa without a language: give that of the contexts with --lang")
    language = canonical(lang)
    try:
        mlqa.normalize("", language)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return language
