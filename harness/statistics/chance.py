"""At chance: a language in which no run beats random draws shows no difference.

One rule, for the board, its page, `compare` and the statistics. A metric has a chance rule where it
counts hits: recall@k, hit@k, and accuracy of texts. MRR, MAP, nDCG and the scores of question
answering and tagging have none, and no language is called at chance by them.

- accuracy (k = 1) and hit@k: a hit is a query with a relevant candidate among the first k; there
  are as many draws as queries, each a hit with probability 1 − C(n − g, k) / C(n, k).
- accuracy of classification and multiple choice: a hit is a right answer. Its probability is, for
  classification, the share of the larger class among the gold labels of the very rows, which always
  giving that class scores; for multiple choice, where a choice's place says nothing, what the card
  gives for chance.
- recall@k: a hit is a relevant candidate among the first k; there are queries × g draws, each a hit
  with probability k / n.

n is the size of the pool that the query is ranked against: a language's own sentences for bitext,
all candidates of all languages for passages. g is the number of relevant candidates of a query.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, comb, isnan

from harness.errors import UsageError

LEVEL = 0.95
# A mean of float64 hits times their number is whole up to this.
ROUNDING = 1e-6


@dataclass(frozen=True)
class RandomDraws:
    """What a random order of the candidates is: ``draws`` independent draws, each a hit with
    probability ``rate``."""

    draws: int
    rate: float

    def most(self, level: float = LEVEL) -> int:
        """The most hits that the central ``level`` of the binomial distribution gives."""
        return _most(self.draws, self.rate, level)


def random_draws(
    metric: str, queries: int, candidates: int, relevant: float = 1
) -> RandomDraws | None:
    """The draws of a metric over ``queries``; None for a metric without a chance rule.

    ``relevant``: candidates that are right for a query, their mean where queries differ.

    Raises UsageError for numbers that cannot be counts.
    """
    rate = chance_rate(metric, candidates, max(1, round(relevant)))
    if rate is None:
        return None
    if queries < 1:
        raise UsageError(f"{queries} queries: give 1 of them or more")
    several = metric.startswith("recall")
    return RandomDraws(round(queries * relevant) if several else queries, rate)


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


def at_chance(scores: Iterable[float], random: RandomDraws | None) -> bool:
    """Whether no run exceeds what random draws give.

    ``scores``: a language's score in [0, 1] in every run of either side; a run exceeds chance where
    score × draws is above the upper end of the central 95 % of the binomial distribution. A score
    below that interval is at chance too. False where the metric has no chance rule (None) and where
    there is no run.

    Raises UsageError for a score outside [0, 1].
    """
    runs = list(scores)
    if wrong := [score for score in runs if not 0 <= score <= 1]:
        raise UsageError(f"score {wrong[0]}: give scores in [0, 1]")
    if random is None or not runs:
        return False
    return max(runs) * random.draws <= random.most() + ROUNDING


@lru_cache(maxsize=65_536)
def _most(draws: int, rate: float, level: float) -> int:
    """The quantile of the binomial distribution: the fewest hits whose distribution function is
    (1 + level) / 2 or more, found from where the continued function is."""
    from scipy.special import bdtr, bdtrik  # scipy.stats.binom takes a second to import

    wanted = (1 + level) / 2
    near = bdtrik(wanted, draws, rate)  # nan at the ends, where it has no solution
    hits = round(draws * rate) if isnan(near) else min(draws, max(0, ceil(near)))
    while hits > 0 and bdtr(hits - 1, draws, rate) >= wanted:
        hits -= 1
    while hits < draws and bdtr(hits, draws, rate) < wanted:
        hits += 1
    return hits
