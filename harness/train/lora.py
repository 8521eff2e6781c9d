"""Targeted LoRA: adapters on chosen layers of the encoder, merged into its weights at the end."""

from __future__ import annotations

import re
from typing import Any

from harness.errors import RefusedError, UsageError
from harness.layers import depth, encoder_layers
from harness.train.cards import LoraRecipe


def parse_layers(text: str) -> tuple[int, int]:
    """``0-3`` or ``2`` → the first and the last layer. UsageError for anything else."""
    match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", text.strip())
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise UsageError(f"--lora-layers {text}: give the first and the last layer, such as 0-3")
    return int(match[1]), int(match[2] or match[1])


def adapted(encoder: Any, recipe: LoraRecipe, *, seed: int) -> Any:
    """Put adapters into the encoder, in place, and freeze all else of it; for ``merge``.

    Raises:
        RefusedError: peft is not installed. UsageError: layers that the encoder does not have.
    """
    import torch

    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise RefusedError("--lora needs peft: pip install 'xharness[train]'") from error
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
    options = LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=0.0, target_modules=targets
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(encoder, options)


def merge(wrapped: Any) -> None:
    """Add the adapters into the weights, in place: the encoder is a plain one again."""
    merged = wrapped.merge_and_unload()
    # peft leaves a note of itself behind, which would go into the saved configuration.
    for name in ("peft_config", "_hf_peft_config_loaded"):
        if name in vars(merged):
            delattr(merged, name)
    merged.requires_grad_(True)
