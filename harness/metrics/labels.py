"""Accuracy of labels: one for each example, or one for each word of a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.metrics.per_example import Floats, PerExample
from harness.metrics.tag_spans import spans

Tags = Sequence[str]


@dataclass(frozen=True, eq=False)
class Decisions:
    """Whether each of n examples has the right label, float64[n] of 0 and 1."""

    correct: Floats


@dataclass(frozen=True, eq=False)
class TaggedSentences:
    """The tags of n sentences, right and predicted ones: a tag for each word, in its order."""

    gold: Iterable[Tags]
    predicted: Iterable[Tags]


def accuracy(decisions: Decisions) -> Floats:
    """float64[n]: 1 where the label is the right one."""
    return decisions.correct


def word_accuracy(tagged: TaggedSentences) -> PerExample:
    """The share of words with the right tag: over all words, not a mean over sentences.

    Raises ValueError where a sentence has another number of predicted tags than of words.
    """
    words, right = [], []
    for gold, predicted in _pairs(tagged):
        words.append(len(gold))
        right.append(sum(a == b for a, b in zip(gold, predicted, strict=True)))
    return PerExample(_floats(right), _floats(words), _floats(words))


def f1_spans(tagged: TaggedSentences) -> PerExample:
    """F1 of the spans in all sentences together: 2·tp / (predicted + gold), by `tag_spans`.

    Tags without a prefix are read by the same rule: neighbouring words with an equal tag are one
    span. Raises ValueError as `word_accuracy` does.
    """
    right, sizes, golds = [], [], []
    for gold, predicted in _pairs(tagged):
        wanted, found = spans(gold), spans(predicted)
        right.append(2 * len(wanted & found))
        sizes.append(len(wanted) + len(found))
        golds.append(len(wanted))
    return PerExample(_floats(right), _floats(sizes), _floats(golds))


def _pairs(tagged: TaggedSentences) -> Iterator[tuple[Tags, Tags]]:
    for number, pair in enumerate(zip(tagged.gold, tagged.predicted, strict=True)):
        gold, predicted = pair
        if len(gold) != len(predicted):
            raise ValueError(f"sentence {number}: {len(gold)} words, {len(predicted)} predictions")
        yield pair


def _floats(values: Sequence[int]) -> npt.NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
