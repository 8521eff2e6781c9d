"""Claims beyond two files: differences over seeds and independently made checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod, sqrt
from typing import Literal, Protocol

import numpy as np

from harness.errors import UsageError

Claim = Literal["objective", "recipe", "descriptive"]

ENOUGH = 3  # checkpoints or seeds, on each side
ROUNDING = 1e-12  # scores are in [0, 1] and in double precision


@dataclass(frozen=True)
class Replicate:
    """One run of a side. ``origin``: the checkpoint or recipe that it is of; runs that differ in
    the seed alone (of its training or of the target's) share one. ``base``: the checkpoint that
    the origin was trained from. ``score``: the run's macro score. ``corpora``: what the origin's
    training data are from; origins that have a corpus in common are not independent.
    """

    origin: str
    base: str
    seed: int
    score: float
    corpora: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Side:
    """The runs of A or of B. ``fixed``: one checkpoint that nothing was drawn at random for, such
    as the base itself with frozen vectors: it adds no variance and needs no replication."""

    runs: tuple[Replicate, ...]
    fixed: bool = False


@dataclass(frozen=True)
class Hierarchical:
    """A difference over replicates: mean of A − mean of B.

    For a descriptive claim there is no more than the difference: the rest is None.
    """

    claim: Claim
    difference: float
    se: float | None
    df: float | None
    low: float | None
    high: float | None
    p: float | None

    def interval(self, level: float) -> tuple[float | None, float | None]:
        """The t interval at another level than 95 %; None for a descriptive claim."""
        if self.se is None or self.df is None:
            return None, None
        reach = t_quantile(level, self.df) * self.se
        return self.difference - reach, self.difference + reach


def t_quantile(level: float, df: float) -> float:
    """How many standard errors the central ``level`` of a t distribution reaches to each side."""
    from scipy.special import stdtrit  # as scipy.stats.t.ppf, which takes a second to import

    return float(stdtrit(df, (1 + level) / 2))


def mean_interval(
    scores: Sequence[float], item_variance: float, clusters: int
) -> tuple[float, float]:
    """The 95 % interval of one recipe's mean score over its seeds: SE² = s²/k + σ²_item.

    ``scores``: float[k], one for each seed, k ≥ 2; the degrees of freedom are Satterthwaite's, as
    in `hierarchical`.
    """
    mean = float(np.mean(scores))
    terms = [
        (item_variance, clusters - 1),
        (float(np.var(scores, ddof=1)) / len(scores), len(scores) - 1),
    ]
    variance = sum(term for term, _ in terms)
    if variance < ROUNDING**2:
        return mean, mean
    reach = t_quantile(0.95, _satterthwaite(terms)) * sqrt(variance)
    return mean - reach, mean + reach


def _satterthwaite(terms: Sequence[tuple[float, int]]) -> float:
    """The degrees of freedom of a sum of variances, each with its own: SE⁴ / Σ v²/ν."""
    total = sum(term for term, _ in terms)
    return total**2 / sum(term**2 / freedom for term, freedom in terms)


def claim(a: Side, b: Side) -> Claim:
    """What a difference may be said of.

    "objective": every side has at least 3 independent checkpoints, all on one base (those whose
    training data overlap count as one); "recipe": every side has these or one checkpoint with at
    least 3 seeds; "descriptive": anything else.
    """
    varying = [side for side in (a, b) if not side.fixed]
    levels = {_level(side) for side in varying}
    if not varying or "descriptive" in levels:
        return "descriptive"
    if levels == {"objective"}:
        bases = {run.base for side in varying for run in side.runs}
        # A fixed side is compared fairly only if it is that base, or was trained from it.
        fixed = [run for side in (a, b) if side.fixed for run in side.runs]
        if len(bases) == 1 and all(bases & {run.base, run.origin} for run in fixed):
            return "objective"
    return "recipe" if "recipe" in levels else "descriptive"


class Made(Protocol):
    """What tells independent runs from others; see `Replicate`."""

    @property
    def origin(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def corpora(self) -> frozenset[str]: ...


def independent(runs: Sequence[Made]) -> list[int]:
    """Return the number of each run's group, from 0: runs of one group are not independent.

    Runs of one origin are in one group, and so are those of origins that have a corpus in common,
    directly or through another origin.
    """
    groups: list[int] = []
    for place, run in enumerate(runs):
        joined = {
            groups[other]
            for other, earlier in enumerate(runs[:place])
            if earlier.origin == run.origin or earlier.corpora & run.corpora
        }
        own = min(joined, default=place)
        groups = [own if group in joined else group for group in groups] + [own]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return [numbers[group] for group in groups]


def shares(runs: Sequence[Made]) -> list[float]:
    """Each run's weight in its side's mean, summing to 1.

    Every independent group counts the same, within it every origin, within that every seed, within
    that every run: as in the scores that the test is over. These are the weights for `paired.pair`,
    whose draws give the item variance.
    """
    paths = [
        (group, run.origin, run.seed, place)
        for place, (group, run) in enumerate(zip(independent(runs), runs, strict=True))
    ]
    parts: dict[tuple[object, ...], set[tuple[object, ...]]] = {}
    for path in paths:
        for depth in range(len(path)):
            parts.setdefault(path[:depth], set()).add(path[: depth + 1])
    return [1 / prod(len(parts[path[:depth]]) for depth in range(len(path))) for path in paths]


def hierarchical(a: Side, b: Side, item_variance: float, clusters: int) -> Hierarchical:
    """SE² = s_A²/k_A + s_B²/k_B + σ²_item, and a t test with Satterthwaite's degrees of freedom.

    ``item_variance``: σ²_item, the variance of the seed-averaged macro difference over the cluster
    bootstrap (`contrast.Estimate`), from ``clusters`` clusters. s and k are over
    checkpoints (seeds averaged) for a side with several, over seeds for a side with one.
    df = SE⁴ / Σ v²/ν over the three terms v, with ν = k_A − 1, k_B − 1 and clusters − 1
    (Satterthwaite 1946). Without the items it is Welch's test.

    Raises UsageError for a side without runs, or a fixed one with several.
    """
    for side in (a, b):
        if not side.runs or (side.fixed and len(side.runs) > 1):
            raise UsageError(
                f"a side of a contrast has {len(side.runs)} runs: give one at least, "
                "and one alone where it is fixed"
            )
    if not item_variance >= 0 or clusters < 2:
        raise UsageError(
            f"item variance {item_variance} of {clusters} clusters: give a variance of at least 0 "
            "and 2 clusters or more"
        )
    mean_a, mean_b = (
        float(np.dot(shares(side.runs), [run.score for run in side.runs])) for side in (a, b)
    )
    difference = mean_a - mean_b
    kind = claim(a, b)
    if kind == "descriptive":
        return Hierarchical(kind, difference, None, None, None, None, None)
    terms = [(item_variance, clusters - 1)]
    for side in (a, b):
        if not side.fixed:
            scores = units(side)
            terms.append((float(np.var(scores, ddof=1)) / len(scores), len(scores) - 1))
    variance = sum(term for term, _ in terms)
    if variance < ROUNDING**2:  # every run and every example alike
        certain = 1.0 if abs(difference) < ROUNDING else 0.0
        return Hierarchical(kind, difference, 0.0, inf, difference, difference, certain)
    from scipy.special import stdtr

    se = sqrt(variance)
    df = _satterthwaite(terms)
    reach = t_quantile(0.95, df) * se
    p = 2 * float(stdtr(df, -abs(difference) / se))
    return Hierarchical(kind, difference, se, df, difference - reach, difference + reach, p)


def _level(side: Side) -> Claim:
    if len(set(independent(side.runs))) >= ENOUGH:
        return "objective"
    if (
        len({run.origin for run in side.runs}) == 1
        and len({run.seed for run in side.runs}) >= ENOUGH
    ):
        return "recipe"
    return "descriptive"


def units(side: Side) -> Sequence[float]:
    """The scores that vary: of independent checkpoints, or of the seeds of a single one.

    Each is the mean of its runs with their shares, so that their mean is the side's: runs of one
    origin and seed (a checkpoint whose target head was trained several times) count as one.
    """
    single = len({run.origin for run in side.runs}) == 1
    units = [run.seed for run in side.runs] if single else independent(side.runs)
    weighted: dict[int, list[tuple[float, float]]] = {}
    for unit, share, run in zip(units, shares(side.runs), side.runs, strict=True):
        weighted.setdefault(unit, []).append((share, run.score))
    return [
        sum(share * score for share, score in own) / sum(share for share, _ in own)
        for own in weighted.values()
    ]
