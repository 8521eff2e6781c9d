"""The arithmetic of a model: what its tokens cost, and how fast its forward pass can be."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.api import find_checkpoint
from harness.checkpoint.loading import depth, encoder_layers
from harness.inference.encoder import Backbone, Encoder, tokenize
from harness.inference.protocol import Protocol, resolve_encodings

LENGTHS, TOKENS = (16, 32, 64, 128, 256), (1_024, 2_048, 4_096)
MOST = 256  # tokens of a text


class Model:
    """A checkpoint as the benchmarks use it: float32 on the CPU, its last layer's mean pooled."""

    def __init__(self, folder: Path) -> None:
        self.checkpoint = find_checkpoint(str(folder), folder, offline=True)
        probe = Backbone(self.checkpoint, dtype="float32", device="cpu", top=10_000)
        self.model, self.tokenizer = probe.load()
        self.layers = depth(self.model)
        self.hidden = int(self.model.config.hidden_size)
        blocks = encoder_layers(self.model)
        self.parameters = sum(p.numel() for block in blocks for p in block.parameters())
        self.backbone = probe
        (self.encoding,) = resolve_encodings(
            Protocol(pooling="mean", layer=self.layers),
            task_lengths={"query": MOST, "document": MOST},
            depth=self.layers,
            max_positions=None,
            native=None,
            bitext=False,
        )

    def encoder(self, cache: Path) -> Encoder:
        """An encoder with an empty store; the weights are loaded already."""
        return Encoder(self.backbone, [self.encoding], cache=cache)

    def lengths(self, texts: Sequence[str], most: int = MOST) -> npt.NDArray[np.int64]:
        """Tokens of each text, special ones included."""
        ids = tokenize(self.tokenizer, texts, self.encoding, "document")
        return np.array([min(len(row), most) for row in ids])

    def work(self, lengths: npt.NDArray[np.int64]) -> float:
        """FLOP of texts without padding: 2 × parameters of the layers × tokens, and attention's
        two products of length × length × hidden size in every layer.
        """
        tokens = lengths.astype(float)
        attention = 4 * self.hidden * self.layers * (tokens**2).sum()
        return float(2 * self.parameters * tokens.sum() + attention)


def rate_of(model: Model, length: int, tokens: int, least: float = 0.15) -> float:
    """FLOP/s of forward passes over one full batch of one length, without a mask."""
    import torch

    count = max(tokens // length, 1)
    vocabulary = int(model.model.config.vocab_size)
    inputs = torch.randint(vocabulary // 2, vocabulary, (count, length))
    work = model.work(np.full(count, length))
    passes, started = 0, time.perf_counter()
    with torch.inference_mode():
        while (spent := time.perf_counter() - started) < least or not passes:
            model.model(input_ids=inputs)
            passes += 1
    return passes * work / spent


def best_forward(model: Model) -> dict[str, float]:
    """FLOP/s by shape of a batch."""
    found: dict[str, Any] = {}
    for length in LENGTHS:
        for tokens in TOKENS:
            found[f"{tokens // length} × {length}"] = rate_of(model, length, tokens)
    return found
