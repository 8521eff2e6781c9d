"""Word pairs of a bitext: the words that translate each other, by how they occur together.

Tatoeba, as LASER cut it, has no single words: every English side has three or more. What its pairs
do hold are words that keep turning up together.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from harness.cards.languages import read_languages
from harness.data.examples import Bitext

# With these, 228 of the 235 German word pairs of Tatoeba are translations (read by hand).
TIMES = 2  # pairs of sentences that hold both words
DICE = 0.75
UNSPACED = frozenset({"Hani", "Jpan", "Khmr", "Laoo", "Mymr", "Thai", "Tibt"})  # ISO 15924
JOINERS = "'’-\u200c\u200d"  # part of a word inside it: don't, well-known, Persian می‌روم


def has_spaces(lang: str) -> bool:
    """Whether the language is written with spaces between words (Vietnamese: between syllables)."""
    return read_languages()[lang].script not in UNSPACED


def words(text: str) -> list[str]:
    """The words of a text in order: runs of letters, marks and digits with at least one letter."""
    kept = (c if c in JOINERS or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    found = (word.strip(JOINERS) for word in "".join(kept).split())
    return [word for word in found if any(c.isalpha() for c in word)]


def word_pairs(bitext: Bitext) -> Bitext:
    """The words of a bitext that translate each other, one pair a word, by English word.

    A pair is kept where each word is the other's best by Dice's coefficient, 2 n(e, x) / (n(e) +
    n(x)) over distinct pairs of sentences, without a tie, at least 0.75, and they occur together
    in 2 pairs of sentences or more (Dice 1945; mutual best as in Melamed 2000). Nothing of a
    checkpoint is in it. A pair of equal words, such as most names, is left out: its cosine is 1
    whatever the model. A word is written as it most often is inside a sentence.
    """
    pairs = list(dict.fromkeys(zip(bitext.english, bitext.source, strict=True)))
    english, english_forms = _vocabulary(pair[0] for pair in pairs)
    source, source_forms = _vocabulary(pair[1] for pair in pairs)
    count_e = Counter(word for held in english for word in held)
    count_x = Counter(word for held in source for word in held)
    together = Counter(
        (e, x) for left, right in zip(english, source, strict=True) for e in left for x in right
    )
    dice = {(e, x): 2 * n / (count_e[e] + count_x[x]) for (e, x), n in together.items()}
    best_e = _only_best((e, x, value) for (e, x), value in dice.items())
    best_x = _only_best((x, e, value) for (e, x), value in dice.items())
    kept = sorted(
        (english_forms[e], source_forms[x])
        for e, x in best_e.items()
        if best_x.get(x) == e and together[e, x] >= TIMES and dice[e, x] >= DICE and e != x
    )
    return Bitext(bitext.lang, tuple(x for _, x in kept), tuple(e for e, _ in kept))


def _vocabulary(texts: Iterable[str]) -> tuple[list[set[str]], dict[str, str]]:
    """The words of each text, case folded, and how each is usually written."""
    held: list[set[str]] = []
    first: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    for text in texts:
        found: Sequence[str] = words(text)
        first.update(found[:1])  # a sentence's first word has a capital of its own
        inside.update(found[1:])
        held.append({word.casefold() for word in found})
    ascending = sorted({*first, *inside}, key=lambda form: (inside[form], first[form], form))
    return held, {form.casefold(): form for form in ascending}


def _only_best(scored: Iterable[tuple[str, str, float]]) -> dict[str, str]:
    """Each word's best partner; a word whose best place is tied has none."""
    best: dict[str, tuple[float, str | None]] = {}
    for word, partner, value in scored:
        top = best.get(word, (0.0, None))[0]
        if value > top:
            best[word] = value, partner
        elif value == top:
            best[word] = value, None
    return {word: partner for word, (_, partner) in best.items() if partner is not None}
