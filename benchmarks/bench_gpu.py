"""Encoding on a GPU beside sentence-transformers, and beside the card's own matrix product.

    python benchmarks/bench_gpu.py

A random model in XLM-R-large's shape, in bfloat16, over random texts of 8 to 256 tokens. It needs a
CUDA device and the packages of requirements.txt; with ``--small`` the processor stands in for it.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paired
from paired import Row, gemm_rate, in_turn_seconds, seconds
from shapes import MOST, Model, flop, random_bert, words

SHAPE, DTYPE, TEXTS = (1_024, 24, 16), "bfloat16", 20_000
TARGET = 0.6  # of the card's matrix rate
NAME = f"encode {TEXTS:,} texts, XLM-R-large's shape, {DTYPE}"


def encode(given: Namespace) -> Iterator[Row]:
    """Both sides in turn; the card's rate is taken beside each pair, since its clock drifts."""
    import torch
    from sentence_transformers import SentenceTransformer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not given.small:
        yield Row(NAME, "xharness", "sentence-transformers", "", (), note="There was no GPU.")
        return
    rng, rates = np.random.default_rng(0), list[float]()
    texts = [words(rng, n) for n in rng.integers(8, MOST, 30 if given.small else TEXTS)]
    with tempfile.TemporaryDirectory() as work:
        folder = random_bert(Path(work) / "model", *((32, 2, 2) if given.small else SHAPE))
        model, dtype = Model(folder, DTYPE, device), {"dtype": getattr(torch, DTYPE)}
        peer = SentenceTransformer(str(folder), device=device, model_kwargs=dtype)
        peer.max_seq_length = MOST

        def ours() -> object:
            with tempfile.TemporaryDirectory() as cache:
                return model.encoder(Path(cache)).encode(texts, role="document")

        def theirs() -> object:
            return peer.encode(texts, batch_size=256, normalize_embeddings=True)

        def rated() -> float:
            rates.append(gemm_rate(DTYPE, 256 if given.small else 8_192, device=device))
            return seconds(theirs)

        vectors = [np.asarray(side(), dtype=np.float32) for side in (ours, theirs)]
        pairs = in_turn_seconds(lambda: seconds(ours), rated, runs=given.runs)
        work_done, tokens = flop(folder, model.lengths(texts)), model.lengths(texts).sum()
    cosine = float((vectors[0] * vectors[1]).sum(axis=1).min())
    shares = [work_done / took / rate for took, rate in zip(pairs.ours, rates[1:], strict=True)]
    card = torch.cuda.get_device_name(0) if device == "cuda" else "the processor"
    yield pairs.row(
        NAME,
        "`Encoder.encode`, an empty store",
        "`SentenceTransformer.encode`, batches of 256",
        equal=f"Least cosine of the two sides' vectors: {cosine:.4f}.",
        note=f"On {card}, {tokens / np.median(pairs.ours):,.0f} tokens a second.",
    )
    yield Row(
        f"{NAME}: share of the matrix product",
        "real tokens of `Encoder.encode`, tokenizer and store included",
        f"`torch.matmul`, {np.median(rates) / 1e12:.3g} TFLOP/s",
        "of its FLOP/s",
        tuple(shares),
        target=TARGET,
    )


BENCHMARK = paired.Benchmark(
    "gpu",
    "Encoding on a GPU",
    "python benchmarks/bench_gpu.py",
    ("torch", "transformers", "sentence-transformers"),
    ("harness/inference", "harness/checkpoint"),
    {"encode": encode},
)

if __name__ == "__main__":
    sys.exit(paired.run(BENCHMARK))
