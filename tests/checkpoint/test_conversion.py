"""Vocabulary files without a tokenizer.json: the oracle is sentencepiece, or BERT's own rules."""

from __future__ import annotations

import io
import json
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from harness.checkpoint.resolve import resolve
from harness.checkpoint.tokenizer import Tokenizer, load_tokenizer
from harness.errors import RefusedError
from tests.checkpoints import SENTENCES, build

LINES = (
    *SENTENCES,
    "Το πλοίο για το βόρειο νησί φεύγει στις επτά. ΣΊΣΥΦΟΣ",
    "המעבורת לאי הצפוני יוצאת בשבע בבוקר, שָׁלוֹם",
    "ბორანი ჩრდილოეთ კუნძულისკენ დილის შვიდზე გადის.",
    "북쪽 섬으로 가는 배는 아침 일곱 시에 떠난다. \u1112\u1161\u11ab",
    "வடக்குத் தீவுக்கான படகு காலை ஏழு மணிக்குப் புறப்படும்.",
    "উত্তর দ্বীপের ফেরি সকাল সাতটায় ছাড়ে।",
    "ሰሜናዊው ደሴት ጀልባ በሰባት ሰዓት ይነሳል።",
    "Լաստանավը մեկնում է առավոտյան յոթին։",
    "ｶﾞｷﾞ ﾊﾟ が か\u3099 ～ ﬁne ﬄ ＦＵＬＬ ｗｉｄｔｈ １２３ ①② ㎏ Ⅷ",
    "cafe\u0301 café Å ñ n\u0303 ǆ",
    "a\u00a0b\u200bc\u200dd\ufeffe\u2003f\u3000g",
    "  two  blanks\tand tab\nand line ",
    "x²½™… “q” «r» – — 42%",
)
CONTROLS = {
    "roberta": {},
    "t5": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    "deberta": {
        "pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3,
        "pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]",
    },
    "albert": {
        "pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1,
        "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
    },
    "xlnet": {"control_symbols": ["<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"]},
    "llama": {
        "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True,
    },
    "gemma": {
        "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True,
        "add_dummy_prefix": False, "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3,
    },
}  # fmt: skip
CASES = [
    ("XLMRobertaTokenizer", "xlm-roberta", "sentencepiece.bpe.model", "roberta"),
    ("CamembertTokenizer", "camembert", "sentencepiece.bpe.model", "roberta"),
    ("MBartTokenizer", "mbart", "sentencepiece.bpe.model", "roberta"),
    (None, "xlm-roberta", "sentencepiece.bpe.model", "roberta"),
    ("T5Tokenizer", "t5", "spiece.model", "t5"),
    ("T5Tokenizer", "mt5", "spiece.model", "t5"),
    ("DebertaV2Tokenizer", "deberta-v2", "spm.model", "deberta"),
    ("AlbertTokenizer", "albert", "spiece.model", "albert"),
    ("XLNetTokenizer", "xlnet", "spiece.model", "xlnet"),
    ("BigBirdTokenizer", "big_bird", "spiece.model", "roberta"),
    ("FNetTokenizer", "fnet", "spiece.model", "albert"),
    ("LlamaTokenizer", "llama", "tokenizer.model", "llama"),
    ("GemmaTokenizer", "gemma", "tokenizer.model", "gemma"),
]


@cache
def trained(controls: str) -> bytes:
    """A sentencepiece model over the lines, with sentencepiece's own normaliser (nmt_nfkc)."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 3),
        model_writer=written,
        vocab_size=700,
        hard_vocab_limit=False,
        character_coverage=0.99,
        minloglevel=2,
        **CONTROLS[controls],
    )
    return written.getvalue()


def vocabulary_only(folder: Path, files: dict[str, bytes], kind: str, **declared: Any) -> Path:
    """A checkpoint whose tokenizer is those files, of a model that says it is a ``kind``."""
    build("bert", folder, vocab_size=5000)
    (folder / "tokenizer.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": kind}))
    (folder / "tokenizer_config.json").write_text(json.dumps(declared))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def loaded(folder: Path) -> Tokenizer:
    return load_tokenizer(resolve(str(folder)))


def prepared(name: str | None, text: str) -> str:
    """What ALBERT's and XLNet's authors do to a text before sentencepiece sees it."""
    if name not in ("AlbertTokenizer", "XLNetTokenizer"):
        return text
    letters = unicodedata.normalize("NFKD", text)
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return "".join(letter.lower() for letter in bare) if name == "AlbertTokenizer" else bare


@pytest.mark.parametrize(("name", "kind", "file", "controls"), CASES)
def test_pieces_are_sentencepieces(
    tmp_path: Path, name: str | None, kind: str, file: str, controls: str
) -> None:
    content = trained(controls)
    declared = {"tokenizer_class": name} if name else {}
    tokenizer = loaded(vocabulary_only(tmp_path / "m", {file: content}, kind, **declared))
    model = sentencepiece.SentencePieceProcessor(model_proto=content)
    unknown = model.id_to_piece(model.unk_id())
    for line in LINES:
        expected = [model.id_to_piece(id_) for id_ in model.encode(prepared(name, line))]
        encoding = tokenizer.encode([line], special_tokens=False)[0]
        given = [
            unknown if id_ == tokenizer.special["unk_token"] else token
            for id_, token in zip(encoding.ids, encoding.tokens, strict=True)
        ]
        assert given == expected, line


@pytest.mark.parametrize(
    ("name", "offset"), [("XLMRobertaTokenizer", 1), ("T5Tokenizer", 0), ("AlbertTokenizer", 0)]
)
def test_ids_are_the_classs_own(tmp_path: Path, name: str, offset: int) -> None:
    """fairseq's vocabularies are one further than sentencepiece's, others are the same."""
    file = "sentencepiece.bpe.model" if offset else "spiece.model"
    content = trained({"X": "roberta", "T": "t5", "A": "albert"}[name[0]])
    tokenizer = loaded(
        vocabulary_only(tmp_path / "m", {file: content}, "bert", tokenizer_class=name)
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=content)
    line = "the ferry leaves at seven"
    known = [id_ for id_ in model.encode(line) if id_ != model.unk_id()]
    ids = tokenizer.ids([line], special_tokens=False)[0]
    assert [id_ for id_ in ids if id_ != tokenizer.special["unk_token"]] == [
        id_ + offset for id_ in known
    ]


@pytest.mark.parametrize(
    ("name", "kind", "file"),
    [
        (None, "bert", "sentencepiece.bpe.model"),
        ("T5Tokenizer", "bert", "sentencepiece.bpe.model"),
        ("BertTokenizer", "bert", "spiece.model"),
        ("PreTrainedTokenizerFast", "xlm-roberta", "sentencepiece.bpe.model"),
    ],
)
def test_what_does_not_give_sentencepieces_tokens_is_refused(
    tmp_path: Path, name: str | None, kind: str, file: str
) -> None:
    from harness.checkpoint.loading import describe

    declared = {"tokenizer_class": name} if name else {}
    folder = vocabulary_only(tmp_path / "m", {file: trained("roberta")}, kind, **declared)
    (folder / "config.json").write_text(
        json.dumps({**json.loads((folder / "config.json").read_text()), "model_type": kind})
    )
    with pytest.raises(RefusedError) as caught:
        describe(resolve(str(folder)))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_sentencepiece_model(tmp_path: Path) -> None:
    folder = vocabulary_only(
        tmp_path / "m", {"spiece.model": b"YQ== 0\nYg== 1\n"}, "t5", tokenizer_class="T5Tokenizer"
    )
    with pytest.raises((RefusedError, Exception), match=r".") as caught:
        loaded(folder)
    assert not isinstance(caught.value, AssertionError)


WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "cafe",
    "café",
    "Cafe",
    "中",
    "##s",
    "国",
    "中国",
]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({}, ["cafe", "cafe", "##s", "中", "国"]),
        ({"do_lower_case": False}, ["café", "Cafe", "##s", "中", "国"]),
        ({"do_lower_case": True, "strip_accents": False}, ["café", "cafe", "##s", "中", "国"]),
        ({"tokenize_chinese_chars": False}, ["cafe", "cafe", "##s", "中国"]),
    ],
)
def test_a_wordpiece_vocabulary(
    tmp_path: Path, declared: dict[str, Any], expected: list[str]
) -> None:
    content = "\n".join(WORDS).encode()
    folder = vocabulary_only(
        tmp_path / "m", {"vocab.txt": content}, "bert", tokenizer_class="BertTokenizer", **declared
    )
    tokenizer = loaded(folder)
    ids = tokenizer.ids(["café Cafes 中国"])[0]
    assert [WORDS[id_] for id_ in ids] == ["[CLS]", *expected, "[SEP]"]
    assert tokenizer.special["pad_token"] == 0


def test_byte_pairs_need_their_merges(tmp_path: Path) -> None:
    folder = vocabulary_only(
        tmp_path / "m", {"vocab.json": b'{"a": 0}'}, "roberta", tokenizer_class="RobertaTokenizer"
    )
    with pytest.raises(RefusedError, match=r"merges\.txt"):
        loaded(folder)
