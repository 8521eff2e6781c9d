"""Corpora by the names of data sets: two names of one corpus agree, those of two do not."""

from __future__ import annotations

from itertools import combinations

import pytest

from harness.submissions.corpora import corpora


@pytest.mark.parametrize(
    ("names", "corpus"),
    [
        (
            ["SQuAD", "squad", "SQuAD v1.1 train, a tenth", "SQuAD 2.0", "SQuAD2.0", "SQuADv2",
             "squad_v2", "squad-v1.1", "rajpurkar/squad_v2", "SQuAD (English)", "SQuAD/train",
             "squad_es", "machine-translated SQuAD", "SQuAD 1.1: train set"],
            "squad",
        ),
        (["MNLI", "MultiNLI", "multi_nli", "nyu-mll/multi_nli", "glue/mnli", "Multi-NLI"], "mnli"),
        (["NQ", "Natural Questions", "google-research-datasets/natural_questions",
          "NaturalQuestions", "natural questions open"], "naturalquestions"),
        (["MS MARCO", "ms_marco", "microsoft/ms_marco", "msmarco-passage v2.1"], "msmarco"),
        (["TyDiQA", "TyDiQA primary task", "TyDi QA GoldP", "Mr. TyDi"], "tydiqa"),
        (["Quora", "quora dataset", "the Quora corpus, a half"], "quora"),
        (["OPUS-100", "OPUS100", "Helsinki-NLP/opus-100", "opus 100"], "opus"),
        (["CC-100", "CC100", "statmt/cc100"], "cc100"),
        (["text pairs", "Text pairs"], "textpairs"),  # not known to be different
        (["train"], "train"),
    ],
)  # fmt: skip
def test_names_of_one_corpus(names: list[str], corpus: str) -> None:
    assert {name: set(corpora([name])) for name in names} == {name: {corpus} for name in names}


def test_names_of_different_corpora() -> None:
    names = ("SQuAD", "SberQuAD", "GermanQuAD", "MNLI", "SNLI", "ANLI", "XNLI", "NQ", "NewsQA",
             "MLQA", "C4", "mC4", "translation pairs", "monolingual text", "PAWS-X")  # fmt: skip
    for one, other in combinations(names, 2):
        assert not corpora([one]) & corpora([other]), (one, other)


@pytest.mark.parametrize(
    ("datasets", "found"),
    [
        (["SQuAD and NewsQA"], {"squad", "newsqa"}),
        (["SNLI + MNLI"], {"snli", "mnli"}),
        (["SQuAD, XQuAD"], {"squad", "xquad"}),
        (["MNLI", "SNLI"], {"snli", "mnli"}),
        (["TyDiQA-GoldP train, Korean and Swahili", "FQuAD"], {"tydiqa", "fquad"}),
        (["MLQA dev, each question in one of seven languages"], {"mlqa"}),
        (["", "  "], set()),
        ([], set()),
    ],
)
def test_several_corpora(datasets: list[str], found: set[str]) -> None:
    assert corpora(datasets) == corpora(datasets[::-1]) == found
