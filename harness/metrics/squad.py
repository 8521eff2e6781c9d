"""Exact match and F1 of answer spans, as the SQuAD 1.1 script scores them in every language."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """The form in which answers are compared.

    Lower case, then without ASCII punctuation, then each whole word a, an, the replaced by a
    blank, then white space collapsed to single blanks (Rajpurkar et al. 2016, evaluate-v1.1).
    English articles go in every language; other punctuation stays; nothing is segmented.
    """
    bare = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(prediction: str | None, answers: Sequence[str]) -> float:
    """1.0 where the normalised prediction equals one of the gold answers', else 0.0.

    None is a missing prediction and scores 0; an empty one can match an answer that has
    nothing left after normalisation. Raises ValueError without a gold answer.
    """
    return best_answer(exact, prediction, answers, normalize)


def f1(prediction: str | None, answers: Sequence[str]) -> float:
    """F1 in [0, 1] between the words of the prediction and those of the nearest gold answer.

    Words are counted as a multiset after `normalize`. None is a missing prediction and
    scores 0. Raises ValueError without a gold answer.
    """
    return best_answer(overlap, prediction, answers, normalize)


def exact(prediction: str, answer: str) -> float:
    """1.0 where two normalised texts are equal, else 0.0."""
    return float(prediction == answer)


def overlap(prediction: str, answer: str) -> float:
    """F1 in [0, 1] between the words of two normalised texts.

    0 where they share none, two empty texts included (they are an exact match all the same).
    """
    found, gold = prediction.split(), answer.split()
    shared = (Counter(found) & Counter(gold)).total()
    if shared == 0:
        return 0.0
    precision, recall = shared / len(found), shared / len(gold)
    return 2 * precision * recall / (precision + recall)


def best_answer(
    score: Callable[[str, str], float],
    prediction: str | None,
    answers: Sequence[str],
    normalized: Callable[[str], str],
) -> float:
    """The highest score of a prediction over the gold answers, each normalised first.

    None is a missing prediction and scores 0. Raises ValueError without a gold answer.
    """
    if not answers:
        raise ValueError("no gold answers: a question without one cannot be scored")
    if prediction is None:
        return 0.0
    found = normalized(prediction)
    return max(score(found, normalized(answer)) for answer in answers)
