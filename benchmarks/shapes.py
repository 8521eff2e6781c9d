"""Checkpoints to measure with: their arithmetic, their own best forward pass, and a random one."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
LENGTHS, TOKENS = (16, 32, 64, 128, 256), (1_024, 2_048, 4_096)
MOST = 256  # tokens of a text
PIECES = 2_000  # words of the random checkpoint


def flop(
    folder: Path, lengths: Integers, *, attention: bool = True, training: bool = False
) -> float:
    """FLOP of a BERT-like encoder's matrix products over texts of these lengths, unpadded.

    The four square products and the two of the feed-forward part for each token, and
    (``attention``) the two products of length × length × width in every layer; three times that
    with the backward pass. Norms, biases and heads are left out.
    """
    config = json.loads((folder / "config.json").read_text())
    layers, width = config["num_hidden_layers"], config["hidden_size"]
    tokens = np.asarray(lengths, dtype=float)
    each = 2 * layers * (4 * width**2 + 2 * width * config["intermediate_size"])
    scores = 4 * layers * width * (tokens**2).sum() if attention else 0.0
    return float((each * tokens.sum() + scores) * (3 if training else 1))


class Model:
    """A checkpoint as the benchmarks use it: its last layer's mean pooled."""

    def __init__(self, folder: Path, dtype: str = "float32", device: str = "cpu") -> None:
        from harness.checkpoint.layers import depth
        from harness.checkpoint.resolve import resolve
        from harness.inference.backbone import Backbone
        from harness.inference.protocol import Protocol, resolve_encodings

        self.folder = folder
        loading: Any = {"dtype": dtype, "device": device}
        self.backbone = Backbone(resolve(str(folder)), top=10_000, **loading)
        self.model, self.tokenizer = self.backbone.load()
        layers = depth(self.model)
        protocol: Any = {"pooling": "mean", "layer": layers, "dtype": dtype}
        (self.encoding,) = resolve_encodings(
            Protocol(**protocol),
            task_lengths={"query": MOST, "document": MOST},
            depth=layers,
            max_positions=None,
            native=None,
            bitext=False,
        )

    def encoder(self, cache: Path) -> Any:
        """An encoder with an empty store; the weights are loaded already."""
        from harness.inference.encoder import Encoder

        return Encoder(self.backbone, [self.encoding], cache=cache)

    def lengths(self, texts: Sequence[str]) -> Integers:
        """Tokens of each text, special ones included, int64[texts]."""
        from harness.inference.token_ids import tokenize

        ids = tokenize(self.tokenizer, texts, self.encoding, "document")
        return np.array([min(len(row), MOST) for row in ids])

    def best_forward(self, least: float = 0.15) -> dict[str, float]:
        """FLOP/s of forward passes over one full batch of one length, by its shape."""
        import torch

        found, vocabulary = {}, int(self.model.config.vocab_size)
        for length in LENGTHS:
            for tokens in TOKENS:
                count, passes = tokens // length, 0
                inputs = torch.randint(vocabulary // 2, vocabulary, (count, length))
                started = time.perf_counter()
                with torch.inference_mode():
                    while (spent := time.perf_counter() - started) < least or not passes:
                        self.model(input_ids=inputs)
                        passes += 1
                work = flop(self.folder, np.full(count, length))
                found[f"{count} × {length}"] = passes * work / spent
        return found


def random_bert(folder: Path, width: int = 384, layers: int = 6, heads: int = 12) -> Path:
    """A BERT with random weights and a tokenizer of whole words; by default in MiniLM's shape."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(PIECES))]
    vocabulary = {name: place for place, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {f"{name.strip('[]').lower()}_token": name for name in names[:5]}
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=tokenizer, model_max_length=512, **special).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(names), hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=4 * width,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def words(rng: np.random.Generator, count: int) -> str:
    """That many words of the random checkpoint's tokenizer."""
    return " ".join(f"w{n}" for n in rng.integers(0, PIECES, count))
