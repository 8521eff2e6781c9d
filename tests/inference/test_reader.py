"""The Reader on small models with random weights: what must not matter, and what breaks it."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from harness.checkpoint.tokenizer import make_tokenizer
from harness.errors import IncompleteError, RefusedError, UsageError
from harness.inference.reader import Reader, SpanProtocol
from harness.inference.spans import Span
from tests.tokens import word_backend

WORDS = [f"w{number}" for number in range(200)]
SMALL: dict[str, Any] = {
    "vocab_size": 204,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "initializer_range": 0.4,
}


def word_tokenizer(*, pad: str | None = "[PAD]", typed: bool = True, **options: Any) -> Any:
    inputs = ["input_ids", "attention_mask"] + ["token_type_ids"] * typed
    tokens = {"pad_token": pad, "unk_token": "[UNK]", "model_input_names": inputs}
    return make_tokenizer(word_backend(WORDS), {**tokens, **options})


def bert(seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    model: Any = transformers.BertForQuestionAnswering(transformers.BertConfig(**SMALL, **options))
    return model.eval()


def text(draw: np.random.Generator, count: int) -> str:
    return " ".join(WORDS[row] for row in draw.integers(0, len(WORDS), size=count))


@pytest.fixture
def pairs() -> list[tuple[str, str]]:
    draw = np.random.default_rng(1)
    made = [(text(draw, 4), text(draw, int(draw.integers(1, 150)))) for _ in range(25)]
    made += [(text(draw, 90), text(draw, 900)), ("", text(draw, 20)), (text(draw, 5), "")]
    return made


def same(left: Span, right: Span) -> bool:
    return (left.text, left.start, left.end, left.answered) == (
        right.text,
        right.start,
        right.end,
        right.answered,
    ) and (not left.answered or abs(left.score - right.score) < 1e-4)


class Scripted(torch.nn.Module):
    """The start logit of a token and its end logit are looked up by its id."""

    def __init__(self, start: dict[str, float], end: dict[str, float]) -> None:
        super().__init__()
        self.config = transformers.PreTrainedConfig(max_position_embeddings=512)
        self.table = torch.zeros(2, 204)
        for side, values in enumerate((start, end)):
            for word, value in values.items():
                self.table[side, 4 + WORDS.index(word)] = value
        self.shapes: list[tuple[int, int]] = []

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        self.shapes.append(tuple(input_ids.shape))
        start, end = self.table[:, input_ids]
        return SimpleNamespace(start_logits=start, end_logits=end)


def test_an_answer_by_hand() -> None:
    model = Scripted({"w5": 3, "w9": 8}, {"w6": 4, "w8": 1})
    # w9 is in the question alone; offsets count code points, not bytes or UTF-16 units.
    context = "𝒳 é  w1 w5  w6 w8"
    reader = Reader(model, word_tokenizer())
    assert reader.read([("w9", context)], lang="en") == [
        Span(text="w5  w6", start=8, end=14, score=7.0, answered=True)
    ]
    assert context[8:14] == "w5  w6"


def test_the_best_window_of_a_long_context_answers() -> None:
    model = Scripted({"w5": 3, "w7": 3.5}, {"w6": 4})
    filler = ["w0"] * 12_000
    filler[100:102], filler[9_000:9_002] = ["w5", "w6"], ["w7", "w6"]
    context = " ".join(filler)
    span = Reader(model, word_tokenizer()).read([("w1", context)], lang="en")[0]
    assert (span.text, span.score) == ("w7 w6", 7.5)
    assert context[span.start : span.end] == "w7 w6"
    assert max(width for _, width in model.shapes) == 384
    # 384 less 3 special and 1 question leaves 380 of context a window, a step of 252.
    assert sum(rows for rows, _ in model.shapes) == 1 + math.ceil((12_000 - 380) / 252)


def test_no_answer_is_never_predicted() -> None:
    # The first token wins everywhere, as when a SQuAD 2 head sees nothing.
    model = Scripted({"w5": -7}, {"w5": -9})
    model.table[:, 2] = 50
    span = Reader(model, word_tokenizer()).read([("w1", "w5")], lang="en")[0]
    assert span == Span(text="w5", start=0, end=2, score=-16.0, answered=True)


def test_contexts_without_tokens_have_no_answer() -> None:
    model = Scripted({}, {})
    spans = Reader(model, word_tokenizer()).read([("w1", ""), ("w1", " \n")], lang="en")
    assert spans == [Span(text="", start=-1, end=-1, score=-math.inf, answered=False)] * 2
    assert model.shapes == []
    assert Reader(model, word_tokenizer()).read([], lang="en") == []


def test_company_and_order_do_not_matter(pairs: list[tuple[str, str]]) -> None:
    model, tokenizer = bert(), word_tokenizer()
    together = Reader(model, tokenizer, batch_tokens=2000).read(pairs, lang="en")
    assert [span.answered for span in together] == [True] * 27 + [False]
    assert len({span.text for span in together}) > 20
    order = np.random.default_rng(2).permutation(len(pairs))
    shuffled = Reader(model, tokenizer, batch_tokens=700).read(
        [pairs[row] for row in order], lang="en"
    )
    reader = Reader(model, tokenizer)
    for place, row in enumerate(order):
        assert same(shuffled[place], together[row])
        assert same(reader.read([pairs[row]], lang="en")[0], together[row])


def test_equal_pairs_are_read_once() -> None:
    model = Scripted({"w5": 3}, {"w6": 4})
    steps: list[int] = []
    pair, other = ("w1", "w5 w6"), ("w2", "w5 w6")
    reader = Reader(model, word_tokenizer(), batch_tokens=6)
    spans = reader.read([pair, other, pair, ("w1", ""), pair], lang="en", progress=steps.append)
    assert model.shapes == [(1, 6), (1, 6)]
    assert [span.text for span in spans] == ["w5 w6", "w5 w6", "w5 w6", "", "w5 w6"]
    assert sorted(steps) == [1, 1, 3]


@pytest.mark.parametrize("characters", [1, 500, 4_000_000])
def test_portions_change_nothing(
    characters: int, pairs: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = bert(), word_tokenizer()
    expected = Reader(model, tokenizer).read(pairs, lang="en")
    monkeypatch.setattr("harness.inference.reader.PORTION_CHARACTERS", characters)
    steps: list[int] = []
    spans = Reader(model, tokenizer).read(pairs, lang="en", progress=steps.append)
    assert all(same(*both) for both in zip(spans, expected, strict=True))
    assert sum(steps) == len(pairs)
    assert min(steps) > 0
    assert len(steps) >= (len(pairs) if characters == 1 else 1)


@pytest.mark.parametrize("options", [{"pad": None}, {"pad": None, "eos_token": "[SEP]"}, {}])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_token_and_side(
    options: dict[str, Any], side: str, pairs: list[tuple[str, str]]
) -> None:
    model = bert()
    reader = Reader(model, word_tokenizer(padding_side=side, **options), batch_tokens=3000)
    together = reader.read(pairs, lang="en")
    assert all(
        same(reader.read([pair], lang="en")[0], span)
        for pair, span in zip(pairs, together, strict=True)
    )
    usual = Reader(model, word_tokenizer(padding_side=side)).read(pairs, lang="en")
    assert all(same(*both) for both in zip(together, usual, strict=True))


def test_left_padding_reads_the_context_first() -> None:
    model = Scripted({"w5": 3, "w9": 8}, {"w6": 4, "w9": 8})
    reader = Reader(model, word_tokenizer(padding_side="left"))
    span = reader.read([("w9", "w1 w5 w6")], lang="en")[0]
    assert (span.text, span.score) == ("w5 w6", 7.0)


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize(
    "build",
    [
        lambda: transformers.DistilBertForQuestionAnswering(
            transformers.DistilBertConfig(
                vocab_size=204,
                max_position_embeddings=100,
                dim=16,
                n_layers=1,
                n_heads=2,
                hidden_dim=16,
            )
        ),
        lambda: transformers.RobertaForQuestionAnswering(
            transformers.RobertaConfig(
                max_position_embeddings=102, type_vocab_size=1, pad_token_id=0, **SMALL
            )
        ),
        lambda: bert(max_position_embeddings=100),
    ],
    ids=["no token types", "one token type", "two token types"],
)
def test_short_models_with_and_without_token_types(
    build: Callable[[], Any], typed: bool, pairs: list[tuple[str, str]]
) -> None:
    model = build().eval()
    reader = Reader(model, word_tokenizer(typed=typed))
    assert reader.shape.max_length in (100, 101)
    spans = reader.read(pairs, lang="en")
    for (_, context), span in zip(pairs, spans, strict=True):
        assert span.answered == bool(context)
        assert math.isfinite(span.score) == bool(context)
        assert span.text == context[max(span.start, 0) : max(span.end, 0)]


def test_token_types_reach_the_model(pairs: list[tuple[str, str]]) -> None:
    model = bert()
    typed = Reader(model, word_tokenizer()).read(pairs, lang="en")
    untyped = Reader(model, word_tokenizer(typed=False)).read(pairs, lang="en")
    assert any(not same(*both) for both in zip(typed, untyped, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype, pairs: list[tuple[str, str]]) -> None:
    expected = Reader(bert(), word_tokenizer()).read(pairs, lang="en")
    spans = Reader(bert().to(dtype), word_tokenizer()).read(pairs, lang="en")
    assert all(isinstance(span.score, float) for span in spans)
    answered = [pair for pair in zip(spans, expected, strict=True) if pair[1].answered]
    assert np.allclose(
        [span.score for span, _ in answered], [e.score for _, e in answered], atol=0.3
    )
    # The sum of two logits is taken in float32: finer than the half precision of either.
    assert sum(span.text == other.text for span, other in answered) > len(answered) * 0.6


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_refused(value: float) -> None:
    model = Scripted({"w5": value}, {})
    with pytest.raises(RefusedError, match=r"not finite .* language th") as caught:
        Reader(model, word_tokenizer()).read([("w1", "w1 w5")], lang="th")
    assert "\n" not in str(caught.value)


def test_a_model_without_a_span_head_is_refused() -> None:
    class Headless(torch.nn.Module):
        config = transformers.PreTrainedConfig()

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return SimpleNamespace(last_hidden_state=input_ids)

    with pytest.raises(RefusedError, match="Headless gives no start and end logits"):
        Reader(Headless(), word_tokenizer()).read([("w1", "w2")], lang="en")


def test_memory_that_runs_out_halves_the_batch() -> None:
    class Cramped(Scripted):
        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            if len(input_ids) > 3:
                raise RuntimeError("CUDA out of memory")
            return super().forward(input_ids, attention_mask)

    pairs = [(WORDS[row], f"{WORDS[row]} w5 w6") for row in range(20, 40)]
    model, steps = Cramped({"w5": 3}, {"w6": 4}), list[int]()
    spans = Reader(model, word_tokenizer()).read(pairs, lang="en", progress=steps.append)
    assert [span.text for span in spans] == ["w5 w6"] * 20
    assert max(rows for rows, _ in model.shapes) <= 3
    assert sum(steps) == 20
    model.shapes.clear()

    class Full(Scripted):
        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            raise MemoryError

    with pytest.raises(IncompleteError, match="one row"):
        Reader(Full({}, {}), word_tokenizer()).read(pairs, lang="en")


@pytest.mark.parametrize(
    "wrong",
    [{"n_best": 0}, {"max_length": 0}, {"stride": -1}, {"stride": 384}, {"max_answer_tokens": 0}],
)
def test_impossible_readings(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        SpanProtocol(**wrong)


def test_a_zero_budget_is_refused() -> None:
    with pytest.raises(UsageError, match="batch_tokens is 0"):
        Reader(bert(), word_tokenizer(), batch_tokens=0)
