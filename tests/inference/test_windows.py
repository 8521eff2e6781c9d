"""Windows over a context: by hand, with one token a word so that every position can be counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from harness.checkpoint.layers import position_limit
from harness.checkpoint.tokenizer import make_tokenizer
from harness.errors import RefusedError
from harness.inference.sequences import padded
from harness.inference.windows import (
    Windows,
    WindowShape,
    cut_questions,
    make_windows,
    window_shape,
)
from tests.tokens import WORD_TOKENS, word_backend

WORDS = [f"w{number}" for number in range(500)]
ASKED = [f"q{number}" for number in range(100)]


def word_tokenizer(**options: Any) -> Any:
    return make_tokenizer(word_backend([*WORDS, *ASKED]), {**WORD_TOKENS, **options})


def byte_tokenizer() -> Any:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.train_from_iterator(
        ["a"],
        trainers.BpeTrainer(
            vocab_size=256,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return make_tokenizer(backend, {})


def words(windows: Windows, tokenizer: Any, window: int) -> list[str]:
    ids = windows.tokens[windows.begin[window] : windows.begin[window + 1]]
    names: list[str] = [tokenizer.backend.id_to_token(id_) for id_ in ids.tolist()]
    return names


def test_windows_overlap_by_the_stride() -> None:
    tokenizer = word_tokenizer()
    shape = WindowShape(max_length=10, question_length=2, stride=2)
    context = " ".join(WORDS[:12])
    made = make_windows(tokenizer, [("q0 q1", context), ("q2", "w7 w8")], shape)
    # 10 - 3 special - 2 question leave 5 tokens of context, a step of 3.
    expected = [WORDS[0:5], WORDS[3:8], WORDS[6:11], WORDS[9:12]]
    assert made.pair.tolist() == [0, 0, 0, 0, 1]
    assert made.lengths.tolist() == [10, 10, 10, 8, 6]
    for window, part in enumerate(expected):
        assert words(made, tokenizer, window) == ["[CLS]", "q0", "q1", "[SEP]", *part, "[SEP]"]
        first, stop = made.context_first[window], made.context_stop[window]
        assert (first, stop) == (4, 4 + len(part))
        spans = made.offsets[made.begin[window] :][first:stop]
        assert [context[begin:end] for begin, end in spans] == part
    assert made.types[made.begin[3] : made.begin[4]].tolist() == [0] * 4 + [1] * 4
    assert words(made, tokenizer, 4) == ["[CLS]", "q2", "[SEP]", "w7", "w8", "[SEP]"]


def test_left_padding_puts_the_context_first() -> None:
    tokenizer = word_tokenizer(padding_side="left")
    shape = WindowShape(max_length=8, question_length=2, stride=1)
    made = make_windows(tokenizer, [("q0", "w0 w1 w2 w3 w4 w5")], shape)
    assert words(made, tokenizer, 0) == [
        "[CLS]", "w0", "w1", "w2", "w3", "[SEP]", "q0", "[SEP]",
    ]  # fmt: skip
    assert words(made, tokenizer, 1) == ["[CLS]", "w3", "w4", "w5", "[SEP]", "q0", "[SEP]"]
    assert made.context_first.tolist() == [1, 1]
    assert made.context_stop.tolist() == [5, 4]


def test_empty_sides() -> None:
    tokenizer = word_tokenizer()
    shape = WindowShape(max_length=8, question_length=2, stride=1)
    made = make_windows(tokenizer, [("q0", ""), ("", "w1"), ("", ""), ("q1", "  ")], shape)
    assert (made.context_stop - made.context_first).tolist() == [0, 1, 0, 0]
    assert words(made, tokenizer, 1) == ["[CLS]", "[SEP]", "w1", "[SEP]"]


def test_no_pairs() -> None:
    made = make_windows(word_tokenizer(), [], WindowShape(8, 2, 1))
    assert made.lengths.tolist() == []
    assert made.offsets.shape == (0, 2)


def test_more_pairs_than_one_call_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, shape = word_tokenizer(), WindowShape(9, 2, 1)
    pairs = [(ASKED[row], " ".join(WORDS[row : row + 2 * row])) for row in range(20)]
    whole = make_windows(tokenizer, pairs, shape)
    monkeypatch.setattr("harness.inference.windows.PAIRS_PER_CALL", 3)
    parts = make_windows(tokenizer, pairs, shape)
    for name in ("tokens", "types", "offsets", "begin", "context_first", "context_stop", "pair"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_padding_is_on_the_right() -> None:
    tokenizer = word_tokenizer(padding_side="left")
    made = make_windows(
        tokenizer, [("q0", "w0 w1 w2"), ("q1", "w3"), ("q2", "w4 w5")], WindowShape(20, 2, 1)
    )
    ids, types, mask = padded(made, np.array([1, 2]), 9)
    assert ids.dtype == types.dtype == mask.dtype == np.int64
    assert mask.tolist() == [[1] * 5 + [0], [1] * 6]
    assert ids[0].tolist() == [2, 4 + 3, 3, 4 + 500 + 1, 3, 9]
    assert types.tolist() == [[0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("q0 q1", "q0 q1"),
        ("   q0 q1 q2 ", "q0 q1 q2 "),
        ("\n\u3000 q0  q1 q2 q3 q4", "q0  q1 q2"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_questions_are_cut_after_a_token(question: str, expected: str) -> None:
    shape = WindowShape(max_length=20, question_length=3, stride=2)
    assert cut_questions(word_tokenizer(), [question], shape) == [expected]


def test_a_cut_inside_a_character_keeps_the_character() -> None:
    # Three bytes, so three tokens, a Thai character: the fourth token lies inside the second one.
    tokenizer = byte_tokenizer()
    roomy = WindowShape(max_length=40, question_length=4, stride=2)
    assert cut_questions(tokenizer, ["กขค"], roomy) == ["กข"]
    # Where that would leave no room for the context, it goes.
    tight = WindowShape(max_length=8, question_length=4, stride=2)
    assert cut_questions(tokenizer, ["กขค", "abc", "abcdef"], tight) == ["ก", "abc", "abcd"]
    # A single character that is too long alone leaves an empty question.
    least = WindowShape(max_length=3, question_length=1, stride=1)
    assert cut_questions(tokenizer, ["กขค"], least) == [""]


SMALL: dict[str, Any] = {"vocab_size": 50, "num_hidden_layers": 1}
BERT: dict[str, Any] = {
    **SMALL,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}


def test_position_limits_of_model_families() -> None:
    bert = transformers.BertConfig(max_position_embeddings=128, **BERT)
    assert position_limit(transformers.BertForQuestionAnswering(bert)) == 128
    roberta = transformers.RobertaConfig(max_position_embeddings=130, pad_token_id=1, **BERT)
    assert position_limit(transformers.RobertaForQuestionAnswering(roberta)) == 128
    shifted = transformers.RobertaConfig(max_position_embeddings=130, pad_token_id=5, **BERT)
    assert position_limit(transformers.RobertaForQuestionAnswering(shifted)) == 124
    mpnet = transformers.MPNetConfig(max_position_embeddings=130, pad_token_id=1, **BERT)
    assert position_limit(transformers.MPNetForQuestionAnswering(mpnet)) == 128
    distil = transformers.DistilBertConfig(
        vocab_size=50, max_position_embeddings=90, dim=8, n_heads=2, n_layers=1, hidden_dim=8
    )
    assert position_limit(transformers.DistilBertForQuestionAnswering(distil)) == 90
    relative = transformers.XLNetConfig(vocab_size=50, d_model=8, n_layer=1, n_head=2, d_inner=8)
    assert position_limit(transformers.XLNetForQuestionAnsweringSimple(relative)) is None


def test_the_limit_is_what_a_roberta_really_takes() -> None:
    config = transformers.RobertaConfig(max_position_embeddings=20, pad_token_id=1, **BERT)
    model: Any = transformers.RobertaForQuestionAnswering(config)
    model.eval()
    limit = position_limit(model)
    assert limit == 18
    with torch.inference_mode():
        assert model(torch.full((1, limit), 7)).start_logits.shape == (1, limit)
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, limit + 1), 7))


def shaped(positions: int | None, **lengths: int) -> WindowShape:
    model = torch.nn.Linear(1, 1)
    text = SimpleNamespace(max_position_embeddings=positions)
    model.config = SimpleNamespace(get_text_config=lambda decoder: text)  # type: ignore[assignment]
    wanted = {"max_length": 384, "question_length": 64, "stride": 128} | lengths
    return window_shape(model, word_tokenizer(model_max_length=512), **wanted)


def test_the_protocols_lengths_where_there_is_room() -> None:
    assert shaped(None) == WindowShape(384, 64, 128)
    assert shaped(512) == WindowShape(384, 64, 128)
    assert shaped(200) == WindowShape(200, 64, 128)
    assert shaped(512, max_length=4096) == WindowShape(512, 64, 128)
    assert shaped(512, max_length=60, stride=16) == WindowShape(60, 40, 16)


def test_shorter_lengths_in_a_short_model() -> None:
    assert shaped(128) == WindowShape(128, 62, 31)
    assert shaped(5) == WindowShape(5, 1, 0)


@pytest.mark.parametrize("positions", [5, 6, 7, 9, 16, 40, 128, 195, 196])
def test_a_short_model_still_gets_every_token(positions: int) -> None:
    shape, tokenizer = shaped(positions), word_tokenizer()
    questions = cut_questions(tokenizer, [" ".join(ASKED), "q1"], shape)
    made = make_windows(tokenizer, [(text, " ".join(WORDS)) for text in questions], shape)
    assert made.lengths.max() <= positions
    for pair in (0, 1):
        seen = {
            name
            for window in np.flatnonzero(made.pair == pair)
            for name in words(made, tokenizer, int(window))
        }
        assert seen >= set(WORDS)


def test_a_model_without_room_is_refused() -> None:
    with pytest.raises(RefusedError, match="reads at most 4 tokens"):
        shaped(4)
