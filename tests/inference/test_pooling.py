"""Pooling, worked out by hand on two texts of three and of one token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from harness.checkpoint.native import Dense, Truncate
from harness.errors import RefusedError
from harness.inference.pooling import build_steps, normalize, pool

PADDING = 1e4  # what stands at padding must not matter
HIDDEN = torch.tensor(
    [
        [[1.0, -2.0], [3.0, -4.0], [5.0, 9.0]],
        [[7.0, -8.0], [PADDING, PADDING], [-PADDING, -PADDING]],
    ]
)
MASK = torch.tensor([[1, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[3.0, 1.0], [7.0, -8.0]]),
        ("cls", [[1.0, -2.0], [7.0, -8.0]]),
        ("max", [[5.0, 9.0], [7.0, -8.0]]),
        ("last", [[5.0, 9.0], [7.0, -8.0]]),
    ],
)
def test_by_hand(pooling: str, expected: list[list[float]]) -> None:
    assert pool(HIDDEN, MASK, pooling).tolist() == expected


def test_last_is_the_last_attended_token() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert pool(HIDDEN, mask, "last").tolist() == [[3.0, -4.0], [-PADDING, -PADDING]]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last"])
def test_half_precision_is_pooled_in_float32(pooling: str) -> None:
    # 2048 + 1 is no bfloat16: summed there, the ones would be lost.
    hidden = torch.tensor([[[2048.0], [1.0], [1.0], [1.0]]], dtype=torch.bfloat16)
    pooled = pool(hidden, torch.ones(1, 4, dtype=torch.int64), pooling)
    assert pooled.dtype == torch.float32
    if pooling == "mean":
        assert pooled.item() == 2051 / 4


def test_normalize() -> None:
    vectors = normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    torch.testing.assert_close(vectors, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def dense(folder: Path, activation: str, *, bias: bool = True) -> Dense:
    """weight @ (1, 2) + bias = (-1, 5) with a bias of (0.5, 0), (-1.5, 5) without."""
    folder.mkdir()
    tensors = {"linear.weight": torch.tensor([[0.5, -1.0], [1.0, 2.0]])}
    if bias:
        tensors["linear.bias"] = torch.tensor([0.5, 0.0])
    save_file(tensors, folder / "model.safetensors")
    return Dense(folder, 2, 2, bias, activation)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("identity", [-1.0, 5.0]),
        ("relu", [0.0, 5.0]),
        ("tanh", [-0.761594, 0.999909]),
        ("sigmoid", [0.268941, 0.993307]),
        ("gelu", [-0.158655, 4.999999]),
    ],
)
def test_dense(tmp_path: Path, activation: str, expected: list[float]) -> None:
    (step,) = build_steps([dense(tmp_path / "2_Dense", activation)], "cpu")
    got = step(torch.tensor([[1.0, 2.0]]))[0]
    torch.testing.assert_close(got, torch.tensor(expected), atol=1e-5, rtol=0)


def test_dense_without_bias(tmp_path: Path) -> None:
    (step,) = build_steps([dense(tmp_path / "2_Dense", "identity", bias=False)], "cpu")
    assert step(torch.tensor([[1.0, 2.0]])).tolist() == [[-1.5, 5.0]]


def test_a_dense_layer_of_another_width_is_named(tmp_path: Path) -> None:
    (step,) = build_steps([dense(tmp_path / "2_Dense", "identity")], "cpu")
    with pytest.raises(RefusedError, match=r"2_Dense takes 2 features, .* have 3"):
        step(torch.ones(1, 3))


@pytest.mark.parametrize(("dimensions", "kept"), [(1, [3.0]), (2, [3.0, 4.0]), (9, [3.0, 4.0])])
def test_truncation_does_not_normalise(dimensions: int, kept: list[float]) -> None:
    (step,) = build_steps([Truncate(dimensions)], "cpu")
    assert step(torch.tensor([[3.0, 4.0]])).tolist() == [kept]


def test_steps_follow_in_order(tmp_path: Path) -> None:
    layer = dense(tmp_path / "2_Dense", "identity")
    orders: list[list[Any]] = [[layer, "normalize"], ["normalize", layer]]
    results = []
    for order in orders:
        vectors = torch.tensor([[1.0, 2.0]])
        for step in build_steps(order, "cpu"):
            vectors = step(vectors)
        results.append(vectors[0])
    torch.testing.assert_close(results[0], torch.tensor([-1.0, 5.0]) / 26**0.5)
    root5 = 5**0.5
    torch.testing.assert_close(results[1], torch.tensor([-1.5 / root5 + 0.5, 5 / root5]))
