"""Pools the hidden states of a batch → one vector per text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from harness.checkpoint.native import Dense, Step, Truncate
from harness.errors import RefusedError

if TYPE_CHECKING:
    import torch


def mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over attended tokens, special tokens included."""
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(1) / weights.sum(1)


def cls(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the first token's hidden state."""
    return hidden[:, 0]


def maximum(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the maximum over attended tokens, dimension by dimension."""
    return hidden.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(1)


def last(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the last attended token's hidden state (padding is on the right)."""
    rows = mask.sum(1) - 1
    return hidden.gather(1, rows.view(-1, 1, 1).expand(-1, 1, hidden.shape[-1])).squeeze(1)


POOLING: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mean": mean,
    "cls": cls,
    "max": maximum,
    "last": last,
}


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Return float32[n, d] from ``hidden`` [n, tokens, d] and ``mask`` [n, tokens] (1 =
    attended).
    """
    return POOLING[pooling](hidden.float(), mask)


def build_steps(steps: Sequence[Step], device: str) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """Return what follows the pooling, in order; the weights of dense layers are read."""
    return [_function(step, device) for step in steps]


def _function(step: Step, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
    if isinstance(step, Dense):
        return _dense(step, device)
    if isinstance(step, Truncate):
        return partial(truncate, dimensions=step.dimensions)
    return normalize


def truncate(pooled: torch.Tensor, *, dimensions: int) -> torch.Tensor:
    """Return the first ``dimensions`` of each vector, or all where it has no more."""
    return pooled[..., :dimensions]


def normalize(pooled: torch.Tensor) -> torch.Tensor:
    """Return each vector divided by its L2 norm."""
    import torch

    return torch.nn.functional.normalize(pooled, dim=-1)


def _dense(step: Dense, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch
    from safetensors.torch import load_file

    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "identity": lambda x: x,
        "tanh": torch.tanh,
        "relu": torch.relu,
        "gelu": torch.nn.functional.gelu,
        "sigmoid": torch.sigmoid,
    }
    activation = functions[step.activation]
    weights = load_file(step.folder / "model.safetensors", device=device)
    weight = weights["linear.weight"].float()
    bias = weights["linear.bias"].float() if step.bias else None

    def apply(pooled: torch.Tensor) -> torch.Tensor:
        if pooled.shape[-1] != step.in_features:
            raise RefusedError(
                f"{step.folder.name} takes {step.in_features} features, and the vectors before it "
                f"have {pooled.shape[-1]}: the native protocol cannot be followed"
            )
        return activation(torch.nn.functional.linear(pooled, weight, bias))

    return apply
