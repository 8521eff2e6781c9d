"""Pooling: hidden states of a batch → one vector per text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from harness.checkpoint.native import Dense


def mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over attended tokens, special tokens included."""
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(1) / weights.sum(1)


def cls(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The first token's hidden state."""
    return hidden[:, 0]


def maximum(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Maximum over attended tokens, dimension by dimension."""
    return hidden.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(1)


def last(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The last attended token's hidden state (padding is on the right)."""
    rows = mask.sum(1) - 1
    return hidden.gather(1, rows.view(-1, 1, 1).expand(-1, 1, hidden.shape[-1])).squeeze(1)


POOLING: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mean": mean,
    "cls": cls,
    "max": maximum,
    "last": last,
}


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """float32[n, d] from ``hidden`` [n, tokens, d] and ``mask`` [n, tokens] (1 = attended)."""
    return POOLING[pooling](hidden.float(), mask)


def build_steps(
    steps: Sequence[Dense | Literal["normalize"]], device: str
) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """What follows the pooling, in order: dense layers (weights read) and L2 normalisation."""
    return [normalize if isinstance(step, str) else _dense(step, device) for step in steps]


def normalize(pooled: torch.Tensor) -> torch.Tensor:
    """Each vector divided by its L2 norm."""
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
    return lambda pooled: activation(torch.nn.functional.linear(pooled, weight, bias))
