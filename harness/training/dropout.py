"""Dropout that is fast on a CPU, and attention with it that keeps few probabilities.

torch draws a number for every value, one after the other, and its attention with dropout keeps
three matrices of probabilities for the backward pass. Besides matrix products, most of the time of
a training step on a CPU is spent on these two. Here four values share 64 random bits. Attention
takes a few rows of a batch at a time. Where a layer has many probabilities, it keeps only which of
them were dropped, one byte each, and computes them again in the backward pass (as FlashAttention
does, Dao et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

DRAWS = 1 << 16  # a draw has 16 bits, so a probability is a multiple of 2^-16
SAVED = 1 << 23  # So many probabilities (32 MiB) of a layer are saved for the backward pass.
CELLS = 1 << 19  # So many probabilities (2 MiB) are computed at a time, but always a whole row.


class QuickDropout(TorchFunctionMode):
    """A context in which this module does dropout, and attention with dropout, on a CPU.

    It does so for float32 and bfloat16 tensors; attention over bfloat16 is computed in float32.
    torch does everything else: other types and devices, attention that autocast has to cast,
    attention without dropout, causal or grouped attention, and a mask that has a gradient or
    leaves a row without a key. The draws depend on torch's random state alone.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        quick = QUICK.get(func)
        found = None if quick is None else quick(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if found is None else found


def dropout(
    input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> torch.Tensor | None:
    """Do ``torch.nn.functional.dropout`` on float32 or bfloat16[...]; None: torch must do it."""
    if not training or inplace or not _suits(input) or not _drawable(p):
        return None
    result: torch.Tensor = _Dropout.apply(input, p)  # type: ignore[no-untyped-call]
    return result


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor | None:
    """Do ``torch.nn.functional.scaled_dot_product_attention``; None where torch must do it.

    ``query``: float32 or bfloat16[batch, heads, length, size]; ``key``, ``value``: as many heads;
    ``attn_mask``: bool (True: attends) or float32 (is added), broadcast to
    [batch, heads, length, keys].
    """
    tensors = (query, key, value)
    if is_causal or enable_gqa or not _drawable(dropout_p):
        return None
    if not all(tensor.dim() == 4 and _suits(tensor) for tensor in tensors):
        return None
    if len({(tensor.dtype, tensor.shape[:2]) for tensor in tensors}) > 1:
        return None
    if query.dtype == torch.float32 and torch.is_autocast_enabled("cpu"):
        return None
    if attn_mask is not None and not _maskable(attn_mask):
        return None
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    result: torch.Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        *tensors, attn_mask, dropout_p, factor
    )
    return result


QUICK: Mapping[Callable[..., Any], Callable[..., torch.Tensor | None]] = {
    functional.dropout: dropout,
    functional.scaled_dot_product_attention: attention,
}


def _suits(tensor: torch.Tensor) -> bool:
    return (
        tensor.dtype in (torch.float32, torch.bfloat16)
        and tensor.device.type == "cpu"
        and tensor.numel() > 0
    )


def _drawable(p: float) -> bool:
    return 0 < round(p * DRAWS) < DRAWS


def _maskable(mask: torch.Tensor) -> bool:
    if mask.dim() != 4 or mask.requires_grad:
        return False
    if mask.dtype == torch.bool:
        return bool(mask.any(-1).all())
    return mask.dtype == torch.float32 and bool((mask > -torch.inf).any(-1).all())


def drawing() -> np.random.SFC64:
    """Return a stream of random bits that starts from torch's random state."""
    return np.random.SFC64(int(torch.randint(1 << 62, ())))


def kept(shape: Sequence[int], p: float, stream: np.random.SFC64) -> torch.Tensor:
    """Draw which values stay: uint8[shape], each 1 with probability 1 - ``p`` (to 2^-17), or 0."""
    count = math.prod(shape)
    words: Any = stream.random_raw(-(-count // 4))
    draws = torch.from_numpy(words.view(np.int16))[:count]
    stays = torch.empty(count, dtype=torch.uint8)  # torch vectorises neither ge nor copies of bool
    return torch.ge(draws, round(p * DRAWS) - DRAWS // 2, out=stays).view(tuple(shape))


def scale_of(p: float) -> float:
    """Return the factor for the values that stay, by which their mean stays the same."""
    return DRAWS / (DRAWS - round(p * DRAWS))


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, p: float) -> torch.Tensor:
        stays = kept(values.shape, p, drawing())
        ctx.save_for_backward(stays)
        ctx.scale = scale_of(p)
        return _dropped(values, stays, ctx.scale)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (stays,) = ctx.saved_tensors
        return _dropped(grads[0], stays, ctx.scale), None


def _dropped(values: torch.Tensor, stays: torch.Tensor, scale: float) -> torch.Tensor:
    # torch vectorises a product of two floats, but not that of a float and a byte.
    return torch.mul(values, scale).mul_(stays.to(values.dtype))


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        p: float,
        factor: float,
    ) -> torch.Tensor:
        given = query, key, value
        query, key, value = (_plain(one) for one in given)
        ctx.factor, ctx.scale = factor, scale_of(p)
        stream, keys = drawing(), key.shape[2]
        shape = (*query.shape[:3], keys)
        stays = torch.empty(shape, dtype=torch.uint8)
        weights = torch.empty(shape) if math.prod(shape) <= SAVED else None
        out = torch.empty((*query.shape[:3], value.shape[3]))
        for at, (scores, spare) in _parts(query, keys, 2):
            stays[at] = kept(stays[at].shape, p, stream)
            part = spare if weights is None else _flat(weights[at])
            _probabilities(query[at], key[at], _of(mask, at), factor, (scores, part))
            scores.copy_(_flat(stays[at])).mul_(part)
            _product(scores, _flat(value[at]), ctx.scale, _flat(out[at]))
        # The contiguous tensors, which are not made again; of bfloat16, which is half as large,
        # those that were given.
        saved = (query, key, value) if given[0].dtype == out.dtype else given
        ctx.save_for_backward(*saved, mask, weights, stays)
        return out.to(given[0].dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        *tensors, mask, weights, stays = ctx.saved_tensors
        query, key, value = (_plain(one) for one in tensors)
        grad = _plain(grads[0])
        of_query, of_key, of_value = (torch.empty_like(one) for one in (query, key, value))
        for at, (scores, spare, stay, change) in _parts(query, key.shape[2], 4):
            if weights is None:
                part = spare
                _probabilities(query[at], key[at], _of(mask, at), ctx.factor, (scores, part))
            else:
                part = _flat(weights[at])
            stay.copy_(_flat(stays[at]))
            _product(_flat(grad[at]), _flat(value[at]).transpose(1, 2), ctx.scale, change)
            change.mul_(stay)
            torch.ops.aten._softmax_backward_data.out(
                change, part, -1, torch.float32, grad_input=scores
            )
            stay.mul_(part)
            _product(stay.transpose(1, 2), _flat(grad[at]), ctx.scale, _flat(of_value[at]))
            _product(scores, _flat(key[at]), ctx.factor, _flat(of_query[at]))
            _product(scores.transpose(1, 2), _flat(query[at]), ctx.factor, _flat(of_key[at]))
        found = (one.to(grads[0].dtype) for one in (of_query, of_key, of_value))
        return *found, None, None, None


def _parts(
    query: torch.Tensor, keys: int, count: int
) -> Iterator[tuple[slice, Sequence[torch.Tensor]]]:
    """Yield slices of the batch, each with ``count`` tensors [rows · heads, length, keys]."""
    batch, heads, length, _ = query.shape
    rows = min(batch, max(1, CELLS // (heads * length * keys)))
    space = torch.empty((count, rows * heads, length, keys))
    for begin in range(0, batch, rows):
        end = min(begin + rows, batch)
        yield slice(begin, end), space[:, : (end - begin) * heads].unbind(0)


def _probabilities(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    factor: float,
    space: Sequence[torch.Tensor],
) -> None:
    """Write the scores into the first tensor of ``space``, and their softmax into the second."""
    scores, weights = space
    _product(_flat(query), _flat(key).transpose(1, 2), factor, scores)
    if mask is not None:
        added = mask
        if mask.dtype == torch.bool:
            added = torch.zeros(mask.shape).masked_fill_(~mask, -torch.inf)
        scores.view(*query.shape[:3], -1).add_(added)
    torch.softmax(scores, -1, out=weights)


def _product(left: torch.Tensor, right: torch.Tensor, factor: float, into: torch.Tensor) -> None:
    """Write ``factor`` · left @ right, matrix by matrix, into ``into``."""
    torch.baddbmm(into, left, right, beta=0, alpha=factor, out=into)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float().contiguous()


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.flatten(0, 1)


def _of(mask: torch.Tensor | None, at: slice) -> torch.Tensor | None:
    return mask if mask is None or mask.shape[0] == 1 else mask[at]
