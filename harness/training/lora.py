"""Targeted LoRA: adapters on chosen layers of the encoder, merged into its weights at the end."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

from harness.cards.training import IntermediateCard, LoraRecipe
from harness.checkpoint.layers import depth, encoder_layers
from harness.errors import RefusedError, UsageError


def parse_layers(text: str) -> list[int]:
    """Read ``0-3`` or ``2`` as the first and the last layer. UsageError for any other text."""
    match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", text.strip())
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise UsageError(f"--lora-layers {text}: give the first and the last layer, such as 0-3")
    return [int(match[1]), int(match[2] or match[1])]


def adapters(
    cards: Sequence[IntermediateCard], *, asked: bool, layers: str | None
) -> LoraRecipe | None:
    """Return the adapters of a training; None where all weights are trained.

    ``asked``: whether adapters are to be trained whatever the cards say. ``layers``: on which ones,
    in place of the cards' own; this asks for adapters too.

    Raises:
        UsageError: ``layers`` is no range, or the tasks of one encoder have different adapters.
    """
    declared = [card.lora for card in cards]
    known = [recipe for recipe in declared if recipe is not None]
    forced = asked or layers is not None
    together = known if forced else declared
    if any(recipe != together[0] for recipe in together):
        names = ", ".join(card.name for card in cards if card.lora is not None)
        same = all(recipe == known[0] for recipe in known)
        remedy = "give --lora for all of them" if same else "train one after the other"
        raise UsageError(f"tasks with different recipes (adapters of {names}): {remedy}")
    if layers is not None:
        recipe = known[0] if known else LoraRecipe()
        return recipe.model_copy(update={"layers": parse_layers(layers)})
    return known[0] if known else LoraRecipe() if asked else None


def adapted(encoder: Any, recipe: LoraRecipe, *, seed: int) -> Any:
    """Put adapters into the encoder, in place, and freeze its other weights.

    The result is what ``merge`` takes.

    Raises:
        UsageError: the encoder does not have these layers.
        RefusedError: the layers have no linear module.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    first, last = recipe.layers or (0, depth(encoder) - 1)
    layers = encoder_layers(encoder)
    if last >= len(layers):
        raise UsageError(f"layers {first}-{last} of {len(layers)}: they are numbered from 0")
    chosen = {
        id(module)
        for layer in list(layers)[first : last + 1]
        for module in layer.modules()
        if isinstance(module, torch.nn.Linear)
    }
    targets = [name for name, module in encoder.named_modules() if id(module) in chosen]
    if not targets:
        raise RefusedError("its layers have no linear modules that an adapter could sit on")
    options = LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=0.0, target_modules=targets
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft asks transformers for a function by its old name.
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(seed)
        wrapped = get_peft_model(encoder, options)
    # A pooler belongs to the head and may be fresh too, so it is trained.
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler.requires_grad_(True)
    return wrapped


def merge(wrapped: Any) -> None:
    """Add the adapters into the weights, in place; after that the encoder has no adapters."""
    wrapped.merge_and_unload().requires_grad_(True)
