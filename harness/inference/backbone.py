"""Runs a checkpoint's encoder layers, and takes the hidden states between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.checkpoint.guard import refusing
from harness.checkpoint.layers import depth, encoder_layers, max_positions, texts_first
from harness.checkpoint.loading import load_encoder
from harness.checkpoint.tokenizer import Tokenizer
from harness.errors import RefusedError
from harness.inference.batching import on_device, pad_id
from harness.inference.probe import UNTRIED, Ids, check_layers, probe_ids
from harness.inference.sequences import flat, padded
from harness.inference.token_ids import cutting
from harness.inference.token_types import single_types

if TYPE_CHECKING:
    import torch

    from harness.checkpoint.resolve import Checkpoint
    from harness.inference.protocol import Dtype


class _LayerReached(Exception):
    """Leaves the forward pass: the layers above are not computed."""


class Backbone:
    """A checkpoint's encoder, loaded at first use and shared by the encoders of several tasks.

    A run that finds all its vectors in the store never loads it. Layers above ``top`` are dropped
    once their weights have been checked, and ``layers`` (``top`` by default) to be the ones that
    transformers names.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        dtype: Dtype,
        device: str,
        top: int,
        layers: Sequence[int] = (),
    ) -> None:
        self.checkpoint = checkpoint
        self.dtype = dtype
        self.device = device
        self.top = top
        self.layers = sorted(set(layers)) or [top]
        self._loaded: tuple[Any, Tokenizer] | None = None

    def load(self) -> tuple[Any, Tokenizer]:
        """Return the model in eval mode and its tokenizer.

        Raises:
            RefusedError: as ``load_encoder``, or its layers are not what they are said to be.
        """
        if self._loaded is None:
            model, tokenizer = load_encoder(self.checkpoint, dtype=self.dtype, device=self.device)
            with refusing(self.checkpoint, UNTRIED):
                self._check_layers(model, tokenizer)
            # The layer above is kept because its input is hidden_states[top].
            del encoder_layers(model)[self.top + 1 :]
            self._loaded = model, tokenizer
        return self._loaded

    def _check_layers(self, model: Any, tokenizer: Any) -> None:
        import torch

        deepest = depth(model)
        layers = sorted({min(layer, deepest) for layer in self.layers})
        few = [
            first for first, _ in probe_ids(cutting(tokenizer), max_positions(model, tokenizer))[:3]
        ]
        inputs, mask = pad(few, pad_id(tokenizer), self.device)
        types = typed(model, tokenizer, few, self.device)
        with torch.inference_mode():
            found = dict(hidden_states(model, inputs, mask, layers, **types))
            whole = model(input_ids=inputs, attention_mask=mask, output_hidden_states=True, **types)
            check_layers(found, whole.hidden_states, mask, deepest, type(model).__name__)


def pad(ids: Sequence[Ids], padding: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the input ids and attention mask, int64[n, longest], padded on the right."""
    inputs, _, mask = padded(flat(ids, None), np.arange(len(ids)), padding)
    return on_device(inputs, device), on_device(mask, device)


def typed(
    model: Any, tokenizer: Tokenizer, ids: Sequence[Ids], device: str
) -> dict[str, torch.Tensor]:
    """Return the types of a batch's tokens as a keyword of the model; empty where it needs none."""
    types = single_types(model, tokenizer, [len(row) for row in ids])
    return {} if types is None else {"token_type_ids": on_device(types, device)}


def hidden_states(
    model: Any,
    inputs: torch.Tensor,
    mask: torch.Tensor | None,
    layers: Sequence[int],
    **types: torch.Tensor,
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield ``(k, hidden_states[k])`` for the ascending ``layers``; nothing above the last is
    computed.

    ``mask``: None for a batch without padding, for which attention takes the faster kernel.
    ``types``: ``token_type_ids`` of a model that is told them, or nothing.
    ``hidden_states[k]`` is what transformers means by it: for k below the depth what layer k + 1
    is given, before any final norm; at the depth, the model's own last hidden state. Layers are
    counted by their calls, since an architecture may call one several times (ALBERT).

    Raises:
        RefusedError: a layer was never called, or is not given [texts, tokens, width].
    """
    deepest = depth(model)
    taken: dict[int, torch.Tensor] = {}
    wanted, top = set(layers), layers[-1]
    calls = count()

    def take(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        layer = next(calls)
        if layer in wanted:
            hidden = args[0] if args else kwargs["hidden_states"]
            taken[layer] = texts_first(model, hidden, inputs.shape[1])
        if layer == top:
            raise _LayerReached

    handles = [
        block.register_forward_pre_hook(take, with_kwargs=True)
        for block in set(encoder_layers(model))
    ]
    try:
        output = model(input_ids=inputs, attention_mask=mask, **types)
        if top == deepest:
            taken[deepest] = output.last_hidden_state
    except _LayerReached:
        pass
    finally:
        for handle in handles:
            handle.remove()
    for layer in layers:
        _check_shape(model, layer, taken.get(layer), inputs)
        yield layer, taken[layer]


def _check_shape(model: Any, layer: int, hidden: Any, inputs: torch.Tensor) -> None:
    name = type(model).__name__
    if hidden is None:
        raise RefusedError(
            f"layer {layer + 1} of {name} is never called as a module: what it is given, which is "
            f"hidden_states[{layer}], cannot be had"
        )
    shape = getattr(hidden, "shape", ())
    if len(shape) != 3 or shape[:2] != inputs.shape:
        raise RefusedError(
            f"hidden_states[{layer}] of {name} is {list(shape)} for {inputs.shape[0]} texts of "
            f"{inputs.shape[1]} tokens, not [texts, tokens, width]"
        )
