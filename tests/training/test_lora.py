"""Which adapters a training has: what its cards declare, and what is asked for."""

from __future__ import annotations

import pytest

from harness.cards.training import IntermediateCard, LoraRecipe, read_intermediate
from harness.errors import UsageError
from harness.training.lora import adapters

EARLY = LoraRecipe(layers=[0, 3], rank=16, alpha=32)
WIDE = LoraRecipe(rank=64, alpha=32)


def cards(*recipes: LoraRecipe | None) -> list[IntermediateCard]:
    card = read_intermediate("demo_pairs_en")
    return [card.model_copy(update={"lora": recipe}) for recipe in recipes]


@pytest.mark.parametrize(
    ("declared", "asked", "layers", "expected"),
    [
        ((None,), False, None, None),
        ((None, None), False, None, None),
        ((None,), True, None, LoraRecipe()),
        ((None, None), False, "1-2", LoraRecipe(layers=[1, 2])),
        ((EARLY,), False, None, EARLY),
        ((EARLY,), True, None, EARLY),
        ((EARLY, EARLY), False, None, EARLY),
        ((WIDE,), False, "2", LoraRecipe(layers=[2, 2], rank=64, alpha=32)),
        ((None, EARLY), True, None, EARLY),
    ],
)
def test_by_card_and_by_option(
    declared: tuple[LoraRecipe | None, ...],
    asked: bool,
    layers: str | None,
    expected: LoraRecipe | None,
) -> None:
    assert adapters(cards(*declared), asked=asked, layers=layers) == expected


@pytest.mark.parametrize(
    ("declared", "asked", "remedy"),
    [
        ((EARLY, None), False, "give --lora"),
        ((None, EARLY), False, "give --lora"),
        ((EARLY, WIDE), False, "one after the other"),
        ((EARLY, WIDE), True, "one after the other"),
    ],
)
def test_one_encoder_has_one_kind_of_adapters(
    declared: tuple[LoraRecipe | None, ...], asked: bool, remedy: str
) -> None:
    with pytest.raises(UsageError, match=remedy):
        adapters(cards(*declared), asked=asked, layers=None)
