"""The labeller beside transformers' own models, one text at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from harness.checkpoint.loading import load_head
from harness.checkpoint.resolve import resolve
from harness.errors import RefusedError, UsageError
from harness.inference.labeller import Labeller, LabelProtocol
from tests.checkpoints import HEAD_CLASSES, build_head

NAMES = ("contradiction", "entailment", "neutral")
XNLI = ("entailment", "neutral", "contradiction")
PAIRS = [("the red house", "an owl"), ("a", "b c d e f g"), ("red " * 200, "house"), ("x", "y")]


def labeller(folder: Path, kind: str, **options: object) -> Labeller:
    checkpoint = resolve(str(folder), offline=True)
    model, tokenizer = load_head(checkpoint, kind, dtype="float32", device="cpu")
    made = Labeller(model, tokenizer, kind, **options)  # type: ignore[arg-type]
    made.probe()
    return made


@pytest.fixture(scope="module", params=["bert", "xlm-roberta"])
def folders(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    root = tmp_path_factory.mktemp(request.param)
    return {kind: build_head(root / kind, kind, NAMES, base=request.param) for kind in HEAD_CLASSES}


def theirs(folder: Path, kind: str, first: str, second: str | None) -> np.ndarray:
    """What transformers gives of one text, or one pair."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, HEAD_CLASSES[kind]).from_pretrained(folder).eval()
    batch = tokenizer(
        first, second, truncation="longest_first", max_length=128, return_tensors="pt"
    )
    if kind == "multiple_choice":
        batch = {name: tensor[None] for name, tensor in batch.items()}
    with torch.inference_mode():
        return model(**batch).logits[0].numpy()


def test_pairs_are_classified_as_transformers_does_it(folders: dict[str, Path]) -> None:
    found = labeller(folders["classification"], "classification").classify(PAIRS, XNLI, lang="en")
    for row, (first, second) in zip(found, PAIRS, strict=True):
        own = theirs(folders["classification"], "classification", first, second)
        # By name: entailment is the head's second output, neutral the third.
        np.testing.assert_allclose(row, own[[1, 2, 0]], atol=1e-4)


def test_choices_are_scored_as_transformers_does_it(folders: dict[str, Path]) -> None:
    questions = [("the red", ("house", "owl and more")), ("a b", ("c", "d"))]
    found = labeller(folders["multiple_choice"], "multiple_choice").choose(questions, lang="en")
    assert found.shape == (2, 2)
    for row, (prompt, choices) in zip(found, questions, strict=True):
        own = [theirs(folders["multiple_choice"], "multiple_choice", prompt, c)[0] for c in choices]
        np.testing.assert_allclose(row, own, atol=1e-4)


def test_words_are_tagged_by_their_first_token(folders: dict[str, Path]) -> None:
    folder = folders["tagging"]
    words = ["the", "redhouse", "owl"]
    (found,) = labeller(folder, "tagging").tag([words], XNLI, lang="en")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    model = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        best = model(**batch).logits[0].argmax(-1).tolist()
    firsts = [batch.word_ids().index(word) for word in range(3)]
    assert found == [NAMES[best[first]] for first in firsts]


def test_every_word_of_a_long_sentence_has_a_tag(folders: dict[str, Path]) -> None:
    sentences = [["red"] * 500, ["owl"], ["abcdefgh" * 200, "a"]]
    made = labeller(folders["tagging"], "tagging", protocol=LabelProtocol(32), batch_tokens=64)
    counted: list[int] = []
    found = made.tag(sentences, XNLI, lang="en", progress=counted.append)
    assert [len(tags) for tags in found] == [500, 1, 2]
    assert sum(counted) == 3


def test_batches_change_nothing(folders: dict[str, Path]) -> None:
    pairs = PAIRS * 5
    one = labeller(folders["classification"], "classification", batch_tokens=1)
    many = labeller(folders["classification"], "classification", batch_tokens=4096)
    a, b = (made.classify(pairs, XNLI, lang="en") for made in (one, many))
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_what_does_not_fit_is_refused(folders: dict[str, Path]) -> None:
    made = labeller(folders["classification"], "classification")
    with pytest.raises(RefusedError, match="its head has the 3 labels"):
        made.classify(PAIRS, ("different", "paraphrase"), lang="en")
    with pytest.raises(UsageError, match="batch_tokens is 0"):
        labeller(folders["classification"], "classification", batch_tokens=0)
    checkpoint = resolve(str(folders["classification"]), offline=True)
    with pytest.raises(RefusedError, match="a classification head, no tagging head"):
        load_head(checkpoint, "tagging", dtype="float32", device="cpu")
