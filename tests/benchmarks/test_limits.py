"""The arithmetic that the shares of the machine's limit rest on, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.checkpoints import LAYERS, WIDTH, build

ROOT = Path(__file__).resolve().parent.parent.parent


def test_work_counts_the_layers_and_attention(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from limits import Model

    model = Model(build("bert", tmp_path / "model"))
    # Four square products and two with twice the width inside, with biases, and two norms.
    layer = 4 * (WIDTH**2 + WIDTH) + 2 * 2 * WIDTH**2 + 3 * WIDTH + 4 * WIDTH
    assert model.parameters == LAYERS * layer
    expected = 2 * LAYERS * layer * 5 + 4 * WIDTH * LAYERS * (4 + 9)
    assert model.work(np.array([2, 3])) == expected


def test_padding_in_order_of_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import peer_mteb

    texts = ["x" * count for count in range(1, 65)]  # the longer 32 are the first batch
    lengths = np.arange(1, 65)
    lengths[0], lengths[40] = 50, 70
    assert peer_mteb.padded(lengths, texts).tolist() == [50] * 32 + [70] * 32
    assert peer_mteb.every_batch(texts, 2) == sorted(texts[32:], key=len, reverse=True)
