"""Token types: which part of its input a token is from, for the models that are told."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.checkpoint.tokenizer import Tokenizer

Types = npt.NDArray[np.int64]


def takes_token_types(model: Any, tokenizer: Tokenizer) -> bool:
    """Whether the model is told which of two texts a token is from.

    A tokenizer may give types to a model that has none, or that has a table of one row (XLM-R).
    """
    return (
        tokenizer.gives_types
        and "token_type_ids" in inspect.signature(model.forward).parameters
        and getattr(model.config, "type_vocab_size", 2) != 1
    )


def single_types(model: Any, tokenizer: Tokenizer, lengths: Sequence[int]) -> Types | None:
    """int64[n, longest]: the types of the tokens of n single texts, padding included, with type 0.

    None where all of them are 0, which a model assumes by itself. XLNet gives its last token a
    type of its own. ``lengths``: tokens of each text, special tokens included.
    """
    if not takes_token_types(model, tokenizer):
        return None
    before, own, after = tokenizer.edge_types
    if not any((*before, own, *after)):
        return None
    types = np.zeros((len(lengths), max(lengths)), dtype=np.int64)
    for row, length in enumerate(lengths):
        inner = length - len(before) - len(after)
        types[row, :length] = (*before, *[own] * inner, *after)
    return types
