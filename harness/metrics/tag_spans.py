"""Spans in a sequence of tags, as seqeval finds them (version 0.0.12, which XTREME used).

The rule is that of conlleval, and lenient: an ``I-`` without a ``B-`` before it opens a span, and
so does a change of the type. A tag has a letter (its first one, which says where in a span the
word is: B, I, E, S, or O for none) and a type (what is behind its last hyphen; without a hyphen
the whole tag). UPOS tags have no hyphen, so that their first letter is taken for the prefix: equal
neighbours are one span, but SCONJ and SYM are always single. Versions from 1.0 on take the first
letter off the type, and CCONJ and SCONJ are then the same.
"""

from __future__ import annotations

from collections.abc import Sequence

Span = tuple[str, int, int]  # type, first word, last word
OUTSIDE = "O"


def spans(tags: Sequence[str]) -> frozenset[Span]:
    """The spans of one sentence. Raises ValueError for an empty tag."""
    found: list[Span] = []
    letter, kind, first = OUTSIDE, "", 0
    for place, tag in enumerate((*tags, OUTSIDE)):
        if not tag:
            raise ValueError(f"word {place} has an empty tag")
        next_letter, next_kind = tag[0], tag.rpartition("-")[2]
        changed = kind != next_kind
        if _ends(letter, next_letter) or (changed and letter not in "O."):
            found.append((kind, first, place - 1))
        if _starts(letter, next_letter) or (changed and next_letter not in "O."):
            first = place
        letter, kind = next_letter, next_kind
    return frozenset(found)


def _ends(letter: str, following: str) -> bool:
    """Whether a span ends between two words, whatever their types are."""
    return letter in "ES" or (letter in "BI" and following in "BSO")


def _starts(letter: str, following: str) -> bool:
    """Whether a span begins between two words, whatever their types are."""
    return following in "BS" or (letter in "ESO" and following in "EI")
