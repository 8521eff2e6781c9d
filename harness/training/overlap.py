"""Counts the examples of a target that occur in training data: equal texts, and long shared runs.

Every text is normalised first, in the same way on both sides. Unicode's NFKC, case folding and
NFKC again are applied. Format characters (soft hyphens, joiners) and variation selectors are
removed. Characters other than letters, marks and numbers (white space, punctuation, symbols)
separate words. A character of a script that puts no spaces between words is a unit by itself, and
white space around it is ignored. So a text is a sequence of units: words, and characters of
unspaced scripts.

An example of a target has one text or several: both sentences of a pair, a question and its
passage. It occurs in the training data

- exactly, where one of its texts has the units of a whole training text, and no other ones;
- by a run, where one of its texts shares 13 words in a row with a training text: 26 characters in
  an unspaced script, and in a text of both kinds a run that is worth 26 or more at one for a
  character and two for a word. A text that is shorter has no run.

The share of a language is the number of its target examples that occur in the training data in
either way (numerator) among all of its target examples (denominator). Nothing is said of the share
of the training data.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

VERSION = 1  # the version of these rules; counts of another version are not used again
WORDS = 13
CHARACTERS = 26
WORD = CHARACTERS // WORDS  # A word counts as much as so many characters of an unspaced script.
# First and last code points of the scripts without spaces: Thai and Lao, Tibetan, Myanmar, Khmer
# (and the last two extended), kana and Bopomofo, and Chinese characters.
UNSPACED = (
    (0x0E00, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x19E0, 0x19FF),
    (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F), (0x3005, 0x3007), (0x3040, 0x312F), (0x31A0, 0x31BF),
    (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),
)  # fmt: skip
_FACTOR = 0x9E3779B97F4A7C13  # odd, so that it has an inverse modulo 2⁶⁴
_INVERSE = pow(_FACTOR, -1, 1 << 64)

Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Counts:
    """How many of the ``examples`` of a target in one language occur in the training data.

    ``exact``: how many by an equal text. ``run``: how many by a shared run. ``either``: how many
    by one of these or both.
    """

    examples: int
    exact: int
    run: int
    either: int

    @property
    def share(self) -> float:
        """``either`` / ``examples``, in [0, 1]; 0 where there are no examples."""
        return self.either / self.examples if self.examples else 0.0


@dataclass(frozen=True, eq=False)
class Index:
    """Training data in which texts are looked up by their keys.

    ``texts``: the keys of whole texts. ``runs``: the keys of runs, sorted. Keys are hashes of 64
    bits: two data sets of a million different runs each share a key by chance with a probability
    of about 10⁻⁷.
    """

    texts: frozenset[int]
    runs: Keys


def index(texts: Iterable[str]) -> Index:
    """Index the training texts, each as a whole and by its runs; repeated texts cost little."""
    whole: set[int] = set()
    runs: list[Keys] = []
    for text in dict.fromkeys(texts):
        found = units(text)
        key = _key(found)
        if found and key not in whole:
            whole.add(key)
            runs.append(_run_keys(found))
    every = np.concatenate(runs) if runs else np.empty(0, dtype=np.uint64)
    return Index(frozenset(whole), np.unique(every))


def count(examples: Iterable[Sequence[str]], training: Index) -> Counts:
    """Count the examples that occur in the training data; each example is a sequence of texts."""
    known: dict[str, tuple[bool, bool]] = {}
    total = exact = run = either = 0
    for texts in examples:
        for text in texts:
            if text not in known:
                known[text] = _occurs(text, training)
        equal = any(known[text][0] for text in texts)
        shared = any(known[text][1] for text in texts)
        total, exact, run = total + 1, exact + equal, run + shared
        either += equal or shared
    return Counts(total, exact, run, either)


def units(text: str) -> list[str]:
    """Return the normalised words of a text and, in unspaced scripts, its characters."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return folded.translate(_mapping()).split()


def worth(unit: str) -> int:
    """Return what a unit adds to a run: 1 for a character of an unspaced script, 2 for a word."""
    return 1 if len(unit) == 1 and _is_unspaced(ord(unit)) else WORD


def _occurs(text: str, training: Index) -> tuple[bool, bool]:
    """Return whether a text is in the training data, and whether it shares a run with it."""
    found = units(text)
    if not found:
        return False, False
    runs = _run_keys(found)
    places = np.searchsorted(training.runs, runs)
    inside = places < len(training.runs)
    shared = bool((training.runs[places[inside]] == runs[inside]).any())
    return _key(found) in training.texts, shared


def _key(found: Sequence[str]) -> int:
    return hash(" ".join(found))


def _run_keys(found: Sequence[str]) -> Keys:
    """Return uint64[≤ n]: the key of the shortest run worth ``CHARACTERS`` from each unit.

    A unit near the end of a text begins no such run. Two texts share a run exactly where they
    share one of these keys, because a longer run begins with the shortest one. The key of the
    units i … j − 1 is Σ hash(unit k) · factor^(k − i), modulo 2⁶⁴.
    """
    if WORD * len(found) < CHARACTERS:
        return np.empty(0, dtype=np.uint64)
    worths = np.fromiter(map(worth, found), dtype=np.int64, count=len(found))
    before = np.concatenate(([0], np.cumsum(worths)))
    starts = np.arange(np.searchsorted(before, before[-1] - CHARACTERS, side="right"))
    ends = np.searchsorted(before, before[starts] + CHARACTERS)
    hashes = np.fromiter(map(hash, found), dtype=np.int64, count=len(found)).view(np.uint64)
    sums = np.concatenate((np.zeros(1, dtype=np.uint64),
                           np.cumsum(hashes * _powers(_FACTOR, len(found)))))  # fmt: skip
    keys: Keys = (sums[ends] - sums[starts]) * _powers(_INVERSE, len(starts))
    return keys


def _powers(base: int, length: int) -> Keys:
    """Return uint64[length]: base⁰, base¹, …, modulo 2⁶⁴."""
    powers = np.full(length, base, dtype=np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint64)


class _Mapping(dict[int, str]):
    """The replacement of each code point for `str.translate`; it is computed once, when asked."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _mapped(code)
        return found


@cache
def _mapping() -> _Mapping:
    return _Mapping()


def _mapped(code: int) -> str:
    """Return what a character becomes: itself, itself between spaces, a space, or nothing."""
    category = unicodedata.category(chr(code))
    if category == "Cf" or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
        return ""
    if category[0] not in "LMN":
        return " "
    return f" {chr(code)} " if _is_unspaced(code) else chr(code)


def _is_unspaced(code: int) -> bool:
    return code >= UNSPACED[0][0] and any(first <= code <= last for first, last in UNSPACED)
