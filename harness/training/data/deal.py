"""Which items are trained on, and in which language: by hash, never by a run's seed.

Two cards over the same parallel items choose the same ones, so that variants differ in the
languages alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256


def deal(available: Mapping[str, Sequence[str]], seed: int) -> dict[str, str]:
    """Item → one of the languages that it is available in, spread as evenly as these allow.

    Items with the fewest languages choose first, then by the hash of seed and name; each takes the
    language that the fewest have so far, the first in the order given among equals.
    """
    order = sorted(available, key=lambda item: (len(available[item]), _key(f"{seed}:{item}")))
    counts: Counter[str] = Counter()
    dealt: dict[str, str] = {}
    for item in order:
        dealt[item] = min(available[item], key=lambda lang: counts[lang])
        counts[dealt[item]] += 1
    return {item: dealt[item] for item in available}


def choose(items: Sequence[str], most: int | None) -> list[int]:
    """Positions of at most ``most`` items, in order: those whose names' hashes are the lowest."""
    if most is None or most >= len(items):
        return list(range(len(items)))
    ranked = sorted(range(len(items)), key=lambda position: (_key(items[position]), position))
    return sorted(ranked[:most])


def _key(text: str) -> str:
    return sha256(text.encode()).hexdigest()
