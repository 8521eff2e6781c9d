"""The arithmetic that the shares of the machine's limit rest on, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.checkpoints import LAYERS, WIDTH, build


def test_flop_counts_the_layers_and_attention(tmp_path: Path) -> None:
    from shapes import flop

    folder = build("bert", tmp_path / "model")  # twice the width inside the feed-forward part
    lengths = np.array([2, 3])
    products = 2 * LAYERS * (4 * WIDTH**2 + 2 * 2 * WIDTH**2) * 5
    attention = 2 * 2 * LAYERS * WIDTH * (4 + 9)
    assert flop(folder, lengths, attention=False) == products
    assert flop(folder, lengths) == products + attention
    assert flop(folder, lengths, training=True) == 3 * (products + attention)


def test_padding_in_order_of_characters() -> None:
    from bench_mteb import padded_lengths

    texts = ["x" * count for count in range(1, 65)]  # the longer 32 are the first batch
    lengths = np.arange(1, 65)
    lengths[0], lengths[40] = 50, 70
    assert padded_lengths(lengths, texts).tolist() == [50] * 32 + [70] * 32


def test_a_random_checkpoint_is_measured_as_its_tokenizer_cuts(tmp_path: Path) -> None:
    from shapes import MOST, Model, random_bert, words

    rng = np.random.default_rng(0)
    model = Model(random_bert(tmp_path / "model", 8, 1, 1))
    texts = [words(rng, 3), words(rng, MOST)]
    assert model.lengths(texts).tolist() == [5, MOST]  # two special tokens
    vectors = model.encoder(tmp_path / "cache").encode(texts, role="document")
    assert vectors.shape == (2, 8)
