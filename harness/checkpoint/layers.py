"""Finds the transformer layers of a loaded model, its depth, and the tokens that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import RefusedError

if TYPE_CHECKING:
    import torch

    from harness.checkpoint.tokenizer import Tokenizer

# Model type that uses its layers several times → the key with the number of these layers.
SHARED: Mapping[str, str] = {"albert": "num_hidden_groups"}
# The layers of these take [tokens, texts, width].
TOKENS_FIRST = frozenset({"xlnet"})
# These pad a batch to a multiple of their window before the first layer.
PADS_FURTHER = frozenset({"longformer"})


def encoder_layers(model: Any) -> torch.nn.ModuleList:
    """Return the list of transformer layers of a base model, or of a model with a head.

    It is the outermost module list whose length is the depth of the model. In an encoder-decoder
    model only the encoder is searched. Where layers are shared (ALBERT) the list is shorter, and
    each of its modules is called several times, in order.

    Raises:
        RefusedError: there is no such list, or more than one: the architecture is not a plain
            stack.
    """
    import torch

    name = getattr(model, "encoder_layers_name", None) or layers_name(model)
    layers = model.get_submodule(name)
    assert isinstance(layers, torch.nn.ModuleList)
    return layers


def depth(model: Any) -> int:
    """Return the number of transformer layers of the encoder, as configured."""
    return int(model.config.get_text_config(decoder=False).num_hidden_layers)


def max_positions(model: Any, tokenizer: Tokenizer) -> int | None:
    """Return the most tokens per text, special ones included, that model and tokenizer take."""
    bounds = [] if (bound := position_limit(model)) is None else [bound]
    if tokenizer.model_max_length is not None:
        bounds.append(tokenizer.model_max_length)
    return min(bounds, default=None)


def position_limit(model: Any) -> int | None:
    """Return the most tokens, special ones included, that the model has positions for, or None.

    Learned positions are bounded by their number, less those up to the padding index, which models
    like RoBERTa do not use. Rotary ones are bounded by ``max_position_embeddings``. Relative ones
    have no bound: T5 has no such key, and XLNet says -1.
    """
    import torch

    bounds = []
    positions = getattr(
        model.config.get_text_config(decoder=False), "max_position_embeddings", None
    )
    if isinstance(positions, int) and positions > 0:
        bounds.append(positions)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            bounds.append(module.num_embeddings - offset)
    return min(bounds, default=None)


def layers_name(model: Any) -> str:
    """Return the name of the list of `encoder_layers` among the model's modules."""
    import torch

    shared = SHARED.get(model.config.model_type)
    wanted = int(getattr(model.config, shared)) if shared else depth(model)
    names = [
        str(name)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == wanted
    ]
    outer = [n for n in names if not any(n.startswith(f"{other}.") for other in names)]
    if model.config.is_encoder_decoder and len(outer) > 1:
        outer = [name for name in outer if "decoder" not in name.split(".")]
    shallowest = min((name.count(".") for name in outer), default=0)
    found = [name for name in outer if name.count(".") == shallowest]
    if len(found) != 1:
        raise RefusedError(
            f"{type(model).__name__} is not a plain stack of {wanted} layers "
            f"({len(found)} lists of that length): no layer can be named"
        )
    return found[0]


def texts_first(model: Any, hidden: torch.Tensor, tokens: int) -> torch.Tensor:
    """Return the input of a layer as [texts, tokens, width], whatever form the architecture has.

    ``tokens``: the tokens per text of the batch, padding included.
    """
    kind = model.config.model_type
    if kind in TOKENS_FIRST:
        hidden = hidden.transpose(0, 1)
    return hidden[:, :tokens] if kind in PADS_FURTHER else hidden
