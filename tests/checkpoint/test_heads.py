"""Heads that checkpoints bring: what they are for, and their labels by name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.checkpoint.heads import Head, label_order, lacking, read_head
from harness.errors import RefusedError

XNLI = ("entailment", "neutral", "contradiction")


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (XNLI, [0, 1, 2]),
        (("contradiction", "entailment", "neutral"), [1, 2, 0]),
        (("CONTRADICTION", "Neutral", " entailment"), [2, 1, 0]),
    ],
)
def test_labels_are_matched_by_name(names: tuple[str, ...], order: list[int]) -> None:
    assert label_order(names, XNLI) == order


@pytest.mark.parametrize(
    "names",
    [
        ("LABEL_0", "LABEL_1", "LABEL_2"),
        ("entailment", "not_entailment"),
        ("0", "1", "2"),
        (*XNLI, "other"),
        ("entailment", "entailment", "neutral"),
    ],
)
def test_other_labels_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError, match=f"its head has the {len(names)} labels"):
        label_order(names, XNLI)


def vetted(architecture: str, tensor: str, shape: list[int], **config: Any) -> Any:
    tensors = {tensor: SimpleNamespace(shape=shape)}
    return SimpleNamespace(config={"architectures": [architecture], **config}, tensors=tensors)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            vetted(
                "XLMRobertaForSequenceClassification",
                "classifier.out_proj.weight",
                [2, 8],
                id2label={"0": "no", "1": "yes"},
            ),
            Head("classification", ("no", "yes")),
        ),
        (
            vetted("BertForTokenClassification", "classifier.weight", [2, 8]),
            Head("tagging", ("LABEL_0", "LABEL_1")),
        ),
        (
            vetted("BertForMultipleChoice", "classifier.weight", [1, 8]),
            Head("multiple_choice", ("LABEL_0",)),
        ),
        (vetted("BertForSequenceClassification", "bert.x", [2, 8]), None),
        (vetted("BertModel", "classifier.weight", [2, 8]), None),
    ],
)
def test_what_head_there_is(given: Any, expected: Head | None) -> None:
    assert read_head(given) == expected


def test_why_a_task_has_no_head() -> None:
    assert lacking(None, "multiple_choice") == "no multiple choice head"
    assert (
        lacking(Head("tagging", ()), "classification") == "a tagging head, no classification head"
    )
    assert lacking(Head("tagging", ()), "tagging") == ""
