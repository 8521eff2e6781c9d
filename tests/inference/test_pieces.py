"""Sentences in pieces: every word has a place, and the pieces are the sentence again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.checkpoint.resolve import resolve
from harness.checkpoint.tokenizer import Tokenizer, load_tokenizer
from harness.errors import RefusedError
from harness.inference.pieces import make_pieces
from tests.checkpoints import build

WORDS = st.text("abcdefgh\u200b ", min_size=1, max_size=12)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = build("bert", tmp_path_factory.mktemp("pieces") / "bert")
    return load_tokenizer(resolve(str(folder), offline=True))


def length(tokenizer: Tokenizer, word: str) -> int:
    return len(tokenizer.encode([[word]], special_tokens=False)[0].ids)


@settings(max_examples=60, deadline=None)
@given(sentences=st.lists(st.lists(WORDS, min_size=1, max_size=20), min_size=1, max_size=4))
def test_every_word_is_in_one_piece(tokenizer: Tokenizer, sentences: list[list[str]]) -> None:
    pieces = make_pieces(tokenizer, sentences, 10)
    whole, begin = pieces.sequences, pieces.sequences.begin
    assert len(pieces.piece) == sum(map(len, sentences)) == pieces.begin[-1]
    assert whole.lengths.max() <= 10
    number = 0
    for sentence in sentences:
        for word in sentence:
            ids = tokenizer.encode([[word]], special_tokens=False)[0].ids
            expected = ids if 0 < len(ids) <= 8 else [tokenizer.special["unk_token"]]
            first = begin[pieces.piece[number]] + pieces.place[number]
            assert whole.tokens[first : first + len(expected)].tolist() == expected
            number += 1


def test_a_short_sentence_is_as_the_tokenizer_makes_it(tokenizer: Tokenizer) -> None:
    sentence = ["the", "red", "house"]
    (encoding,) = tokenizer.encode([sentence])
    pieces = make_pieces(tokenizer, [sentence], 64)
    assert pieces.sequences.tokens.tolist() == encoding.ids


def test_a_word_of_too_many_tokens_is_one_unknown_token(tokenizer: Tokenizer) -> None:
    word = "abcdefgh" * 30
    assert length(tokenizer, word) == 1 or length(tokenizer, word) > 8
    pieces = make_pieces(tokenizer, [["a", word, "b"]], 10)
    place = pieces.sequences.begin[pieces.piece[1]] + pieces.place[1]
    assert pieces.sequences.tokens[place] == tokenizer.special["unk_token"]


def test_no_room_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(RefusedError, match="no room"):
        make_pieces(tokenizer, [["a"]], 2)
