"""The decision in bitext mining: which scored candidate pairs are kept, and how good that is.

A candidate is a pair of sentences with a score (the margin); gold pairs that are no candidate
count as missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.metrics.per_example import PerExample


@dataclass(frozen=True, eq=False)
class Pairs:
    """n pairs of sentences: those that were mined, and gold pairs that were not.

    margin: float[n], nan for a pair that was not mined; kept: bool[n], whether it is predicted;
    gold: bool[n]; unit: int64[n], the language: each has a threshold of its own.

    Raises ValueError for a language without a gold pair: there is nothing to recall.
    """

    margin: npt.NDArray[np.floating]
    kept: npt.NDArray[np.bool_]
    gold: npt.NDArray[np.bool_]
    unit: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if not (np.bincount(self.unit, weights=self.gold)[np.unique(self.unit)] > 0).all():
            raise ValueError("0 gold pairs of a language: recall needs at least one")


def f1(pairs: Pairs) -> PerExample:
    """2·tp over predicted + gold pairs, at the threshold that was chosen on dev."""
    return _f1(pairs, pairs.kept)


def precision(pairs: Pairs) -> PerExample:
    """tp over predicted pairs."""
    return _ratio(pairs.kept & pairs.gold, pairs.kept, pairs.gold)


def recall(pairs: Pairs) -> PerExample:
    """tp over gold pairs, mined or not."""
    return _ratio(pairs.kept & pairs.gold, pairs.gold, pairs.gold)


def f1_oracle(pairs: Pairs) -> PerExample:
    """F1 at the threshold that is best on these very pairs, language by language."""
    kept = np.zeros(len(pairs.margin), dtype=bool)
    for unit in np.unique(pairs.unit):
        own = pairs.unit == unit
        mined = own & ~np.isnan(pairs.margin)
        best = best_threshold(pairs.margin[mined], pairs.gold[mined], int(pairs.gold[own].sum()))
        kept[mined] = pairs.margin[mined].astype(np.float64) >= best.value
    return _f1(pairs, kept)


def _f1(pairs: Pairs, kept: npt.NDArray[np.bool_]) -> PerExample:
    return _ratio(2.0 * (kept & pairs.gold), kept.astype(np.float64) + pairs.gold, pairs.gold)


def _ratio(
    numerator: npt.NDArray[Any], denominator: npt.NDArray[Any], gold: npt.NDArray[np.bool_]
) -> PerExample:
    above, below, counted = (part.astype(np.float64) for part in (numerator, denominator, gold))
    return PerExample(above, below, counted)


@dataclass(frozen=True)
class Threshold:
    """A cut on scores (`score >= value` is kept), with what it gives where it was chosen."""

    value: float
    precision: float
    recall: float
    f1: float


def best_threshold(
    scores: npt.NDArray[np.floating], is_gold: npt.NDArray[np.bool_], n_gold: int
) -> Threshold:
    """The threshold with the highest F1 over the candidates (bucc_optimize of LASER and XTREME).

    scores: float[n] in any order; is_gold: bool[n], whether the candidate is a gold pair;
    n_gold: the number of gold pairs, candidates or not.

    Candidates are taken by descending score. Where the first i of them give the highest F1
    (the fewest, if several do), the threshold is the midpoint between the scores of the i-th
    and the next. Three cases the official optimiser leaves open or gets wrong:
    - The best is to keep all: the threshold is the lowest score (the official one crashes).
    - Equal scores: no threshold parts them, so i is only ever the last of its score and the
      result does not depend on the order of candidates (the official one counts a part of
      them, and then keeps others than it counted). With distinct scores both agree.
    - Two scores so near that their midpoint is the lower: the threshold is the higher one.
    Where no candidate is gold, every threshold has F1 0, and the value is 0.0 as officially.

    Raises ValueError where n_gold < 1, it is below the number of gold candidates, a score is
    not a number, or the shapes differ.
    """
    values = _checked(scores, is_gold, n_gold)
    order = np.argsort(-values, kind="stable")
    values = values[order]
    taken = np.arange(1, len(values) + 1)
    right = np.cumsum(is_gold[order])
    last_of_score = np.append(values[1:] != values[:-1], True)[: len(values)]
    attainable = np.flatnonzero(last_of_score & (right > 0))
    if len(attainable) == 0:
        return Threshold(value=0.0, precision=0.0, recall=0.0, f1=0.0)
    # In this form, not as 2 * right / (taken + n_gold): where two prefixes have the same F1,
    # the rounding of this form is what decides between them officially.
    precision = right[attainable] / taken[attainable]
    recall = right[attainable] / n_gold
    f1 = 2 * precision * recall / (precision + recall)
    best = int(np.argmax(f1))
    at = int(attainable[best])
    return Threshold(
        value=_midpoint(values, at),
        precision=float(precision[best]),
        recall=float(recall[best]),
        f1=float(f1[best]),
    )


def greedy_one_to_one(
    source: npt.NDArray[np.integer],
    target: npt.NDArray[np.integer],
    score: npt.NDArray[np.floating],
) -> npt.NDArray[np.int64]:
    """The candidates that are left when each sentence may be used once, best scores first.

    source, target: int[n], the sentences of each candidate; score: float[n]. Candidates are
    visited by descending score, equal scores in the given order, and kept while both their
    sentences are free (the `max` retrieval of LASER and XTREME; those then drop pairs with a
    score of 0 or less, here none is dropped). Returns int64[m], indices of the kept
    candidates by descending score. Raises ValueError where shapes differ or a score is not a
    number.
    """
    if not source.shape == target.shape == score.shape or score.ndim != 1:
        raise ValueError(
            f"source {source.shape}, target {target.shape} and score {score.shape}:"
            " give one of each per candidate"
        )
    _check_numbers(score)
    order = np.argsort(-score, kind="stable")
    used_sources: set[int] = set()
    used_targets: set[int] = set()
    kept: list[int] = []
    visits = zip(order.tolist(), source[order].tolist(), target[order].tolist(), strict=True)
    for candidate, left, right in visits:
        if left not in used_sources and right not in used_targets:
            used_sources.add(left)
            used_targets.add(right)
            kept.append(candidate)
    return np.array(kept, dtype=np.int64)


def _checked(
    scores: npt.NDArray[np.floating], is_gold: npt.NDArray[np.bool_], n_gold: int
) -> npt.NDArray[np.float64]:
    """The scores as float64, or ValueError where the three do not belong together."""
    if scores.ndim != 1 or scores.shape != is_gold.shape or is_gold.dtype != np.bool_:
        raise ValueError(
            f"scores {scores.dtype}{list(scores.shape)} and is_gold"
            f" {is_gold.dtype}{list(is_gold.shape)}: give a number and a bool per candidate"
        )
    if n_gold < 1:
        raise ValueError(f"{n_gold} gold pairs: recall needs at least one")
    found = int(np.count_nonzero(is_gold))
    if found > n_gold:
        raise ValueError(f"{found} gold candidates of {n_gold} gold pairs: count each pair once")
    _check_numbers(scores)
    return scores.astype(np.float64)


def _check_numbers(scores: npt.NDArray[np.floating]) -> None:
    missing = np.isnan(scores)
    if missing.any():
        at = int(missing.argmax())
        raise ValueError(f"score of candidate {at} is nan: leave out pairs without a margin")


def _midpoint(descending: npt.NDArray[np.float64], at: int) -> float:
    """A value that keeps the scores up to `at` and drops the next lower one."""
    higher = float(descending[at])
    if at + 1 == len(descending):
        return higher
    lower = float(descending[at + 1])
    middle = (higher + lower) / 2
    return middle if lower < middle <= higher else higher
