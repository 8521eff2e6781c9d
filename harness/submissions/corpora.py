"""Tells which corpora data sets are from, by their names alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from harness.submissions.submission import target_data

# What a name begins to differ in though the corpus is the same: versions, parts, and plain words.
QUALIFIER = re.compile(
    r"v\d[\d.]*|\d(\.\d+)*"
    r"|train(ing)?|dev(elopment)?|valid(ation)?|test"
    r"|sets?|splits?|data(sets?)?|corpus|full|the"
)
VERSION = re.compile(r"(?<=[a-z]{3})v?\d+$")  # at the end of a word: SQuADv2, squad2
JOINED = re.compile(r"\s*[+&;]\s*|\s+and\s+")
# A part of a name → the corpus that it is from: translations and versions have it in their names.
KNOWN: Mapping[str, str] = {
    "squad": "squad",
    "multinli": "mnli",
    "mnli": "mnli",
    "naturalquestion": "naturalquestions",
    "msmarco": "msmarco",
    "triviaqa": "triviaqa",
    "newsqa": "newsqa",
    "hotpotqa": "hotpotqa",
    "mrtydi": "tydiqa",
}
SHORT: Mapping[str, str] = {"nq": "naturalquestions"}  # too short to look for within names


def corpora(datasets: Iterable[str]) -> frozenset[str]:
    """Return the corpora that data sets are from, by their names alone.

    A data set that is named after a target task, or after a corpus of which there are versions and
    translations, is from that one: "SQuAD v1.1 train, a tenth", "squad_es" and
    "rajpurkar/squad_v2" are all from "squad". The corpus of another is its name up to a comma, in
    small letters and digits, without owner, version and part; a name with "and" or "+" is of
    several. So two parts of one corpus are from the same, disjoint or not, and so are data that are
    only described ("text pairs").
    """
    found: set[str] = set()
    for name in datasets:
        found |= _known(name)
        for piece in JOINED.split(re.split(r"[,(:]", name)[0]):
            found |= _known(piece) or {_own(piece)}
    return frozenset(found - {""})


def _known(name: str) -> set[str]:
    plain = _plain(name)
    tasks = {task for _, task in target_data([name])}
    return tasks | {corpus for part, corpus in KNOWN.items() if part in plain}


def _own(name: str) -> str:
    """Return a name without owner, version and part; as it is where nothing would be left.

    The owner of a Hub id stands before the slash; elsewhere a version or a part may follow it.
    """
    for piece in reversed(name.split("/")):
        words = re.split(r"[\s_-]+", piece.strip().casefold())
        kept = [word for word in words if not QUALIFIER.fullmatch(word)]
        if plain := VERSION.sub("", _plain("".join(kept))):
            return SHORT.get(plain, plain)
    return _plain(name)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
