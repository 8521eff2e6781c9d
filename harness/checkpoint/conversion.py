"""Converts vocabulary files without a ``tokenizer.json`` to a fast tokenizer with the same tokens.

transformers converts them by the class that is named. For some classes it loses the normaliser of
a sentencepiece model, which is therefore made from the file itself. The tokens are then compared
with those of sentencepiece, on a fixed probe of texts in many scripts that normalisers treat in
different ways. A tokenizer that gives other tokens is refused.
"""

from __future__ import annotations

import inspect
import json
import shutil
import sys
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.checkpoint.claims import PROBE
from harness.checkpoint.files import TOKENIZER_FILES
from harness.checkpoint.tokenizer import ROLES
from harness.checkpoint.vet import is_file_key
from harness.errors import RefusedError

# Class that changes a text before sentencepiece gets it → whether it lower-cases by default.
ACCENTS: Mapping[str, bool] = {"AlbertTokenizer": True, "XLNetTokenizer": False}


def convert(
    folder: Path, declared: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Return a ``tokenizers.Tokenizer``, and the special tokens and lengths of its class.

    transformers reads copies of the files that count, and no other file of the folder.

    Raises:
        RefusedError: there is no fast form, or its tokens are not those of the sentencepiece model.
    """
    from transformers import AutoTokenizer

    if (folder / "vocab.json").is_file() and not (folder / "merges.txt").is_file():
        raise RefusedError("vocab.json has no merges.txt beside it: save a tokenizer.json")
    with tempfile.TemporaryDirectory() as copied:
        for name in TOKENIZER_FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, Path(copied, name))
        plain = {key: value for key, value in declared.items() if not is_file_key(key)}
        plain.pop("auto_map", None)
        Path(copied, "tokenizer_config.json").write_text(json.dumps(plain), encoding="utf-8")
        Path(copied, "config.json").write_text(
            json.dumps(
                {key: config[key] for key in ("model_type", "tokenizer_class") if key in config}
            ),
            encoding="utf-8",
        )
        tokenizer = AutoTokenizer.from_pretrained(
            copied, use_fast=True, trust_remote_code=False, local_files_only=True
        )
        if not tokenizer.is_fast:
            raise RefusedError(
                f"its {type(tokenizer).__name__} has no fast form: save a tokenizer.json beside it"
            )
        backend = tokenizer.backend_tokenizer
        model = _sentencepiece_file(folder, tokenizer)
        if model is not None:
            backend = _faithful(model, tokenizer, plain)
    said = {role: str(token) for role in ROLES if (token := getattr(tokenizer, role)) is not None}
    return backend, {
        **said,
        "model_max_length": tokenizer.model_max_length,
        "model_input_names": list(tokenizer.model_input_names),
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
    }


def _sentencepiece_file(folder: Path, tokenizer: Any) -> Path | None:
    """Return the sentencepiece model that the tokenizer is compared with, or None."""
    own = str(type(tokenizer).vocab_files_names.get("vocab_file", ""))
    if own.endswith(".model") and (folder / own).is_file():
        return folder / own
    present = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if "vocab.txt" in present or "vocab.json" in present:
        return None
    return next((folder / name for name in present if name.endswith(".model")), None)


def _faithful(path: Path, tokenizer: Any, declared: Mapping[str, Any]) -> Any:
    """Return the converted backend with a normaliser by which its tokens are sentencepiece's."""
    import sentencepiece

    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise RefusedError(
            f"{path.name} is not a sentencepiece model: save a tokenizer.json beside it"
        ) from error
    if declared.get("split_by_punct"):
        raise RefusedError(
            "tokenizer_config.json asks for split_by_punct, which is not followed for a "
            "sentencepiece file: save a tokenizer.json beside it"
        )
    backend = tokenizer.backend_tokenizer
    converted = backend.normalizer, backend.pre_tokenizer
    different: str | None = None
    for form in (*_own_forms(path, tokenizer, declared), converted):
        backend.normalizer, backend.pre_tokenizer = form
        different = _different(model, tokenizer, declared)
        if different is None:
            return backend
    raise RefusedError(
        f"{path.name} cannot be converted: {type(tokenizer).__name__} gives other tokens than "
        f"sentencepiece, for example of {different!r}; save a tokenizer.json beside it, or name "
        "the right tokenizer_class"
    )


def _different(model: Any, tokenizer: Any, declared: Mapping[str, Any]) -> str | None:
    """Return the first text of the probe whose tokens are not sentencepiece's, or None."""
    backend, unknown = tokenizer.backend_tokenizer, tokenizer.unk_token_id
    for text in PROBE:
        prepared = _prepared(text, tokenizer, declared)
        wanted = [
            None if id_ == model.unk_id() else model.id_to_piece(id_)
            for id_ in model.encode(prepared)
        ]
        encoding = backend.encode(text, add_special_tokens=False)
        given = [
            None if id_ == unknown else token
            for id_, token in zip(encoding.ids, encoding.tokens, strict=True)
        ]
        if given != wanted:
            return text
    return None


def _own_forms(path: Path, tokenizer: Any, declared: Mapping[str, Any]) -> Iterator[Any]:
    """Yield (normaliser, pre-tokenizer) as the sentencepiece file describes them.

    The first pair goes word by word, which is fast; the second takes the whole text, as
    sentencepiece does.
    """
    from sentencepiece import sentencepiece_model_pb2 as protocol
    from tokenizers import Regex, normalizers, pre_tokenizers

    proto: Any = protocol.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(path.read_bytes())
    spec = proto.normalizer_spec
    first: list[Any] = []
    if type(tokenizer).__name__ in ACCENTS:
        first += [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
        if not declared.get("keep_accents", False):
            first += [normalizers.NFKD(), normalizers.Replace(Regex(_combining()), "")]
    if _lower_cases(tokenizer, declared):
        first.append(normalizers.Lowercase())
    words = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
        ]
    )
    blanks: list[Any] = []
    if spec.remove_extra_whitespaces:
        blanks += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    if spec.add_dummy_prefix:
        blanks.append(normalizers.Prepend("▁"))
    blanks.append(normalizers.Replace(" ", "▁"))
    for rules in _rules(spec.precompiled_charsmap):
        if spec.add_dummy_prefix and spec.remove_extra_whitespaces:
            yield normalizers.Sequence([*first, *rules]), words
        yield normalizers.Sequence([*first, *rules, *blanks]), None


def _rules(charsmap: bytes) -> Iterator[list[Any]]:
    """Yield normalisers for the character rules in the file.

    tokenizers does not look up combinations of six bytes and more (kana with a voicing mark,
    Hangul from letters), which sentencepiece composes by its rules. NFC composes them afterwards.
    """
    from tokenizers import normalizers

    if charsmap:
        yield [normalizers.Precompiled(charsmap), normalizers.NFC()]
        yield [normalizers.Precompiled(charsmap)]
    else:
        yield []


def _lower_cases(tokenizer: Any, declared: Mapping[str, Any]) -> bool:
    """Return whether the class lower-cases a text before sentencepiece gets it."""
    name = type(tokenizer).__name__
    if "do_lower_case" not in inspect.signature(type(tokenizer).__init__).parameters:
        return False
    return bool(declared.get("do_lower_case", ACCENTS.get(name, False)))


def _prepared(text: str, tokenizer: Any, declared: Mapping[str, Any]) -> str:
    """Return the text that such a class gives to sentencepiece, as its authors' code does."""
    if type(tokenizer).__name__ in ACCENTS:
        text = text.replace("``", '"').replace("''", '"')
        if not declared.get("keep_accents", False):
            decomposed = unicodedata.normalize("NFKD", text)
            text = "".join(char for char in decomposed if not unicodedata.combining(char))
    if _lower_cases(tokenizer, declared):
        text = "".join(char.lower() for char in text)
    return text


def _combining() -> str:
    """Return a character class of all combining characters for a regular expression."""
    every = range(sys.maxunicode + 1)
    marks = [f"\\x{{{code:x}}}" for code in every if unicodedata.combining(chr(code))]
    return f"[{''.join(marks)}]"
