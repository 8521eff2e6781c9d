"""Items spread over languages."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness.training.data.deal import choose, deal


def test_the_item_with_one_language_goes_first() -> None:
    dealt = deal({"a": ["en", "de"], "b": ["en"], "c": ["en", "de"], "d": ["en", "de"]}, seed=0)
    assert dealt["b"] == "en"
    assert Counter(dealt.values()) == {"en": 2, "de": 2}


def test_the_order_of_items_is_kept_and_the_seed_decides() -> None:
    available = {str(number): ["en", "de", "zh"] for number in range(60)}
    dealt = deal(available, seed=0)
    assert list(dealt) == list(available)
    assert deal(dict(reversed(available.items())), seed=0) == dealt
    assert deal(available, seed=1) != dealt


@given(st.integers(1, 200), st.integers(1, 7), st.integers(0, 5))
def test_items_in_every_language_are_spread_evenly(items: int, langs: int, seed: int) -> None:
    names = [f"l{number}" for number in range(langs)]
    counts = Counter(deal({str(item): names for item in range(items)}, seed).values())
    assert sum(counts.values()) == items
    assert max(counts.values()) - min(counts.get(name, 0) for name in names) <= 1


def test_the_same_items_are_chosen_wherever_they_stand() -> None:
    items = [f"q{number}" for number in range(100)]
    chosen = {items[at] for at in choose(items, 10)}
    turned = items[::-1]
    assert len(chosen) == 10
    assert {turned[at] for at in choose(turned, 10)} == chosen
    assert chosen <= {items[at] for at in choose(items, 20)}
    assert choose(items, 10) == sorted(choose(items, 10))
    assert choose(items, None) == choose(items, 500) == list(range(100))
