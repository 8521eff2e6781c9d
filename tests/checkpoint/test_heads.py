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


@pytest.mark.parametrize(
    ("names", "labels", "order"),
    [
        (("a", "A"), ("A", "a"), [1, 0]),  # to the letter, where case decides
        (("A", "a"), ("A", "a"), [0, 1]),
        (("A", "A"), ("A", "a"), None),  # either output could be either label
        (("A", "a "), ("A", "a"), None),
        (("A", "A"), ("A", "A"), None),
        ((" a", "b"), ("A ", "B"), [0, 1]),
    ],
)
def test_no_output_stands_for_two_labels(
    names: tuple[str, ...], labels: tuple[str, ...], order: list[int] | None
) -> None:
    if order is not None:
        assert label_order(names, labels) == order
        return
    with pytest.raises(RefusedError, match="its head has the 2 labels A, "):
        label_order(names, labels)


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
        *(
            (
                vetted(f"{name}ForSequenceClassification", f"{layer}.weight", [1, 8]),
                Head("classification", ("LABEL_0",)),
            )
            for name, layer in (
                ("T5Gemma", "score.out_proj"),
                ("Funnel", "classifier.linear_out"),
                ("XLM", "sequence_summary.summary"),
            )
        ),
        (vetted("BertForSequenceClassification", "bert.x", [2, 8]), None),
        (vetted("BertModel", "classifier.weight", [2, 8]), None),
    ],
)
def test_what_head_there_is(given: Any, expected: Head | None) -> None:
    assert read_head(given) == expected


@pytest.mark.parametrize(
    ("label2id", "fits"),
    [
        ({"contradiction": 0, "entailment": 1, "neutral": 2}, True),
        ({"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}, True),  # the default of transformers
        ({"contradiction": "0"}, True),
        ({"entailment": 0, "neutral": 1, "contradiction": 2}, False),
        ({"neutral": 1}, False),
    ],
)
def test_two_orders_of_the_labels_are_refused(label2id: dict[str, Any], fits: bool) -> None:
    names = {"0": "contradiction", "1": "entailment", "2": "neutral"}
    head = read_head(
        vetted(
            "BertForSequenceClassification",
            "classifier.weight",
            [3, 8],
            id2label=names,
            label2id=label2id,
        )
    )
    assert head is not None
    if fits:
        assert label_order(head.labels, XNLI) == [1, 2, 0]
    else:
        with pytest.raises(RefusedError, match=r"neutral \(but 1 in label2id\)"):
            label_order(head.labels, XNLI)


def test_why_a_task_has_no_head() -> None:
    assert lacking(None, "multiple_choice") == "no multiple choice head"
    assert (
        lacking(Head("tagging", ()), "classification") == "a tagging head, no classification head"
    )
    assert lacking(Head("tagging", ()), "tagging") == ""
