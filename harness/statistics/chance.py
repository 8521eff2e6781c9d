"""What guessing scores: a language where both runs are at chance says nothing of either."""

from __future__ import annotations

from math import comb

from harness.errors import UsageError


def chance_rate(metric: str, candidates: int, relevant: int = 1) -> float | None:
    """The expected score of a random order of ``candidates``, ``relevant`` of them right.

    recall@k: k / n, whatever the number of relevant ones; hit@k: 1 − C(n − g, k) / C(n, k), which
    is k / n for one relevant candidate; accuracy as hit@1. None for other metrics.

    Raises UsageError where there are fewer candidates than relevant ones.
    """
    if not 1 <= relevant <= candidates:
        raise UsageError(f"{relevant} relevant of {candidates} candidates: give 1 of them or more")
    name, _, depth = metric.partition("@")
    if metric == "accuracy":
        name, depth = "hit", "1"
    if name not in ("hit", "recall") or not depth.isdecimal():
        return None
    k = min(int(depth), candidates)
    if name == "recall":
        return k / candidates
    return 1 - comb(candidates - relevant, k) / comb(candidates, k)


def at_chance(score: float, examples: int, rate: float, level: float = 0.95) -> bool:
    """Whether a mean score over ``examples`` is no higher than guessing may give.

    That is, score × examples is at most the upper end of the central ``level`` of a binomial with
    ``examples`` trials of probability ``rate``. What is below the interval is at chance too. Where
    several candidates are relevant a recall varies less than a binomial, which errs on the side of
    marking.

    Raises UsageError for numbers that are no score, count or probability.
    """
    if examples < 1 or not 0 <= rate <= 1 or not 0 <= score <= 1:
        raise UsageError(
            f"score {score} of {examples} examples by chance {rate}: give a score and a rate in "
            "[0, 1], and examples"
        )
    from scipy.stats import binom

    upper = float(binom.ppf((1 + level) / 2, examples, rate))
    return score * examples <= upper + 1e-9 * examples
