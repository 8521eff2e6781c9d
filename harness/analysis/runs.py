"""Holds the runs of either side of a difference: checkpoints, and seeds of training or tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.analysis.results import Result
from harness.statistics.hierarchy import Replicate, Side, independent, shares

Results = Mapping[str, Result]  # task → result
Score = Callable[[Results], float]


@dataclass(frozen=True)
class Run:
    """One run of a side, as `hierarchy.Replicate`, with the results that its scores come from."""

    origin: str
    base: str
    seed: int
    results: Results
    corpora: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Replicated:
    """The runs of A or of B, all with the same tasks; ``fixed`` as in `hierarchy.Side`."""

    runs: tuple[Run, ...]
    fixed: bool = False

    @property
    def shares(self) -> list[float]:
        """Each run's weight in the side's mean."""
        return shares(self.runs)

    @property
    def checkpoints(self) -> int:
        """How many independently made checkpoints the runs are of."""
        return len(set(independent(self.runs)))

    def scored(self, score: Score) -> Side:
        """Return the runs by one score: of a language, of a group of them, or of all."""
        return Side(
            tuple(
                Replicate(run.origin, run.base, run.seed, score(run.results), run.corpora)
                for run in self.runs
            ),
            self.fixed,
        )
