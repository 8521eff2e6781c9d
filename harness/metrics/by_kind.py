"""The metrics of each task kind: the one place where a metric has its name.

A function takes what the kind makes of outcome rows (`Ranks`, `Pairs`, `Answers`, …) and returns
float64[n], a value per row, whose mean is the score; or `PerExample`, where the score is a ratio of
sums. Everything else (cards, scores, intervals, differences) goes by these tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from harness.metrics import bitext, labels, mining, ranking, span_qa
from harness.metrics.per_example import Floats, PerExample, mean

Metric = Callable[[Any], Floats | PerExample]

# Metrics that look at ranks alone.
RANKS: Mapping[str, Metric] = {
    **{f"hit@{k}": partial(ranking.hit_at, k=k) for k in (1, 5, 10, 20, 100)},
    **{f"recall@{k}": partial(ranking.recall_at, k=k) for k in (1, 5, 10, 20, 100)},
    "accuracy": partial(ranking.hit_at, k=1),
    "mrr": ranking.reciprocal_rank,
    "map@20": partial(ranking.average_precision, k=20),
    "map": ranking.average_precision,
    "ndcg@10": partial(ranking.ndcg_at, k=10),
}

METRICS: Mapping[str, Mapping[str, Metric]] = {
    "bitext": {**RANKS, "f1_mteb": bitext.f1_mteb},
    "mining": {
        "f1": mining.f1,
        "precision": mining.precision,
        "recall": mining.recall,
        "f1_oracle": mining.f1_oracle,
    },
    "passages": {
        **RANKS,
        "same_language@10": ranking.same_language,
        "other_language_recall@10": partial(ranking.other_language_recall, k=10),
    },
    "span_qa": {"exact_match": span_qa.exact_match, "f1": span_qa.f1},
    "classification": {"accuracy": labels.accuracy},
    "multiple_choice": {"accuracy": labels.accuracy},
    "tagging": {
        "accuracy": labels.word_accuracy,
        "f1_span": labels.f1_spans,
        "f1_pos": labels.f1_spans,  # of tags without a prefix; the official one of UDPOS
    },
}

# Metrics that two runs are not compared by: a term of the first depends on the other predictions
# of its run; the second says nothing of being right.
NOT_COMPARED = ("f1_mteb", "same_language@10")

# Metrics of the languages of candidates, which the ids of these have to begin with.
OF_LANGUAGES = ("same_language@10", "other_language_recall@10")

# Kind → ratios of sums whose denominator is up to the predictions. The mean over several runs is no
# ratio of sums, so that such a mean is not paired example by example.
UNPAIRED_MEANS: Mapping[str, frozenset[str]] = {
    "mining": frozenset(METRICS["mining"]),
    "tagging": frozenset({"f1_span", "f1_pos"}),
}


def has_paired_mean(kind: str, metric: str) -> bool:
    """Whether the mean of several runs can be paired with another example by example."""
    return metric not in UNPAIRED_MEANS.get(kind, ())


def per_example(metrics: Mapping[str, Metric], metric: str, examples: Any) -> PerExample:
    """What each example adds to a metric of a kind's table.

    Raises ValueError where an example has no value, or examples contradict each other.
    """
    found = metrics[metric](examples)
    each = found if isinstance(found, PerExample) else mean(found)
    if missing := np.count_nonzero(np.isnan(each.numerator)):
        raise ValueError(f"{missing} examples have no {metric}")
    return each
