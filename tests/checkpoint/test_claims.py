"""What tokenizer_config.json says against tokenizer.json is said in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoint.resolve import resolve
from harness.checkpoint.tokenizer import load_tokenizer
from tests.checkpoint.test_tokenizer import folder_with
from tests.checkpoints import build


def notes(folder: Path) -> tuple[str, ...]:
    return load_tokenizer(resolve(str(folder))).notes


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "llama"])
def test_an_ordinary_checkpoint_has_none(tmp_path: Path, kind: str) -> None:
    assert notes(build(kind, tmp_path / "m")) == ()


PLAIN = "PreTrainedTokenizerFast"


@pytest.mark.parametrize(
    ("name", "declared", "said"),
    [
        (None, {}, "no tokenizer_class is named, and BertTokenizer"),
        ("RobertaTokenizerFast", {}, "names RobertaTokenizer;"),
        ("XLMRobertaTokenizer", {}, "names XLMRobertaTokenizer;"),
        ("CamembertTokenizer", {}, "names CamembertTokenizer;"),
        ("DebertaV2Tokenizer", {}, "names DebertaV2Tokenizer;"),
        (PLAIN, {}, ""),
        ("NoSuchTokenizer", {}, ""),
        (PLAIN, {"add_bos_token": False}, "add_bos_token = false and tokenizer.json adds it"),
        (PLAIN, {"add_bos_token": True, "add_eos_token": True}, ""),
        (PLAIN, {"add_eos_token": False}, "add_eos_token = false and tokenizer.json adds it"),
        (PLAIN, {"do_lower_case": True}, "do_lower_case = true and tokenizer.json does not do it"),
        (PLAIN, {"do_lower_case": False, "strip_accents": None}, ""),
        (PLAIN, {"tokenize_chinese_chars": True}, "tokenize_chinese_chars = true"),
        (PLAIN, {"added_tokens_decoder": {"9": {"content": "<new>"}}}, "'<new>'"),
        (PLAIN, {"added_tokens_decoder": {"0": {"content": "<s>"}}}, ""),
    ],
)
def test_a_class_or_key_that_contradicts_the_file(
    tmp_path: Path, name: str | None, declared: dict[str, Any], said: str
) -> None:
    found = notes(folder_with(tmp_path / "m", name, **declared))
    assert len(found) == bool(said)
    assert all(said in note and "tokenizer.json is followed" in note for note in found)


def test_an_uncased_wordpiece_file_that_is_declared_cased(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "m", "PreTrainedTokenizerFast", do_lower_case=False)
    path = folder / "tokenizer.json"
    state = json.loads(path.read_text())
    state["normalizer"] = {"type": "Lowercase"}
    path.write_text(json.dumps(state))
    assert ["tokenizer.json does it" in note for note in notes(folder)] == [True]


@pytest.mark.parametrize(
    ("declared", "post_processor", "said"),
    [
        ({"cls_token": "<s>", "sep_token": "</s>"}, None, "a cls_token and a sep_token,"),
        ({"sep_token": {"content": "</s>"}}, None, "a sep_token,"),
        ({"cls_token": None, "eos_token": "</s>"}, None, ""),
        ({"cls_token": "<s>", "sep_token": "</s>"}, "the file's", ""),
    ],
)
@pytest.mark.parametrize("place", ["tokenizer_config.json", "special_tokens_map.json"])
def test_ends_that_are_named_and_not_added(
    tmp_path: Path, declared: dict[str, Any], post_processor: str | None, said: str, place: str
) -> None:
    folder = folder_with(tmp_path / "m", "PreTrainedTokenizerFast")
    written = folder / place
    before = json.loads(written.read_text()) if written.exists() else {}
    written.write_text(json.dumps(before | declared))
    if post_processor is None:
        path = folder / "tokenizer.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"post_processor": None}))
    found = notes(folder)
    assert len(found) == bool(said)
    assert all(said in note and "adds no special token" in note for note in found)
