"""Quick dropout is dropout: the same formula, the right share, and torch for all else."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.nn import functional

from harness.training import dropout
from harness.training.dropout import QuickDropout, drawing, kept, scale_of

HEADS, LENGTH, KEYS, SIZE = 3, 7, 9, 4


def inputs(batch: int, **options: Any) -> list[torch.Tensor]:
    """Query, key and value as transformers gives them: views of [batch, length, heads, size]."""
    generator = torch.Generator().manual_seed(batch)
    shapes = ((LENGTH, SIZE), (KEYS, SIZE), (KEYS, SIZE + 1))
    return [
        torch.randn(batch, length, HEADS, size, generator=generator, **options)
        .transpose(1, 2)
        .requires_grad_()
        for length, size in shapes
    ]


def padding(batch: int) -> torch.Tensor:
    """bool[batch, 1, 1, keys]: rows of 9, 8, 7, … keys."""
    return (torch.arange(KEYS) < KEYS - torch.arange(batch)[:, None])[:, None, None]


MASKS = {
    "none": lambda batch: None,
    "padding": padding,
    "padding, every row": lambda batch: padding(batch).expand(batch, 1, LENGTH, KEYS),
    "the same for all": lambda batch: torch.ones(1, 1, LENGTH, KEYS, dtype=torch.bool).tril(2),
    "added": lambda batch: torch.linspace(-2, 2, batch * HEADS * LENGTH * KEYS).view(
        batch, HEADS, LENGTH, KEYS
    ),
}


@pytest.mark.parametrize("cells", [1, 2 * HEADS * LENGTH * KEYS, 1 << 20])
@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("scale", [None, 0.3])
def test_attention_is_the_formula_with_what_was_kept(
    name: str, scale: float | None, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dropout, "CELLS", cells)
    make: Callable[[int], torch.Tensor | None] = MASKS[name]
    mask = make(5)
    own, plain = inputs(5), [one.detach().double().requires_grad_() for one in inputs(5)]
    with QuickDropout():
        out = functional.scaled_dot_product_attention(
            own[0], own[1], own[2], attn_mask=mask, dropout_p=0.25, scale=scale
        )
    stays = out.grad_fn.saved_tensors[-1]  # type: ignore[union-attr]
    assert 0.65 < float(stays.double().mean()) < 0.85
    scores = plain[0] @ plain[1].transpose(2, 3) * (SIZE**-0.5 if scale is None else scale)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    expected = (scores.softmax(-1) * stays / 0.75) @ plain[2]
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)
    change = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape)
    torch.autograd.backward([out, expected], [change.float(), change])
    for one, other in zip(own, plain, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MASKS)
def test_saved_probabilities_and_those_made_again_give_the_same_bits(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for most in (0, 5 * HEADS * LENGTH * KEYS):
        monkeypatch.setattr(dropout, "SAVED", most)
        own = inputs(5)
        torch.manual_seed(3)
        with QuickDropout():
            out = functional.scaled_dot_product_attention(
                own[0], own[1], own[2], attn_mask=MASKS[name](5), dropout_p=0.25
            )
        saved = out.grad_fn.saved_tensors  # type: ignore[union-attr]
        assert (saved[-2] is None) == (most == 0)
        out.square().sum().backward()
        found.append([out, *(one.grad for one in own)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("autocast", [False, True])
def test_attention_over_bfloat16_is_that_over_float32_and_rounded(autocast: bool) -> None:
    rounded = [one.detach().bfloat16().requires_grad_() for one in inputs(5)]
    whole = [one.detach().float().requires_grad_() for one in rounded]
    found = []
    for tensors, cast in ((rounded, autocast), (whole, False)):
        torch.manual_seed(3)
        with QuickDropout(), torch.autocast("cpu", torch.bfloat16, enabled=cast):
            found.append(
                functional.scaled_dot_product_attention(
                    tensors[0], tensors[1], tensors[2], attn_mask=padding(5), dropout_p=0.25
                )
            )
    out, expected = found
    assert torch.equal(out.grad_fn.saved_tensors[-1], expected.grad_fn.saved_tensors[-1])  # type: ignore[union-attr]
    assert torch.equal(out, expected.bfloat16())
    change = torch.linspace(-1, 1, out.numel()).view(out.shape).bfloat16()
    torch.autograd.backward([out, expected], [change, change.float()])
    for one, other in zip(rounded, whole, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad.bfloat16())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_is_the_formula_with_what_was_kept(dtype: torch.dtype) -> None:
    values = torch.randn(31, 17, dtype=dtype, requires_grad=True)
    with QuickDropout():
        out = torch.nn.Dropout(0.5)(values)
    stays = out.grad_fn.saved_tensors[0]
    assert torch.equal(out, values.detach() * stays * 2)
    torch.autograd.backward(out, torch.full(out.shape, 3.0))
    assert values.grad is not None
    assert torch.equal(values.grad, (stays * 6).to(dtype))


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_the_share_that_stays(p: float) -> None:
    torch.manual_seed(7)
    count = 1_000_003  # no multiple of the four values that share a word
    stays = kept((count,), p, drawing())
    assert stays.shape == (count,)
    deviation = math.sqrt(p * (1 - p) / count)
    assert abs(float(stays.double().mean()) - (1 - p)) < 4 * deviation
    # The places that share a word are as independent as others.
    four = stays[: count // 4 * 4].view(-1, 4).double()
    together = torch.corrcoef(four.T) - torch.eye(4)
    assert float(together.abs().max()) < 4 / math.sqrt(count / 4)
    assert scale_of(p) == pytest.approx(1 / (1 - p), rel=1e-4)


def test_draws_depend_on_the_random_state_alone() -> None:
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        with QuickDropout():
            once = functional.dropout(torch.ones(64), 0.5)
            return torch.stack([once, functional.dropout(torch.ones(64), 0.5)])

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize(
    "options",
    [
        {"dropout_p": 0.0},
        {"dropout_p": 0.3, "is_causal": True},
        {"dropout_p": 0.3, "enable_gqa": True},
        {"dropout_p": 0.3, "attn_mask": torch.zeros(2, 1, 1, KEYS, dtype=torch.bool)},
        {"dropout_p": 0.3, "attn_mask": torch.zeros(LENGTH, KEYS)},
        {"dropout_p": 0.3, "attn_mask": torch.zeros(2, 1, 1, KEYS, requires_grad=True)},
    ],
)
def test_torch_does_what_is_not_made_for(options: dict[str, Any]) -> None:
    one = inputs(2)
    torch.manual_seed(3)
    expected = functional.scaled_dot_product_attention(one[0], one[1], one[2], **options)
    torch.manual_seed(3)
    with QuickDropout():
        found = functional.scaled_dot_product_attention(one[0], one[1], one[2], **options)
    assert torch.equal(found, expected)


def test_torch_does_attention_that_autocast_has_to_cast() -> None:
    one, found = inputs(2), []
    for context in (nullcontext(), QuickDropout()):
        torch.manual_seed(3)
        with context, torch.autocast("cpu", torch.bfloat16):
            found.append(
                functional.scaled_dot_product_attention(one[0], one[1], one[2], dropout_p=0.3)
            )
    assert torch.equal(found[0], found[1])
    assert found[0].dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_torch_does_other_types(dtype: torch.dtype) -> None:
    values = torch.ones(40, dtype=dtype)
    torch.manual_seed(3)
    expected = functional.dropout(values, 0.5)
    torch.manual_seed(3)
    with QuickDropout():
        assert torch.equal(functional.dropout(values, 0.5), expected)
        assert functional.dropout(values, 0.5, training=False) is values
