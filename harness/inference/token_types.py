"""Finds token types: which part of the input a token is from, for models that are told."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.checkpoint.tokenizer import Tokenizer

Types = npt.NDArray[np.int64]


def takes_token_types(model: Any, tokenizer: Tokenizer) -> bool:
    """Return whether the model is told which of two texts a token is from.

    A tokenizer may give types to a model that has none, or that has a table of one row (XLM-R).
    """
    return (
        tokenizer.gives_types
        and "token_type_ids" in inspect.signature(model.forward).parameters
        and getattr(model.config, "type_vocab_size", 2) != 1
    )


def edge_types(tokenizer: Tokenizer) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
    """Return the types of the special tokens before a single text, of its own tokens, and of those
    after it.

    All of them are 0 nearly everywhere.
    """
    (found,) = tokenizer.encode(["a 1 ."])
    own = [place for place, added in enumerate(found.special_tokens_mask) if not added]
    if not own:
        return tuple(found.type_ids), 0, ()
    types = found.type_ids
    return tuple(types[: own[0]]), types[own[0]], tuple(types[own[-1] + 1 :])


def single_types(model: Any, tokenizer: Tokenizer, lengths: Sequence[int]) -> Types | None:
    """Return int64[n, longest]: the types of the tokens of n single texts, padding included, with
    type 0.

    None where all of them are 0, which a model assumes by itself. XLNet gives its last token a
    type of its own. ``lengths``: tokens of each text, special tokens included.
    """
    if not takes_token_types(model, tokenizer):
        return None
    before, own, after = edge_types(tokenizer)
    if not any((*before, own, *after)):
        return None
    types = np.zeros((len(lengths), max(lengths)), dtype=np.int64)
    for row, length in enumerate(lengths):
        inner = length - len(before) - len(after)
        types[row, :length] = (*before, *[own] * inner, *after)
    return types
