"""Forms batches: rows are sorted by length, and a token budget bounds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from harness.errors import IncompleteError, is_out_of_memory

if TYPE_CHECKING:
    import torch

    from harness.checkpoint.tokenizer import Tokenizer

Result = TypeVar("Result")

# What a forward pass costs beside its tokens, as a share of the budget that suits the device: about
# 32 tokens of 2,048 on a CPU (six layers 384 wide).
OVERHEAD = 1 / 64
BATCH_TOKENS = {"cpu": 2_048, "cuda": 131_072, "mps": 32_768}


def distinct(texts: Sequence[str]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return the distinct texts in order of first appearance, and where each text is among them.

    Returns ``(unique, inverse)`` with ``texts[i] == unique[inverse[i]]``; ``inverse`` is int64[n].
    """
    position: dict[str, int] = {}
    inverse = np.empty(len(texts), dtype=np.int64)
    for row, text in enumerate(texts):
        inverse[row] = position.setdefault(text, len(position))
    return list(position), inverse


def token_batches(
    lengths: Sequence[int] | npt.NDArray[np.int64], budget: int, *, one_length: bool = False
) -> list[npt.NDArray[np.int64]]:
    """Return the row indices batch by batch, longest rows first, so that a batch too large shows at
    once.

    ``lengths``: tokens per row. A batch of n rows costs n × its longest row (padding included) and
    stays within ``budget`` tokens; a row longer than the budget is a batch of its own. Within the
    budget a batch ends where it costs least per real token, padding and ``OVERHEAD`` counted: most
    batches are of one length, and none of them is small. ``one_length``: every batch is, for models
    that read padding. The result depends on ``lengths`` alone, so an interrupted run forms the same
    batches again.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    ordered = np.maximum(sizes[order], 1)
    batches: list[npt.NDArray[np.int64]] = []
    start = 0
    while start < len(order):
        longest = int(ordered[start])
        stop = start + max(budget // longest, 1)
        if one_length:
            stop = min(stop, int(np.searchsorted(-ordered, -longest, side="right")))
        real = np.cumsum(ordered[start:stop])
        costs = (budget * OVERHEAD + longest * np.arange(1, len(real) + 1)) / real
        rows = int(np.argmin(costs)) + 1
        batches.append(order[start : start + rows])
        start += rows
    return batches


def halving(
    rows: npt.NDArray[np.int64], forward: Callable[[npt.NDArray[np.int64]], Result]
) -> Iterator[tuple[npt.NDArray[np.int64], Result]]:
    """Call ``forward`` with ``rows``; when memory runs out, with each half instead.

    Yields ``(rows, result)`` parts in order.

    Raises:
        IncompleteError: a single row does not fit into memory.
    """
    try:
        yield rows, forward(rows)
        return
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if len(rows) == 1:
            raise IncompleteError(
                "out of memory on a batch of one row: use a shorter length, a smaller dtype or "
                "another device"
            ) from error
    _release_memory()
    middle = len(rows) // 2
    yield from halving(rows[:middle], forward)
    yield from halving(rows[middle:], forward)


def budget(device: str) -> int:
    """Return the tokens of a batch that suit a device."""
    return BATCH_TOKENS.get(device.split(":")[0], 8_192)


def pad_id(tokenizer: Tokenizer) -> int:
    """Return the padding token's id; a tokenizer without one takes eos (padding is masked
    anyway).
    """
    return tokenizer.special.get("pad_token", tokenizer.special.get("eos_token", 0))


def on_device(array: npt.NDArray[np.int64], device: str) -> torch.Tensor:
    """Return a batch's numbers as a tensor on ``device``; to a GPU from pinned memory, without
    waiting.
    """
    import torch

    tensor = torch.from_numpy(array)
    if device.startswith("cuda"):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _release_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
