"""Rules of a tokenizer: what is bounded by reading, and what is left for a trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoint.rules import is_local, read_rules, unusual, vet_rules
from harness.errors import RefusedError

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"
)


def split(pattern: str) -> dict[str, Any]:
    return {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": pattern}}}


USUAL = [
    GPT2,
    LLAMA,
    CASED,
    " {2,}",
    r"[\]a]+(b)?",
    r"(?:\r\n)+",
    r" ?[^(\s|[.,!?…])]+",
    r"\d{1,3}",
]


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+", "(a*)*", "(?:a|a+)*b", "(a|b+){2,}", "(([a-z])+.)+", "x**", "(x{1,9})+",
        "((a{100}){100})", "a{5000}", "(?:(?:a{40}){40})", r"(.*)\1", "a" * 5_001,
    ],
)  # fmt: skip
def test_expressions_without_a_bound_are_refused(pattern: str) -> None:
    with pytest.raises(RefusedError, match=r"tokenizer.json"):
        vet_rules(split(pattern))


@pytest.mark.parametrize(
    ("pattern", "tried", "local"),
    [
        *((pattern, False, True) for pattern in USUAL),
        ("a+b*c+", True, True),
        ("a+|b+|c+", False, True),
        (r"a(?=.*b)", False, False),
        (r"a$", False, False),
        (r"\d{1,3}(?=(?:\d{3})*\b)", False, False),
    ],
)
def test_expressions_that_are_read(pattern: str, tried: bool, local: bool) -> None:
    vet_rules(split(pattern))
    assert bool(unusual(split(pattern))) == tried
    assert is_local(split(pattern)) == local


def replacement(content: str, **pattern: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


@pytest.mark.parametrize(
    ("parts", "refused"),
    [
        ([replacement("▁", String=" ")] * 60, False),
        ([replacement(" ", Regex=" {2,}")] * 5, False),
        ([replacement("aa", String="a")] * 6, False),  # 64 times as long
        ([replacement("aa", String="a")] * 7, True),
        ([replacement("x" * 64, Regex="a")], False),
        ([replacement("x" * 64, Regex="a*")], True),  # between any two characters too
        ([{"type": "Prepend", "prepend": "x" * 1_000}], False),
        ([{"type": "Prepend", "prepend": "x" * 1_001}], True),
    ],
)
def test_growth(parts: list[dict[str, Any]], refused: bool) -> None:
    nested = {"type": "Sequence", "normalizers": parts[1:]}
    rules = {"normalizer": {"type": "Sequence", "normalizers": [*parts[:1], nested]}}
    if not refused:
        vet_rules(rules)
        return
    with pytest.raises(RefusedError, match=r"tokenizer.json (can make|puts)"):
        vet_rules(rules)


STARTING = {"version": "1.0", "added_tokens": [{"content": "model"}], "normalizer": {"type": "NFC"}}


@pytest.mark.parametrize("indent", [None, 2])
def test_what_comes_before_the_model_is_read_alone(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "tokenizer.json"
    whole = STARTING | {"model": {"vocab": {"a": 0}}}
    path.write_text(json.dumps(whole, indent=indent))
    assert read_rules(path) == STARTING


@pytest.mark.parametrize("key", ["normalizer", "\\u006eormalizer"])
def test_what_comes_after_the_model_is_read_too(tmp_path: Path, key: str) -> None:
    path = tmp_path / "tokenizer.json"
    model = '"model": {"vocab": {"decoder": 1}}'
    path.write_text(f'{{"version": "1.0", {model}, "{key}": {{"type": "NFC"}}}}')
    assert read_rules(path)["normalizer"] == {"type": "NFC"}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "a": 2}', '{"a": "\\ud800"}', "\xff"])
def test_what_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RefusedError, match=r"tokenizer.json"):
        read_rules(path)
