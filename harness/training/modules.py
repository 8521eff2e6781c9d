"""The torch modules of a training: the encoder with all tasks, and the dual encoder with its loss.

This module imports torch, so it is imported where a model is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

SCALE = 100.0  # the factor on cosines with which XTREME-R's dual encoder begins


class Trained(torch.nn.Module):
    """``tasks[name]`` gives the loss of a batch of that task."""

    def __init__(self, encoder: Any, tasks: Mapping[str, torch.nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.tasks = torch.nn.ModuleDict(tasks)

    def forward(self, task: str, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        loss: torch.Tensor = self.tasks[task](**inputs)["loss"]
        return loss


class DualEncoder(torch.nn.Module):
    """One encoder for queries and texts; mean of the last hidden state, L2-normalised."""

    def __init__(self, encoder: Any, *, symmetric: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.symmetric = symmetric
        self.scale = torch.nn.Parameter(torch.tensor(SCALE))

    def embed(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        hidden = self.encoder(**inputs).last_hidden_state.float()
        weights = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(mean, dim=-1)

    def forward(self, *, whole: bool = True, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the loss. ``whole``: this process has the whole batch, not a part of it."""
        query, text = (
            self.embed(
                {
                    name.removeprefix(side): tensor
                    for name, tensor in inputs.items()
                    if name.startswith(side) and name != f"{side}ids"
                }
            )
            for side in ("query_", "text_")
        )
        world, scale = 1, 1.0 * self.scale
        query_ids, text_ids = inputs["query_ids"], inputs["text_ids"]
        if not whole:
            world = torch.distributed.get_world_size()
            query, text = gathered(query), gathered(text)
            query_ids, text_ids = gathered(query_ids), gathered(text_ids)
            # Every process computes the whole gradient of the scale, which is then averaged.
            scale = scale.detach() + (scale - scale.detach()) / world
        loss = in_batch_loss(query, text, query_ids, text_ids, scale, symmetric=self.symmetric)
        # Every process computes the whole loss, but only its own part of the gradient. The
        # parts are averaged where their sum is needed; this multiplies the gradient by the
        # number of processes and leaves the value as it is.
        return {"loss": loss + (world - 1) * (loss - loss.detach())}


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes; gradients flow through the rows of this process."""
    parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, tensor.detach().contiguous())
    parts[torch.distributed.get_rank()] = tensor
    return torch.cat(parts)


def in_batch_loss(
    query: torch.Tensor,
    text: torch.Tensor,
    query_ids: torch.Tensor,
    text_ids: torch.Tensor,
    scale: torch.Tensor,
    *,
    symmetric: bool,
) -> torch.Tensor:
    """Return the mean cross-entropy of each query's own text among all texts of the batch.

    ``query``, ``text``: float32[n, d], normalised; ``query_ids``, ``text_ids``: int64[n];
    ``scale``: the factor on cosines. The text of another row is no negative where it is the same
    text, or belongs to the same query (equal ids). With ``symmetric``, the result is the mean of
    this loss and of the loss of each text's own query among all queries. It is computed in float32
    under autocast too.
    """
    same = (query_ids[:, None] == query_ids) | (text_ids[:, None] == text_ids)
    right = torch.arange(len(query), device=query.device)
    same[right, right] = False
    # In bfloat16 cosines near 1 are 0.004 apart, and the scale turns that into 0.4.
    with torch.autocast(query.device.type, enabled=False):
        scores = (scale * (query @ text.T)).masked_fill(same, float("-inf"))
        loss = torch.nn.functional.cross_entropy(scores, right)
        if symmetric:
            loss = (loss + torch.nn.functional.cross_entropy(scores.T, right)) / 2
    return loss
