"""Encoding on a GPU: tokens a second beside the card's matrix rate and sentence-transformers.

    PYTHONPATH=. python benchmarks/bench_gpu.py

An XLM-R-large-shaped random model in bfloat16 over random texts of 8 to 256 tokens. The limit is
the card's own product of two large matrices in that type; a forward pass counted by its matrix
products and attention, on real (unpadded) tokens. sentence-transformers (a peer, see
requirements.txt) encodes the same texts with the same weights. Needs a CUDA device; where there is
none it says so and measures nothing.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from paired import Row, in_turn_seconds, save, seconds, show

WIDTH, LAYERS, HEADS = 1_024, 24, 16
TEXTS, LONGEST = 20_000, 256
TARGET = 0.6  # of the card's matrix rate


def write_model(folder: Path) -> Path:
    """A random checkpoint in XLM-R-large's shape, with a small vocabulary of its own."""
    from tests.checkpoints import build

    return build(
        "xlm-roberta",
        folder,
        dtype="bfloat16",
        layers=LAYERS,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_attention_heads=HEADS,
        max_position_embeddings=LONGEST + 16,
        initializer_range=0.02,
    )


def texts() -> list[str]:
    """Distinct texts, their lengths uniform: digits, each a token or two."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(8, LONGEST // 2, TEXTS)
    return [f"{n} " + " ".join(map(str, rng.integers(0, 9, size))) for n, size in enumerate(sizes)]


def matrix_rate(size: int = 8_192, products: int = 50) -> float:
    """FLOP/s of the card in bfloat16."""
    import torch

    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        left @ right
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(products):
        left @ right
    torch.cuda.synchronize()
    return products * 2 * size**3 / (time.perf_counter() - started)


def flops(lengths: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    """Of a forward pass over texts of these lengths: the layers' products, and attention."""
    per_token = LAYERS * 2 * 12 * WIDTH**2
    attention = LAYERS * 4 * WIDTH * (lengths.astype(np.float64) ** 2).sum()
    return float(per_token * lengths.sum() + attention)


def encoder(folder: Path, cache: Path) -> Any:
    """Ours: mean pooling of the last layer in bfloat16, an empty cache."""
    from harness.checkpoint.resolve import resolve
    from harness.inference.encoder import Backbone, Encoder
    from harness.inference.protocol import Protocol, resolve_encodings

    backbone = Backbone(resolve(str(folder)), dtype="bfloat16", device="cuda", top=LAYERS)
    encodings = resolve_encodings(
        Protocol(layer=LAYERS, dtype="bfloat16"),
        task_lengths={"query": LONGEST, "document": LONGEST},
        depth=LAYERS,
        max_positions=LONGEST + 14,
        native=None,
        bitext=False,
    )
    backbone.load()
    return lambda: Encoder(backbone, encodings, cache=Path(tempfile.mkdtemp(dir=cache)))


def peer(folder: Path) -> Any:
    """sentence-transformers on the same folder, mean pooling, bfloat16."""
    import torch
    from sentence_transformers import SentenceTransformer, models

    modules = [models.Transformer(str(folder), max_seq_length=LONGEST)]
    modules.append(models.Pooling(WIDTH, pooling_mode="mean"))
    return SentenceTransformer(modules=modules, device="cuda").to(torch.bfloat16)


def rows(folder: Path) -> list[Row]:
    """Measure, with everything that a first use compiles done before."""
    from transformers import AutoTokenizer

    model = write_model(folder / "model")
    asked = texts()
    cut = AutoTokenizer.from_pretrained(str(model))(asked, truncation=True, max_length=LONGEST)
    lengths = np.array([len(row) for row in cut["input_ids"]])
    fresh, other = encoder(model, folder), peer(model)

    def ours() -> Any:
        return fresh().encode(asked, role="document")

    def theirs() -> Any:
        return other.encode(asked, batch_size=256, normalize_embeddings=True)

    cosines = (ours() * np.asarray(theirs(), dtype=np.float32)).sum(axis=1)
    equal = f"Least cosine of the two sides' vectors: {cosines.min():.4f}."
    rates: list[float] = []

    def measured_theirs() -> float:
        # The card's clock drifts: its rate is taken beside each run.
        spent = seconds(theirs)
        rates.append(matrix_rate())
        return spent

    pairs = in_turn_seconds(lambda: seconds(ours), measured_theirs)
    rates = rates[-len(pairs.ours) :]  # without those of the warm-up
    needed = flops(lengths)
    speed = lengths.sum() / float(np.median(pairs.ours))
    return [
        pairs.row(
            name=f"encoding {TEXTS:,} texts, XLM-R-large's shape, bfloat16",
            ours=f"{speed:,.0f} tokens a second",
            theirs="sentence-transformers, batches of 256",
            equal=equal,
        ),
        Row(
            name="the same, share of the card's matrix rate",
            ours="tokenizer, transfers, pooling and store included",
            theirs=f"product of bfloat16 matrices, {np.median(rates) / 1e12:.0f} TFLOP/s",
            meaning="of the rate",
            ratio=tuple(needed / s / rate for s, rate in zip(pairs.ours, rates, strict=True)),
            target=TARGET,
        ),
    ]


def main() -> int:
    """Measure and keep, or say why not."""
    import torch

    if not torch.cuda.is_available():
        print("bench_gpu: no CUDA device here, nothing was measured", file=sys.stderr)
        return 3
    folder = Path(tempfile.mkdtemp(prefix="bench_gpu"))
    try:
        found = rows(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for row in found:
        print(show(row))
    card = torch.cuda.get_device_name(0)
    packages = ("torch", "transformers", "sentence-transformers")
    how = "PYTHONPATH=. python benchmarks/bench_gpu.py"
    save("gpu", f"Encoding on {card}", how, found, packages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
