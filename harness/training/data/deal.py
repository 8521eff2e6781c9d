"""Chooses the items that are trained on, and the language of each, by hash and not by a run's seed.

Two cards over the same parallel items choose the same items, so that checkpoints trained with them
differ only in the languages of their data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256


def deal(available: Mapping[str, Sequence[str]], seed: int) -> dict[str, str]:
    """Return item → one of the languages that it is available in, spread as evenly as possible.

    Items with the fewest languages come first, and among these the hash of seed and name decides.
    Each takes the language that the fewest items have so far; among equals, the first one listed.
    """
    order = sorted(available, key=lambda item: (len(available[item]), _key(f"{seed}:{item}")))
    counts: Counter[str] = Counter()
    dealt: dict[str, str] = {}
    for item in order:
        dealt[item] = min(available[item], key=lambda lang: counts[lang])
        counts[dealt[item]] += 1
    return {item: dealt[item] for item in available}


def choose(items: Sequence[str], most: int | None) -> list[int]:
    """Return the positions, in order, of the ``most`` items whose names have the lowest hashes."""
    if most is None or most >= len(items):
        return list(range(len(items)))
    ranked = sorted(range(len(items)), key=lambda position: (_key(items[position]), position))
    return sorted(ranked[:most])


def _key(text: str) -> str:
    return sha256(text.encode()).hexdigest()
