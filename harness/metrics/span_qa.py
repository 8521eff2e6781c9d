"""The scores of answered questions; `squad` and `mlqa` compute them answer by answer."""

from __future__ import annotations

from dataclasses import dataclass

from harness.metrics.per_example import Floats


@dataclass(frozen=True, eq=False)
class Answers:
    """Scored answers of n questions, float64[n] in [0, 1]; one that is not answered scores 0."""

    exact_match: Floats
    f1: Floats


def exact_match(answers: Answers) -> Floats:
    """float64[n]: 1 where the answer is a gold answer once both are normalised."""
    return answers.exact_match


def f1(answers: Answers) -> Floats:
    """float64[n]: F1 of the answer's words and those of the nearest gold answer."""
    return answers.f1
