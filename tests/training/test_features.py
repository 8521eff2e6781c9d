"""Token ids and labels, worked by hand where that can be done."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.cards.training import Recipe
from harness.errors import DataError, RefusedError
from harness.inference.windows import WindowShape, make_windows
from harness.training.batches import TaskData, _tensors, masked, padded
from harness.training.data.examples import Choice, Classified, Matched, Span, Tagged, Text
from harness.training.data.features import IGNORED, Codec, answer_tokens, encode
from tests.checkpoints import build


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    from harness.checkpoint.loading import load_encoder
    from harness.checkpoint.resolve import resolve

    folder = build("bert", tmp_path_factory.mktemp("bert"))
    return load_encoder(resolve(str(folder)), dtype="float32", device="cpu")


def codec(bert: tuple[Any, Any], **recipe: Any) -> Codec:
    model, tokenizer = bert
    return Codec(tokenizer, model, Recipe(**recipe))


def words(tokenizer: Any) -> Any:
    """A tokenizer of whole words: positions can be counted."""
    from harness.checkpoint.tokenizer import make_tokenizer
    from tests.tokens import WORD_TOKENS, word_backend

    del tokenizer
    return make_tokenizer(word_backend("abcdefghij"), WORD_TOKENS)


class Bounds:
    """The configuration of a model that any length fits."""

    type_vocab_size = 1

    def get_text_config(self, *, decoder: bool) -> Any:
        return self


def test_window_labels_by_hand() -> None:
    tokenizer = words(None)
    # [CLS] j [SEP] a b c d [SEP] | [CLS] j [SEP] c d e f [SEP] | [CLS] j [SEP] e f g [SEP]
    context = "a b c d e f g"
    shape = WindowShape(max_length=8, question_length=4, stride=2)
    examples = [
        Span("1", "en", "j", context, "d e", 6),
        Span("2", "en", "j", context, "a", 0),
        Span("3", "en", "j", context, "", None),
    ]
    windows = make_windows(tokenizer, [(one.question, one.context) for one in examples], shape)
    assert windows.pair.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    starts, ends = answer_tokens(windows, examples, tokenizer)
    # The first window ends within the answer, the third begins within it: [CLS].
    assert starts.tolist() == [0, 4, 0, 3, 0, 0, 0, 0, 0]
    assert ends.tolist() == [0, 5, 0, 3, 0, 0, 0, 0, 0]


def test_labels_cut_the_answer_out_of_the_context(bert: tuple[Any, Any]) -> None:
    context = "Паром отправляется в семь утра. 开往北岛的渡轮早上七点出发。 The end."
    answers = ("семь утра", "七点", "岛", "end", "Паром")
    examples = [Span(a, "en", "Когда?", context, a, context.index(a)) for a in answers]
    shape = WindowShape(max_length=64, question_length=8, stride=16)
    windows = make_windows(bert[1], [("Когда?", context)] * len(answers), shape)
    starts, ends = answer_tokens(windows, examples, bert[1])
    for number, answer in enumerate(answers):
        rows = np.flatnonzero((windows.pair == number) & (starts > 0))
        assert len(rows)
        for row in rows:
            offsets = windows.offsets[windows.begin[row] : windows.begin[row + 1]]
            first, last = offsets[starts[row]], offsets[ends[row]]
            assert starts[row] <= ends[row]
            assert context[first[0] : last[1]].strip() == answer


def test_a_span_whose_window_has_no_answer_is_the_first_token(bert: tuple[Any, Any]) -> None:
    context = "bridge " * 60 + "owl"
    features = encode(
        "span",
        [Span("1", "en", "Who?", context, "owl", context.index("owl"))],
        codec(bert, max_length=40, stride=8, question_length=8),
    )
    assert len(features) > 3
    assert features.labels["start_positions"][0] == 0
    assert features.labels["start_positions"][-1] > 0


def test_pairs_and_single_texts(bert: tuple[Any, Any]) -> None:
    made = codec(bert, max_length=16)
    pair = encode("classification", [Classified("1", "en", "The ferry", "leaves", 2)], made)
    tokens = pair.sides[0].tokens
    assert (
        bert[1].backend.decode(tokens, skip_special_tokens=False)
        == "[CLS]The ferry[SEP]leaves[SEP]"
    )
    assert pair.sides[0].types.tolist() == [0] * (tokens.tolist().index(3) + 1) + [1] * (
        len(tokens) - tokens.tolist().index(3) - 1
    )
    assert pair.labels["labels"].tolist() == [2]
    long = encode("classification", [Classified("1", "en", "ferry " * 40, None, 0)], made)
    assert long.lengths.tolist() == [16]


def test_choices_stand_behind_the_prompt(bert: tuple[Any, Any]) -> None:
    examples = [
        Choice("1", "en", "Where?", ("here", "there"), 1),
        Choice("2", "en", "A", ("b", "c"), 0),
    ]
    made = codec(bert)
    features = encode("multiple_choice", examples, made)
    assert len(features) == 2
    assert features.per_row == 2
    batch = _tensors(TaskData("multiple_choice", features, made, 0.15), np.array([1, 0]), rng())
    assert batch["input_ids"].shape[:2] == (2, 2)
    assert batch["labels"].tolist() == [0, 1]
    assert bert[1].backend.decode(batch["input_ids"][1, 1].tolist()) == "Where?there"
    with pytest.raises(DataError, match=r"\[2, 3\] choices"):
        encode("multiple_choice", [*examples, Choice("3", "en", "A", ("b", "c", "d"), 0)], made)


def test_the_first_piece_of_a_word_carries_its_tag(bert: tuple[Any, Any]) -> None:
    made = codec(bert)
    features = encode("tagging", [Tagged("1", "en", ("owls", "sleep"), (4, 5))], made)
    tags = features.labels["labels"]
    assert tags[tags != IGNORED].tolist() == [4, 5]
    assert len(tags) == len(features.sides[0].tokens) > 4
    assert tags[0] == tags[-1] == IGNORED
    batch = _tensors(TaskData("tagging", features, made, 0.15), np.array([0]), rng())
    assert batch["labels"].shape == batch["input_ids"].shape


def test_a_long_sentence_is_several_rows_and_every_word_has_its_tag() -> None:
    made = Codec(
        words(None), SimpleNamespace(config=Bounds(), named_modules=list), Recipe(max_length=8)
    )
    sentences = [
        Tagged("1", "en", tuple("abcdefgh"), tuple(range(8))),
        Tagged("2", "en", ("a", "\u200b"), (3, 4)),
    ]
    features = encode("tagging", sentences, made)
    # Six words fit beside [CLS] and [SEP]; a word without a token is [UNK].
    begin = features.sides[0].begin
    rows = [features.sides[0].tokens[a:b].tolist() for a, b in pairwise(begin)]
    assert rows == [[2, 4, 5, 6, 7, 8, 9, 3], [2, 10, 11, 3], [2, 4, 1, 3]]
    none = IGNORED
    assert features.labels["labels"].tolist() == [
        none, 0, 1, 2, 3, 4, 5, none, none, 6, 7, none, none, 3, 4, none,
    ]  # fmt: skip
    assert features.sources.tolist() == [0, 0, 1]
    assert features.cut == 0


def test_the_longer_text_of_a_pair_is_cut_and_counted() -> None:
    made = Codec(
        words(None), SimpleNamespace(config=Bounds(), named_modules=list), Recipe(max_length=8)
    )
    pairs = [("a b c d e f g", "h"), ("a", "b c d e f g"), ("a b", "c d")]
    examples = [Classified(str(at), "en", *pair, 0) for at, pair in enumerate(pairs)]
    features = encode("classification", examples, made)
    begin = features.sides[0].begin
    rows = [features.sides[0].tokens[a:b].tolist() for a, b in pairwise(begin)]
    assert rows == [[2, 4, 5, 6, 7, 3, 11, 3], [2, 4, 3, 5, 6, 7, 8, 3], [2, 4, 5, 3, 6, 7, 3]]
    assert features.cut == 2


def test_equal_texts_have_equal_numbers(bert: tuple[Any, Any]) -> None:
    texts = [("q", "t"), ("r", "t"), ("q", "u")]
    pairs = [Matched(str(at), "en", query, text, "en") for at, (query, text) in enumerate(texts)]
    made = codec(bert, max_length=12, question_length=10)
    features = encode("dual_encoder", pairs, made)
    assert features.labels["query_ids"].tolist() == [0, 1, 0]
    assert features.labels["text_ids"].tolist() == [0, 0, 1]
    long = encode("dual_encoder", [Matched("1", "en", "a " * 30, "b " * 30, "en")], made)
    assert [side.lengths.tolist() for side in long.sides] == [[10], [12]]


def test_long_texts_are_cut_into_pieces(bert: tuple[Any, Any]) -> None:
    made = codec(bert, max_length=16)
    features = encode("mlm", [Text("1", "en", "bridge " * 30), Text("2", "en", "owl")], made)
    assert features.sources.tolist()[-1] == 1
    assert (features.sources == 0).sum() > 2
    assert features.lengths.max() == 16


def test_no_mask_token_no_masked_language_modelling() -> None:
    with pytest.raises(RefusedError, match="no mask token"):
        encode("mlm", [Text("1", "en", "a")], Codec(words(None), None, Recipe()))


def test_masking(bert: tuple[Any, Any]) -> None:
    tokenizer = bert[1]
    special = tokenizer.special
    ids = np.full((40, 100), 50, dtype=np.int64)
    ids[:, 0], ids[:, 99] = special["cls_token"], special["pad_token"]
    mask = np.ones_like(ids)
    mask[:, 99] = 0
    changed, labels = masked(ids, mask, tokenizer, 0.15, rng())
    chosen = labels != IGNORED
    assert not chosen[:, 0].any()
    assert not chosen[:, 99].any()
    assert 0.13 < chosen[:, 1:99].mean() < 0.17
    assert (labels[chosen] == 50).all()
    assert (changed[~chosen] == ids[~chosen]).all()
    assert 0.74 < (changed[chosen] == special["mask_token"]).mean() < 0.86
    assert 0.05 < (changed[chosen] == 50).mean() < 0.16
    # At least one token, however few there are.
    few = np.array([[special["cls_token"], 50, special["sep_token"]]])
    for _ in range(5):
        _, labels = masked(few, np.ones_like(few), tokenizer, 1e-9, rng())
        assert labels.tolist() == [[IGNORED, 50, IGNORED]]


def test_padding_is_on_the_right_and_masked(bert: tuple[Any, Any]) -> None:
    made = codec(bert)
    examples = [
        Classified("1", "en", "a", None, 0),
        Classified("2", "en", "The ferry leaves", None, 1),
    ]
    features = encode("classification", examples, made)
    ids, types, mask = padded(features.sides[0], np.array([0, 1]), pad=0)
    assert mask.sum(axis=1).tolist() == features.lengths.tolist()
    assert (ids[mask == 0] == 0).all()
    assert ids.shape == types.shape == mask.shape
    assert np.array_equal(ids[1], features.sides[0].tokens[features.sides[0].begin[1] :])


def rng() -> np.random.Generator:
    return np.random.default_rng(0)
