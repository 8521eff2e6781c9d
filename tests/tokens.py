"""transformers' tokenizers as the harness takes them: the oracle and what is tested from one."""

from __future__ import annotations

from typing import Any

from harness.checkpoint.tokenizer import Tokenizer, make_tokenizer


def own(tokenizer: Any) -> Tokenizer:
    """The same backend (a copy) with the same special tokens, lengths and sides."""
    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    keys = ("model_max_length", "model_input_names", "padding_side", "truncation_side")
    return make_tokenizer(
        backend, {**tokenizer.special_tokens_map, **{key: getattr(tokenizer, key) for key in keys}}
    )
