"""Ranks with uncertainty: who cannot be separated from the leader of a group shares its rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError
from harness.statistics.resampling import BLOCK, RESAMPLES, ROUNDING, cluster_signs, flip_p

Values = npt.NDArray[np.float64]
LEVEL = 0.05


@dataclass(frozen=True)
class Place:
    """A checkpoint's place. ``rank``: 1 + the number of checkpoints before its group; ``leader``:
    the best of its group; ``p``: of the paired test against that leader (1 for itself)."""

    name: str
    score: float
    rank: int
    leader: str
    p: float


def _unknown(one: str, other: str) -> float | None:
    return None


@dataclass(frozen=True)
class KnownTests:
    """p-values of pairs of checkpoints, by name, that are known otherwise than by sign flips.

    ``verdict``: that decides a verdict on their difference, adjusted where it is of a family;
    ``p``: that, or of a test over seeds. None for a pair without one.
    """

    verdict: Callable[[str, str], float | None] = _unknown
    p: Callable[[str, str], float | None] = _unknown


def tie_groups(
    names: Sequence[str],
    profiles: Values,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    known: KnownTests | None = None,
) -> list[Place]:
    """Ranks by the score, best first; equal scores by name.

    ``profiles``: float64[C, K], what each cluster adds to each checkpoint's score. The
    best checkpoint leads the first group. Going down, each is tested against the leader of the
    current group by sign flips of whole clusters; where p < ``level`` it leads the next. So there
    is one test a checkpoint. All share the same signs, and flipping is linear: the flipped
    difference of two checkpoints is that of their flipped scores, from one matrix product.
    ``known``: tests that come before the sign flips. No rank contradicts a verdict: what a verdict
    does not separate from some member of the group is of the group.

    Raises UsageError where names repeat or do not fit the profiles.
    """
    if len(set(names)) != len(names) or profiles.shape[1:] != (len(names),):
        raise UsageError(f"{len(names)} names for {profiles.shape[1:]} profiles: one for each")
    if not names:
        return []
    scores = profiles.sum(axis=0)
    order = sorted(range(len(names)), key=lambda i: (-round(scores[i], 12), names[i]))
    flipped = _flipped(profiles, rng, resamples)
    noise = _noise(profiles)
    tests = known or KnownTests()
    places: list[Place] = []
    group, rank = [order[0]], 1
    for position, index in enumerate(order):
        leader = group[0]
        p = 1.0
        if index != leader:
            told = tests.p(names[leader], names[index])
            rounding = ROUNDING * float(np.abs(profiles[:, leader] - profiles[:, index]).sum())
            p = told if told is not None else flip_p(
                scores[leader] - scores[index],
                flipped[:, leader].astype(np.float64) - flipped[:, index],
                max(rounding, noise),
            )  # fmt: skip
            group.append(index)
            verdicts = [tests.verdict(names[one], names[index]) for one in group[:-1]]
            if p < level and not any(one is not None and one >= level for one in verdicts):
                group, rank, p = [index], position + 1, 1.0
        places.append(Place(names[index], float(scores[index]), rank, names[group[0]], p))
    return places


def _flipped(profiles: Values, rng: np.random.Generator, resamples: int) -> npt.NDArray[np.float32]:
    """float32[R, K]: each score with signs flipped, up to what all checkpoints have in common."""
    # What is common cancels in every difference; without it single precision loses less.
    own = (profiles - profiles.mean(axis=1, keepdims=True)).astype(np.float32)
    clusters = len(profiles)
    flipped = np.empty((resamples, profiles.shape[1]), dtype=np.float32)
    step = max(1, BLOCK // clusters)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        flipped[start : start + count] = cluster_signs(clusters, count, rng) @ own
    return flipped


def _noise(profiles: Values) -> float:
    """The rounding error of a flipped score in single precision."""
    own = np.abs(profiles - profiles.mean(axis=1, keepdims=True)).sum(axis=0)
    return float(np.finfo(np.float32).eps * own.max(initial=0.0))
