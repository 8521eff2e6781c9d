"""The Reader beside a plain reading of transformers' ``run_qa``: padded windows, loops, one by one.

The reference keeps what ``run_qa`` does (every window padded to the full length, lists of all
candidates, a stable sort by score) with one convention of its own: padding gets the logit -100, the
value that transformers' Trainer fills short rows with, so that padding never counts as a candidate.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from harness.inference.reader import Reader, SpanProtocol
from harness.inference.spans import best_spans, best_window
from tests.tokens import own

SENTENCES = {
    "en": "The ferry leaves the old harbour at seven, and the captain, Ines Barros, counts crates.",
    "de": "Im Winter fährt die Fähre nur dienstags; dann wartet Jürgen mit heißem Tee am Steg.",
    "zh": "渡轮每天早上七点离开旧港口，船长会清点甲板上的四十二个木箱。",
    "th": "เรือข้ามฟากออกจากท่าเรือเก่าเวลาเจ็ดโมงเช้าและกัปตันนับลังไม้สี่สิบสองใบ",
    "ar": "تغادر العبارة الميناء القديم في الساعة السابعة صباحًا ويعد القبطان الصناديق الخشبية.",
}
QUESTIONS = {
    "en": "  When does the ferry leave?",
    "de": "Wer wartet im Winter am Steg?",
    "zh": "船长清点什么？",
    "th": "เรือออกเวลาใด",
    "ar": "متى تغادر العبارة؟",
}


def wrapped(backend: Tokenizer, opening: str, closing: str, middle: str, types: bool) -> Any:
    second = ":1" if types else ""
    backend.post_processor = processors.TemplateProcessing(
        single=f"{opening} $A {closing}",
        pair=f"{opening} $A {middle} $B{second} {closing}{second}",
        special_tokens=[(token, backend.token_to_id(token)) for token in (opening, closing)],
    )
    return transformers.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        cls_token=opening,
        sep_token=closing,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"] + ["token_type_ids"] * types,
        model_max_length=512,
    )


def word_pieces() -> Any:
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.train_from_iterator(
        [*SENTENCES.values(), *QUESTIONS.values()],
        trainers.WordPieceTrainer(
            vocab_size=400, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False
        ),
    )
    return wrapped(backend, "[CLS]", "[SEP]", "[SEP]", types=True)


def unigram() -> Any:
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.train_from_iterator(
        [*SENTENCES.values(), *QUESTIONS.values()],
        trainers.UnigramTrainer(
            vocab_size=260,
            special_tokens=["<s>", "[PAD]", "</s>", "[UNK]"],
            unk_token="[UNK]",
            show_progress=False,
        ),
    )
    return wrapped(backend, "<s>", "</s>", "</s> </s>", types=False)


def byte_pairs() -> Any:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        [*SENTENCES.values(), *QUESTIONS.values()],
        trainers.BpeTrainer(
            vocab_size=420,
            special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return wrapped(backend, "[CLS]", "[SEP]", "[SEP]", types=False)


SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "initializer_range": 0.3,
}


def bert(tokenizer: Any) -> Any:
    return transformers.BertForQuestionAnswering(
        transformers.BertConfig(vocab_size=len(tokenizer), max_position_embeddings=512, **SMALL)
    )


def xlm_roberta(tokenizer: Any) -> Any:
    return transformers.XLMRobertaForQuestionAnswering(
        transformers.XLMRobertaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=514,
            type_vocab_size=1,
            pad_token_id=tokenizer.pad_token_id,
            **SMALL,
        )
    )


def modern_bert(tokenizer: Any) -> Any:
    return transformers.ModernBertForQuestionAnswering(
        transformers.ModernBertConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=512,
            local_attention=32,
            pad_token_id=tokenizer.pad_token_id,
            **SMALL,
        ),
    )


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    return {"word_pieces": word_pieces(), "unigram": unigram(), "byte_pairs": byte_pairs()}


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str]]:
    draw = np.random.default_rng(5)
    langs = sorted(SENTENCES)
    made = []
    for question in langs:
        for context in langs:
            count = int(draw.integers(1, 14))
            body = " ".join(f"{draw.integers(9, 99)} {SENTENCES[context]}" for _ in range(count))
            made.append((QUESTIONS[question], body))
    made += [("", SENTENCES["en"]), (QUESTIONS["th"] * 12, SENTENCES["zh"] * 30)]
    made += [(QUESTIONS["en"], ""), (QUESTIONS["en"], " ".join(SENTENCES.values()) * 6)]
    return made


class TableModel(torch.nn.Module):
    """Logits looked up by token and by its number among the unpadded, rounded: many ties.

    They are the same bits in any batch, so spans can be compared exactly.
    """

    config = transformers.PreTrainedConfig(max_position_embeddings=512)

    def __init__(self, seed: int, decimals: int = 1) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(2, 9973, generator=generator).mul(2).round(decimals=decimals)

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
        place = attention_mask.cumsum(1)
        start, end = self.table[:, (input_ids * 37 + place * 11) % 9973]
        return SimpleNamespace(start_logits=start, end_logits=end)


def plain_features(tokenizer: Any, question: str, context: str, reading: SpanProtocol) -> list[Any]:
    """Windows of one pair, each padded to the full length; offsets are None outside the context."""
    question = question.lstrip()
    pieces = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
    if len(pieces["input_ids"]) > reading.question_length:
        question = question[: pieces["offset_mapping"][reading.question_length - 1][1]]
    right = tokenizer.padding_side == "right"
    encoded = tokenizer(
        [question if right else context],
        [context if right else question],
        truncation="only_second" if right else "only_first",
        max_length=reading.max_length,
        stride=reading.stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length",
    )
    features = []
    for window in range(len(encoded["input_ids"])):
        offsets: list[tuple[int, int] | None] = []
        for place, sequence in enumerate(encoded.sequence_ids(window)):
            offset = encoded["offset_mapping"][window][place]
            offsets.append(offset if sequence == (1 if right else 0) else None)
        inputs = {name: encoded[name][window] for name in tokenizer.model_input_names}
        features.append((inputs, offsets))
    return features


def plain_answer(
    rows: list[tuple[Any, Any, list[tuple[int, int] | None]]], context: str, reading: SpanProtocol
) -> tuple[str, int, int, float] | None:
    """Every candidate of every window in a list, sorted by score; the first one is the answer."""
    candidates = []
    for start, end, offsets in rows:
        by_start = list(np.argsort(start))[::-1][: reading.n_best]
        by_end = list(np.argsort(end))[::-1][: reading.n_best]
        for first in by_start:
            for last in by_end:
                if offsets[first] is None or offsets[last] is None:
                    continue
                if last < first or last - first + 1 > reading.max_answer_tokens:
                    continue
                score = float(start[first] + end[last])
                candidates.append((score, offsets[first][0], offsets[last][1]))
    if not candidates:
        return None
    score, begin, stop = sorted(candidates, key=lambda candidate: candidate[0], reverse=True)[0]
    return context[begin:stop], begin, stop, score


def plain_read(
    model: Any, tokenizer: Any, pair: tuple[str, str], reading: SpanProtocol
) -> tuple[str, int, int, float] | None:
    rows = []
    for inputs, offsets in plain_features(tokenizer, *pair, reading):
        with torch.inference_mode():
            output = model(**{name: torch.tensor([value]) for name, value in inputs.items()})
        padding = np.array(inputs["attention_mask"]) == 0
        start = np.where(padding, np.float32(-100), output.start_logits[0].numpy())
        end = np.where(padding, np.float32(-100), output.end_logits[0].numpy())
        rows.append((start, end, offsets))
    return plain_answer(rows, pair[1], reading)


@pytest.mark.parametrize(
    ("shape", "vocabulary"),
    [(bert, "word_pieces"), (xlm_roberta, "unigram"), (modern_bert, "byte_pairs")],
)
def test_models_answer_as_run_qa(
    shape: Any, vocabulary: str, tokenizers: dict[str, Any], pairs: list[tuple[str, str]]
) -> None:
    torch.manual_seed(3)
    tokenizer, reading = tokenizers[vocabulary], SpanProtocol()
    model = shape(tokenizer).eval()
    spans = Reader(model, own(tokenizer), batch_tokens=3000).read(pairs, lang="xx")
    longest = 0
    for pair, span in zip(pairs, spans, strict=True):
        longest = max(longest, len(plain_features(tokenizer, *pair, reading)))
        expected = plain_read(model, tokenizer, pair, reading)
        if expected is None:
            assert not span.answered
            continue
        assert (span.text, span.start, span.end) == expected[:3]
        assert span.score == pytest.approx(expected[3], abs=1e-4)
    assert longest >= 4


@pytest.mark.parametrize("vocabulary", ["word_pieces", "unigram", "byte_pairs"])
@pytest.mark.parametrize(
    "reading",
    [
        SpanProtocol(),
        SpanProtocol(max_length=96, stride=24, question_length=20),
        SpanProtocol(max_length=160, stride=100, question_length=20, n_best=5, max_answer_tokens=3),
        SpanProtocol(max_length=200, stride=0, n_best=300, max_answer_tokens=200),
    ],
)
def test_ties_fall_as_in_run_qa(
    reading: SpanProtocol, vocabulary: str, tokenizers: dict[str, Any], pairs: list[tuple[str, str]]
) -> None:
    for seed in range(2):
        compare_exactly(TableModel(seed), tokenizers[vocabulary], pairs, reading)


@pytest.mark.parametrize("vocabulary", ["unigram", "byte_pairs"])
def test_left_padding_answers_as_run_qa(
    vocabulary: str, tokenizers: dict[str, Any], pairs: list[tuple[str, str]]
) -> None:
    # Without ties: their order depends on where in the row the padding stands.
    tokenizer = copy.deepcopy(tokenizers[vocabulary])
    tokenizer.padding_side = "left"
    for reading in (SpanProtocol(), SpanProtocol(max_length=96, stride=24, question_length=20)):
        compare_exactly(TableModel(4, decimals=7), tokenizer, pairs, reading)


def compare_exactly(
    model: Any, tokenizer: Any, pairs: list[tuple[str, str]], reading: SpanProtocol
) -> None:
    spans = Reader(model, own(tokenizer), protocol=reading, batch_tokens=5000).read(
        pairs, lang="xx"
    )
    for pair, span in zip(pairs, spans, strict=True):
        expected = plain_read(model, tokenizer, pair, reading)
        if expected is None:
            assert not span.answered
        else:
            assert (span.text, span.start, span.end, span.score) == expected


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_selection_on_random_logits(decimals: int) -> None:
    """Selection alone: windows of one context, padding in the ranking included, as it stands."""
    draw = np.random.default_rng(decimals)
    reading = SpanProtocol()
    for _ in range(60):
        count, width = int(draw.integers(1, 5)), int(draw.integers(3, 385))
        logits = draw.standard_normal((2, count, width)).round(decimals).astype(np.float32)
        first = draw.integers(0, width // 2 + 1, size=count)
        stop = draw.integers(first, width + 1)
        context = "".join(chr(ord("a") + int(draw.integers(26))) for _ in range(width))
        rows = [
            (
                logits[0, window],
                logits[1, window],
                [
                    (place, place + 1) if first[window] <= place < stop[window] else None
                    for place in range(width)
                ],
            )
            for window in range(count)
        ]
        expected = plain_answer(rows, context, reading)
        best = best_spans(logits[0], logits[1], first, stop, n_best=20, max_answer_tokens=30)
        window = best_window(best.score, best.valid)
        if window is None:
            assert expected is None
            continue
        assert expected is not None
        assert (best.first[window], best.last[window] + 1) == expected[1:3]
        assert float(best.score[window]) == expected[3]
