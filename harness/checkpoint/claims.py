"""Finds where ``tokenizer_config.json`` contradicts ``tokenizer.json``, and says so in sentences.

``tokenizer.json`` is followed here. transformers builds a tokenizer by the class that is named, so
that its results may differ; a user who compares results must know that.
"""

from __future__ import annotations

import base64
import inspect
import json
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from harness.checkpoint.tokenizer import Tokenizer, class_name

FOLLOWED = "tokenizer.json is followed"
# Ordinary text of many scripts, and text that normalisers treat in different ways: full width,
# ligatures, combining marks, blanks of several kinds, characters without width, and case.
PROBE = (
    "The Ferry leaves at SEVEN, isn't it?",
    " two  blanks and\ttab ",
    "ﬁne ＦＵＬＬ ｗｉｄｔｈ １２３ ①②",
    "cafe\u0301 café Å ñ",
    "Паром На Северный остров",
    "تغادر العبّارة إلى الجزيرة",
    "उत्तरी द्वीप के लिए",
    "เรือข้ามฟากไปเกาะ น้ำ",
    "开往北岛的渡轮早上七点出发。",
    "ｶﾞ か\u3099 が 北の島へ ～",
    "한국어 문장 \u1112\u1161\u11ab",
    "Ελληνικά ΣΊΣΥΦΟΣ",
    "ქართული ენა",
    "תל אביב שָׁלוֹם",
    "a\u00a0b\u200bc\u200dd\ufeffe",
    "x²½™… “q” 1234 9",
    "one\ntwo",
)
# Key of tokenizer_config.json → a text, and what it becomes where the key is true.
KEYS: Mapping[str, tuple[str, str]] = {
    "do_lower_case": ("A", "a"),
    "strip_accents": ("é", "e"),
    "tokenize_chinese_chars": ("中", " 中 "),
}


def contradictions(
    tokenizer: Tokenizer, declared: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a sentence for each contradiction; an ordinary checkpoint has none."""
    yield from _class(tokenizer.backend, declared, config)
    yield from _keys(tokenizer.backend, declared)
    yield from _ends(tokenizer, declared)
    yield from _added(tokenizer.backend, declared)


def _keys(backend: Any, declared: Mapping[str, Any]) -> Iterator[str]:
    for key, (text, changed) in KEYS.items():
        said = declared.get(key)
        given = backend.normalizer.normalize_str(text) if backend.normalizer else text
        does = changed in unicodedata.normalize("NFC", given)
        if isinstance(said, bool) and said != does:
            yield (
                f"tokenizer_config.json says {key} = {json.dumps(said)} and tokenizer.json does "
                f"{'' if does else 'not do '}it: {FOLLOWED}"
            )


def _ends(tokenizer: Tokenizer, declared: Mapping[str, Any]) -> Iterator[str]:
    ends = tokenizer.backend.encode("").ids
    for role in ("bos_token", "eos_token"):
        key, id_ = f"add_{role}", tokenizer.special.get(role)
        said = declared.get(key)
        if isinstance(said, bool) and id_ is not None and said != (id_ in ends):
            yield (
                f"tokenizer_config.json says {key} = {json.dumps(said)} and tokenizer.json "
                f"{'adds it' if id_ in ends else 'adds none'}: {FOLLOWED}"
            )
    named = [role for role in ("cls_token", "sep_token") if declared.get(role) is not None]
    if not ends and named:
        yield (
            f"its files name a {' and a '.join(named)}, and tokenizer.json adds no special token to"
            f" a text: {FOLLOWED}"
        )


def _added(backend: Any, declared: Mapping[str, Any]) -> Iterator[str]:
    tokens = declared.get("added_tokens_decoder")
    if not isinstance(tokens, Mapping):
        return
    other = [
        str(token["content"])
        for id_, token in tokens.items()
        if isinstance(token, Mapping)
        and isinstance(token.get("content"), str)
        and str(backend.token_to_id(token["content"])) != str(id_)
    ]
    if other:
        yield (
            f"tokenizer_config.json gives {len(other)} tokens ({other[0][:40]!r} …) ids that they "
            f"do not have in tokenizer.json: {FOLLOWED}"
        )


def _class(backend: Any, declared: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    name = class_name(declared, config)
    who = f"tokenizer_config.json names {name}"
    if not name:
        name = usual_class(config)
        who = f"no tokenizer_class is named, and {name} is what transformers takes for it"
    if name and not _agrees(name, backend, declared):
        yield f"{who}; it splits texts otherwise than tokenizer.json does: {FOLLOWED}"


def usual_class(config: Mapping[str, Any]) -> str:
    """Return the class that transformers takes for a model type where none is named, or nothing."""
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    return (TOKENIZER_MAPPING_NAMES.get(str(config.get("model_type"))) or "").removesuffix("Fast")


def _agrees(name: str, backend: Any, declared: Mapping[str, Any]) -> bool:
    """Return whether the class splits the probe as the file does, if transformers builds it.

    It counts as agreeing where the class takes the file as it is, does not exist, or cannot be
    built.
    """
    import transformers

    kind = getattr(transformers, name, None)
    if kind is None or kind is transformers.TokenizersBackend:
        return True
    if getattr(kind, "model", None) not in (None, type(backend.model)):
        return False
    if "__init__" not in vars(kind):
        return True
    known = inspect.signature(kind.__init__).parameters
    options = {key: declared[key] for key in declared.keys() & known.keys() & OPTIONS}
    charsmap = _charsmap(backend)
    if charsmap is not None and "_spm_precompiled_charsmap" in known:
        options["_spm_precompiled_charsmap"] = charsmap
    try:
        theirs = kind(**options).backend_tokenizer
    except Exception:
        return True
    return type(theirs.model) is type(backend.model) and all(
        _split(theirs, text) == _split(backend, text) for text in PROBE
    )


OPTIONS = frozenset(
    {*KEYS, "add_prefix_space", "keep_accents", "remove_space", "split_by_punct", "trim_offsets"}
)


def _charsmap(backend: Any) -> bytes | None:
    state = json.loads(backend.normalizer.__getstate__()) if backend.normalizer else {}
    for part in state.get("normalizers", [state]):
        if part.get("type") == "Precompiled":
            return base64.b64decode(part["precompiled_charsmap"])
    return None


def _split(backend: Any, text: str) -> list[str]:
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    if backend.pre_tokenizer is None:
        return [text]
    return [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
