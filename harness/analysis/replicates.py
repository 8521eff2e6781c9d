"""Seeds and checkpoints as a further source of chance, in every line of a difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.analysis.differences import Difference
from harness.analysis.entries import Result
from harness.statistics.contrast import (
    Column,
    Estimate,
    Part,
    adjusted,
    mean_over,
    seen_unseen_columns,
)
from harness.statistics.hierarchy import Hierarchical, Replicate, Side, hierarchical, shares

Results = Mapping[str, Result]
Score = Callable[[Results], float]


@dataclass(frozen=True)
class Run:
    """One run of a side, as `hierarchy.Replicate`, with the results that its scores come from."""

    origin: str
    base: str
    seed: int
    results: Results


@dataclass(frozen=True)
class Replicated:
    """The runs of A or of B; ``fixed`` as in `hierarchy.Side`."""

    runs: tuple[Run, ...]
    fixed: bool = False

    @property
    def shares(self) -> list[float]:
        """Each run's weight in the side's mean."""
        return shares([run.origin for run in self.runs])

    def scored(self, score: Score) -> Side:
        """The runs by one score: of a language, of a group of them, or of all."""
        return Side(
            tuple(Replicate(r.origin, r.base, r.seed, score(r.results)) for r in self.runs),
            self.fixed,
        )


def over_replicates(
    found: Difference, a: Replicated, b: Replicated
) -> tuple[Difference, Hierarchical | None]:
    """The difference with intervals and p-values over replicates and items, and the test of it all.

    Each line gets a test of its own over the scores of the runs in its languages. Where there are
    too few replicates for one (a descriptive claim) the lines stay over items alone; None where
    the items do not give a variance either.
    """

    def tested(score: Score, estimate: Estimate) -> Hierarchical | None:
        if estimate.variance is None or found.clusters < 2:
            return None
        return hierarchical(a.scored(score), b.scored(score), estimate.variance, found.clusters)

    def over(score: Score, estimate: Estimate) -> Estimate:
        test = tested(score, estimate)
        if test is None or test.p is None:
            return estimate
        return replace(estimate, low=test.low, high=test.high, p=test.p)

    def part(line: Part) -> Part:
        return replace(line, estimate=over(_mean(line.columns), line.estimate))

    whole = tested(_mean([c for line in found.languages for c in line.columns]), found.estimate)
    if whole is None or whole.p is None:
        return found, whole
    did = found.seen_less_unseen
    above = found.above_chance
    return (
        replace(
            found,
            languages=tuple(adjusted(map(part, found.languages))),
            groups={by: tuple(adjusted(map(part, lines))) for by, lines in found.groups.items()},
            seen_less_unseen=over(_seen_less_unseen(found), did) if did is not None else None,
            above_chance=part(above) if above is not None else None,
        ),
        whole,
    )


def _mean(columns: Sequence[Column]) -> Score:
    return lambda results: mean_over(columns, lambda task, lang: results[task].values[lang].value)


def _seen_less_unseen(found: Difference) -> Score:
    every = [column for line in found.languages for column in line.columns]
    sides = seen_unseen_columns(every, found.seen, found.unseen)
    assert sides is not None  # there is an estimate of it
    seen, unseen = (_mean(columns) for columns in sides)
    return lambda results: seen(results) - unseen(results)
