"""Align: a checkpoint → the alignment of its layers, over the words and sentences of a bitext."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.alignment.lexicon import has_spaces, word_pairs
from harness.alignment.numbers import Floats, Row, measure, summarise
from harness.cards.catalogue import card_names, read_card
from harness.data.examples import Bitext
from harness.errors import UsageError
from harness.evaluation.models import plan_model
from harness.evaluation.options import Options, make_request
from harness.evaluation.reporting import Silent
from harness.inference.batching import distinct
from harness.inference.protocol import standard_layer
from harness.results.scores import MACRO

if TYPE_CHECKING:
    from harness.evaluation.planned import Plan
    from harness.evaluation.reporting import Reporter
    from harness.inference.encoder import Encoder

LEAST_WORDS = 20  # pairs: with fewer, recall@10 would say next to nothing
SEED = 0


@dataclass(frozen=True)
class Alignment:
    """The rows of one checkpoint, and all that decided them.

    ``left_out``: language → why it is not among the words. ``limit``: pairs of sentences taken of
    each language; None for all.
    """

    model: str
    revision: str
    base: str | None
    task: str
    pooling: str
    dtype: str
    length: int
    depth: int
    limit: int | None
    rows: tuple[Row, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def standard_layer(self) -> int:
        """The layer that the standard protocol pools."""
        return standard_layer(self.depth)

    def of(self, unit: str, lang: str = MACRO) -> list[Row]:
        """The rows of words or sentences in one language, by layer."""
        return [row for row in self.rows if (row.unit, row.lang) == (unit, lang)]


def align(model: str, task: str, options: Options) -> Alignment:
    """Measure a checkpoint: ``task`` is a bitext task, its languages those of its suite.

    Of the options count pooling, dtype, device, limit, data, cache_dir, offline and the reporter.
    ``limit`` takes the first pairs of each language, and the pool is as small.

    Raises:
        UsageError: the task has no translation pairs, or an option makes no sense.
        NotFoundError, RefusedError, DataError: as for a checkpoint that is evaluated.
        IncompleteError: data of a language could not be had; ``error.scores`` is the Alignment of
            the others, None where there are none.
    """
    from harness.evaluation.run import check_complete

    if read_card(task).kind != "bitext":
        known = [name for name in card_names() if read_card(name).kind == "bitext"]
        raise UsageError(f"task {task} has no translation pairs: give {' or '.join(known)}")
    # `fresh`: whatever was evaluated before is not looked at.
    request = make_request(replace(options, tasks=task, layer="all", fresh=True))
    plan = plan_model(model, request)
    if not plan.tasks:
        check_complete(plan, None)
    found = _measured(plan, options.reporter or Silent())
    check_complete(plan, found)
    return found


def choose_words(sentences: Mapping[str, Bitext]) -> tuple[dict[str, Bitext], dict[str, str]]:
    """The word pairs of each language, and why the languages without them are left out."""
    words: dict[str, Bitext] = {}
    left_out: dict[str, str] = {}
    for lang, bitext in sentences.items():
        if not has_spaces(lang):
            left_out[lang] = "no spaces between words"
            continue
        found = word_pairs(bitext)
        if len(found.source) < LEAST_WORDS:
            left_out[lang] = f"{len(found.source)} word pairs"
        else:
            words[lang] = found
    return words, left_out


def _measured(plan: Plan, reporter: Reporter) -> Alignment:
    from harness.evaluation.run import TaskContext, make_backbone, make_encoder

    (task,), request = plan.tasks, plan.request
    examples: Mapping[str, Bitext] = task.loaded.examples  # type: ignore[assignment]
    sentences = {lang: _first(examples[lang], request.selection.limit) for lang in task.units}
    words, left_out = choose_words(sentences)
    # Sentences first, in the order of an evaluation: its batches, and so its vectors to the bit.
    chosen = {"sentences": sentences, "words": words}
    unique, _ = distinct(
        [text for part in chosen.values() for one in part.values() for text in _texts(one)]
    )
    length = sum(len(text) for text in unique)
    planned = replace(task, texts=len(unique), todo_texts=len(unique), todo_characters=length)
    reporter.planned(replace(plan, tasks=(planned,)))
    context = TaskContext(request, task, plan.checkpoint)
    encoder = make_encoder(context, make_backbone([context]), reporter.advance)
    measured = {
        unit: {lang: _by_layer(encoder, bitext) for lang, bitext in part.items()}
        for unit, part in chosen.items()
    }
    rows = [
        row
        for unit in ("words", "sentences")
        for row in summarise(unit, chosen[unit], measured[unit], np.random.default_rng(SEED))
    ]
    checkpoint, base = plan.checkpoint, plan.checkpoint.base
    settings = next(iter(encoder.encodings.values()))
    return Alignment(
        model=checkpoint.id,
        revision=checkpoint.revision,
        base=f"{base.id}@{base.revision}" if base else None,
        task=task.card.name,
        pooling=settings.pooling,
        dtype=settings.dtype,
        length=settings.lengths["query"],
        depth=settings.depth,
        limit=request.selection.limit,
        rows=tuple(rows),
        left_out=left_out,
        notes=(*task.loaded.notes, *checkpoint.remarks, *encoder.remarks),
    )


def _first(bitext: Bitext, limit: int | None) -> Bitext:
    return Bitext(bitext.lang, bitext.source[:limit], bitext.english[:limit])


def _texts(bitext: Bitext) -> tuple[str, ...]:
    return bitext.source + bitext.english


def _by_layer(encoder: Encoder, bitext: Bitext) -> list[tuple[Floats, float]]:
    size = len(bitext.english)
    measured = []
    for layer in encoder.encodings:
        vectors = encoder.encode(_texts(bitext), role="query", lang=bitext.lang, layer=layer)
        measured.append(measure(vectors[size:], vectors[:size], bitext))
    return measured
