"""transformers' tokenizers as the harness takes them: the oracle and what is tested from one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors

from harness.checkpoint.tokenizer import Tokenizer, make_tokenizer


def own(tokenizer: Any) -> Tokenizer:
    """The same backend (a copy) with the same special tokens, lengths and sides."""
    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    keys = ("model_max_length", "model_input_names", "padding_side", "truncation_side")
    return make_tokenizer(
        backend, {**tokenizer.special_tokens_map, **{key: getattr(tokenizer, key) for key in keys}}
    )


def word_backend(words: Iterable[str]) -> Backend:
    """A tokenizer of whole words with BERT's special tokens: positions can be counted."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    backend = Backend(models.WordLevel({name: at for at, name in enumerate(names)}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return backend


# What `make_tokenizer` is told of such a tokenizer.
WORD_TOKENS = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "cls", "sep", "unk")}
