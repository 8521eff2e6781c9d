"""Exact match and F1 of answer spans, as the MLQA script scores them: by the context's language."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from functools import partial

from harness.metrics.squad import best_answer, exact, overlap

# None: the language has no articles to remove.
# ar: the official pattern has a second branch (white space, then the article, then a start of
# the text) that can never match; what is left is the article anywhere, inside words too.
_ARTICLES: dict[str, re.Pattern[str] | None] = {
    "en": re.compile(r"\b(?:a|an|the)\b"),
    "es": re.compile(r"\b(?:un|una|unos|unas|el|la|los|las)\b"),
    "de": re.compile(r"\b(?:ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "vi": re.compile(r"\b(?:của|là|cái|chiếc|những)\b"),
    "ar": re.compile("\u0627\u0644"),
    "hi": None,
    "zh": None,
}
_HAN = re.compile("([\u4e00-\u9fa5])")


def normalize(text: str, language: str) -> str:
    """The form in which answers of a language (ISO 639-1) are compared.

    Lower case, then without punctuation (Unicode category P and ASCII punctuation), then each
    article of the language replaced by a blank, then split into words that are joined by
    single blanks: by white space, in zh also around every character from U+4E00 to U+9FA5
    (Lewis et al. 2020, mlqa_evaluation_v1). Raises ValueError for a language without rules.
    """
    articles = _articles(language)
    bare = "".join(char for char in text.lower() if not _is_punctuation(char))
    if articles is not None:
        bare = articles.sub(" ", bare)
    if language == "zh":
        bare = _HAN.sub(r" \1 ", bare)
    return " ".join(bare.split())


def exact_match(prediction: str | None, answers: Sequence[str], language: str) -> float:
    """1.0 where the normalised prediction equals one of the gold answers', else 0.0.

    `language` is that of the context, also where the question has another. None is a missing
    prediction and scores 0. Raises ValueError for a language without rules, and without a
    gold answer.
    """
    _articles(language)
    return best_answer(exact, prediction, answers, partial(normalize, language=language))


def f1(prediction: str | None, answers: Sequence[str], language: str) -> float:
    """F1 in [0, 1] between the words of the prediction and those of the nearest gold answer.

    Words are counted as a multiset after `normalize`; `language` is that of the context. None
    is a missing prediction and scores 0. Raises ValueError for a language without rules, and
    without a gold answer.
    """
    _articles(language)
    return best_answer(overlap, prediction, answers, partial(normalize, language=language))


def _articles(language: str) -> re.Pattern[str] | None:
    if language not in _ARTICLES:
        known = ", ".join(_ARTICLES)
        raise ValueError(f"MLQA has no answer rules for language {language!r}: use one of {known}")
    return _ARTICLES[language]


def _is_punctuation(char: str) -> bool:
    return char in string.punctuation or unicodedata.category(char).startswith("P")
