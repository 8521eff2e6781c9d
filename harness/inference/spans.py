"""Finds answer spans: start and end logits of windows → a slice of the context."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Span:
    """An answer: ``context[start:end]``, by code points.

    Attributes:
        text: the slice of the context; ``""`` where no valid span exists.
        start: offset of its first code point; -1 when not answered.
        end: offset after its last code point; -1 when not answered.
        score: start logit + end logit, float32; ``-inf`` when not answered.
        answered: a valid span exists. It says nothing about how sure the model is.
    """

    text: str
    start: int
    end: int
    score: float
    answered: bool


UNANSWERED = Span(text="", start=-1, end=-1, score=float("-inf"), answered=False)


@dataclass(frozen=True)
class Candidates:
    """The best span of each window, in tokens. All arrays have one entry a window.

    Attributes:
        first: position of the span's first token in the window; 0 where there is none.
        last: position of its last token, itself part of the span; 0 where there is none.
        score: start logit + end logit; ``-inf`` where there is none.
        valid: the window has a valid span.
    """

    first: Integers
    last: Integers
    score: Floats
    valid: Flags


def best_spans(
    start: Floats,
    end: Floats,
    context_first: Integers,
    context_stop: Integers,
    *,
    n_best: int,
    max_answer_tokens: int,
) -> Candidates:
    """Return the best span of each window, as ``postprocess_qa_predictions`` finds it.

    That is ``examples/pytorch/question-answering/utils_qa.py`` of transformers, with
    ``version_2_with_negative=False``.

    The ``n_best`` highest start logits meet the ``n_best`` highest end logits, question and special
    tokens counted among them; pairs outside the context, backwards or longer than
    ``max_answer_tokens`` are left out; the highest sum wins. Equal sums go to the higher-ranked
    start, then to the higher-ranked end. Equal logits are ranked by ``numpy.argsort`` with its
    default kind, read backwards: that sort is not stable, so their order is numpy's own and depends
    on the width of the row, here as there. Rows must therefore have the width that ``run_qa`` pads
    to, with ``-inf`` at padding.

    Args:
        start: float32[windows, width], no NaN.
        end: float32[windows, width], no NaN.
        context_first: int64[windows], position of the first token of the context.
        context_stop: int64[windows], position after its last token.
        n_best: how many starts and ends are looked at.
        max_answer_tokens: the longest span, in tokens.
    """
    starts = np.argsort(start, axis=1)[:, : -n_best - 1 : -1]
    ends = np.argsort(end, axis=1)[:, : -n_best - 1 : -1]
    length = ends[:, None, :] - starts[:, :, None] + 1
    allowed = (length >= 1) & (length <= max_answer_tokens)
    allowed &= _inside(starts, context_first, context_stop)[:, :, None]
    allowed &= _inside(ends, context_first, context_stop)[:, None, :]
    sums = (
        np.take_along_axis(start, starts, axis=1)[:, :, None]
        + np.take_along_axis(end, ends, axis=1)[:, None, :]
    )
    shape = (len(start), starts.shape[1] * ends.shape[1])
    sums = np.where(allowed, sums, np.float32(-np.inf)).reshape(shape)
    allowed = allowed.reshape(shape)
    rows = np.arange(len(start))
    # The first of the highest sums, in the order starts by ends. Should every allowed sum be -inf,
    # argmax would stop at one that is not allowed: then the first allowed one.
    best = sums.argmax(axis=1)
    best = np.where(allowed[rows, best], best, allowed.argmax(axis=1))
    valid = allowed[rows, best]
    return Candidates(
        first=np.where(valid, starts[rows, best // ends.shape[1]], 0),
        last=np.where(valid, ends[rows, best % ends.shape[1]], 0),
        score=sums[rows, best],
        valid=valid,
    )


def _inside(positions: Integers, first: Integers, stop: Integers) -> Flags:
    inside: Flags = (positions >= first[:, None]) & (positions < stop[:, None])
    return inside


def best_window(score: Floats, valid: Flags) -> int | None:
    """Return which window of one context holds its answer: the first among those with the highest
    score.

    ``score``: float32[windows] and ``valid``: bool[windows], in the order of the windows. None when
    no window has a valid span.
    """
    choices = np.flatnonzero(valid)
    if not len(choices):
        return None
    return int(choices[score[choices].argmax()])
