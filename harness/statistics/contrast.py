"""Contrasts between two runs: macro differences, breakdowns, intervals and p-values.

Everything is a linear functional of the columns (one per task and language) of one set of draws,
so that every number of a contrast comes from the same weights. Languages are fixed: a result is
about these languages, not about languages at large.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, sqrt
from typing import Literal

import numpy as np

from harness.cards.languages import read_languages
from harness.errors import UsageError
from harness.statistics.multiplicity import FAMILY_LEVEL, benjamini_hochberg
from harness.statistics.resampling import ROUNDING, Draws, Floats, flip_p, percentile_interval

GroupedBy = Literal["family", "script", "resource"]
Column = tuple[str, str]  # (task, language)


@dataclass(frozen=True)
class Estimate:
    """A difference A − B with its 95 % interval and p-value.

    ``low`` and ``high`` are None where no resample has examples of every language; ``resamples``
    is the number that have, ``variance`` that of the difference over them (None with fewer than
    two). ``family_low``, ``family_high``: the interval at `multiplicity.FAMILY_LEVEL`.
    ``clusters``: the parallel items that it is over. ``se``: the standard error; ``df``: of the t
    distribution that interval and p are of, None for those of the bootstrap and of sign flips.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    resamples: int
    variance: float | None = None
    family_low: float | None = None
    family_high: float | None = None
    clusters: int = 0
    se: float | None = None
    df: float | None = None


@dataclass(frozen=True)
class Part:
    """One line of a breakdown: a language of a task, or a group of languages.

    ``columns``: the (task, language) pairs that it is the mean of, see `mean_over`. ``q``: p
    adjusted by Benjamini and Hochberg over the lines of the breakdown (of the task, for languages).
    ``task`` is the label of all tasks for a group.
    """

    task: str
    name: str
    columns: tuple[Column, ...]
    estimate: Estimate
    q: float

    @property
    def languages(self) -> tuple[str, ...]:
        """Its languages, of whatever task."""
        return tuple(dict.fromkeys(lang for _, lang in self.columns))


def macro(draws: Draws) -> Estimate:
    """Δ = (1/|L|) Σ_l [Σ_c S_cl / Σ_c n_cl] within a task, then the mean over tasks."""
    return _estimate(draws, macro_weights(draws))


def by_language(draws: Draws) -> list[Part]:
    """Every language of every task, adjusted within the task."""
    return adjusted(
        Part(task, lang, ((task, lang),), estimate, estimate.p)
        for column, (task, lang) in enumerate(draws.columns)
        for estimate in [_estimate(draws, np.eye(len(draws.columns))[column])]
    )


def by_group(draws: Draws, groups: Mapping[str, Collection[str]]) -> list[Part]:
    """The macro difference of each named group of languages; groups without any are left out.

    See `language_groups`. Over several tasks: within each that has languages of the group, then
    the mean over those, which are the ones that the line names.
    """
    parts = []
    for name, langs in groups.items():
        weights = macro_weights(draws, langs)
        if weights.any():
            here = tuple(column for column in draws.columns if column[1] in langs)
            estimate = _estimate(draws, weights)
            parts.append(Part(label(here), name, here, estimate, estimate.p))
    return adjusted(parts, together=True)


def without(draws: Draws, columns: Collection[Column]) -> Part | None:
    """The macro difference without some (task, language) columns.

    None where none of them is there, or none would be left.
    """
    chosen = [column for column in draws.columns if column not in columns]
    if not chosen or len(chosen) == len(draws.columns):
        return None
    weights = _mean_weights(draws, [column in chosen for column in draws.columns])
    estimate = _estimate(draws, weights)
    name = f"{len(chosen)} of {len(draws.columns)}"
    return Part(label(chosen), name, tuple(chosen), estimate, estimate.p)


def difference_in_differences(
    draws: Draws,
    seen: Collection[str],
    unseen: Collection[str],
    scale: Mapping[Column, float] | None = None,
) -> Estimate | None:
    """Δ of ``seen`` − Δ of ``unseen`` on the same weights; None where a side has no language.

    ``scale``: (task, language) → what its difference is divided by before the means, such as B's
    score for relative differences: in points a language that scores higher has more to lose. These
    are taken as known: they add nothing to the interval.

    Only tasks with languages on both sides count, else a difference between tasks would pass for
    one between languages. Flipping signs would test that neither side differs at all, which a gain
    in both contradicts without any difference between them; so p is from the bootstrap
    distribution, moved to zero: (1 + #{|Δ* − Δ| ≥ |Δ|}) / (B + 1).
    """
    columns = seen_unseen_columns(draws.columns, seen, unseen)
    if columns is None:
        return None
    of_seen, of_unseen = (
        _mean_weights(draws, [column in side for column in draws.columns]) for side in columns
    )
    weights = of_seen - of_unseen
    if scale is not None:
        used = [scale[column] if weight else 1.0
                for column, weight in zip(draws.columns, weights, strict=True)]  # fmt: skip
        weights = weights / np.array(used)
    observed, known = _bootstrap(draws, weights)
    rounding = ROUNDING * float(np.abs(weights) @ draws.magnitude)
    p = flip_p(observed, known - observed, rounding)
    return _with_intervals(observed, known, p, draws.clusters_of(weights), rounding)


def seen_unseen_columns(
    columns: Sequence[Column], seen: Collection[str], unseen: Collection[str]
) -> tuple[tuple[Column, ...], tuple[Column, ...]] | None:
    """The columns of either side, in the tasks that have both; None where no task has."""
    sides = [[column for column in columns if column[1] in langs] for langs in (seen, unseen)]
    both = {task for task, _ in sides[0]} & {task for task, _ in sides[1]}
    if not both:
        return None
    of_seen, of_unseen = (tuple(column for column in side if column[0] in both) for side in sides)
    return of_seen, of_unseen


def mean_over(columns: Sequence[Column], value: Callable[[str, str], float]) -> float:
    """The mean of ``value(task, language)`` over languages within each task, then over tasks."""
    per_task = Counter(task for task, _ in columns)
    return sum(value(*column) / (per_task[column[0]] * len(per_task)) for column in columns)


def macro_weights(draws: Draws, langs: Collection[str] | None = None) -> Floats:
    """float64[J]: the weight of each column in the mean over languages, then tasks.

    Restricted to some languages; all zero where none is left.
    """
    return _mean_weights(draws, [langs is None or lang in langs for _, lang in draws.columns])


def _mean_weights(draws: Draws, chosen: Sequence[bool]) -> Floats:
    per_task = Counter(task for (task, _), use in zip(draws.columns, chosen, strict=True) if use)
    return np.array(
        [
            1 / (per_task[task] * len(per_task)) if use else 0.0
            for (task, _), use in zip(draws.columns, chosen, strict=True)
        ]
    )


def label(columns: Iterable[Column]) -> str:
    """The tasks that columns are averaged over: `mean of lareqa and tatoeba`, or the one task."""
    tasks = list(dict.fromkeys(task for task, _ in columns))
    if len(tasks) == 1:
        return tasks[0]
    return f"mean of {', '.join(tasks[:-1])} and {tasks[-1]}"


def language_groups(langs: Iterable[str], by: GroupedBy) -> dict[str, tuple[str, ...]]:
    """Languages by family, script or resource class, in the order they come.

    A pair (`de-ar`, context and question) goes with its context. UsageError for a language that
    languages.tsv does not have.
    """
    known = read_languages()
    groups: dict[str, list[str]] = {}
    for lang in dict.fromkeys(langs):
        code = lang.split("-")[0]
        if code not in known:
            raise UsageError(f"language {lang!r} has no {by}: add it to tasks/languages.tsv")
        groups.setdefault(str(getattr(known[code], by)), []).append(lang)
    return {name: tuple(members) for name, members in groups.items()}


def seen_unseen(
    langs: Iterable[str], trained_a: Collection[str], trained_b: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(S, U): languages in A's intermediate data and not in B's, and those in neither.

    A pair (`de-ar`) is of S where both its languages are, of U where both are, else of neither.
    """
    every = list(dict.fromkeys(langs))

    def those(belongs: Callable[[str], bool]) -> tuple[str, ...]:
        return tuple(lang for lang in every if all(map(belongs, lang.split("-"))))

    seen = those(lambda code: code in trained_a and code not in trained_b)
    unseen = those(lambda code: code not in trained_a and code not in trained_b)
    return seen, unseen


def _estimate(draws: Draws, weights: Floats) -> Estimate:
    observed, known = _bootstrap(draws, weights)
    used = weights != 0
    rounding = ROUNDING * float(np.abs(weights) @ draws.magnitude)
    p = flip_p(observed, draws.flipped[:, used] @ weights[used], rounding)
    return _with_intervals(observed, known, p, draws.clusters_of(weights), rounding)


def _with_intervals(
    observed: float, known: Floats, p: float, clusters: int, rounding: float
) -> Estimate:
    """The estimate; an end of an interval that lies within ``rounding`` of 0 is 0."""
    variance = float(known.var(ddof=1)) if len(known) > 1 else None
    ends = (*percentile_interval(known), *percentile_interval(known, FAMILY_LEVEL))
    low, high, family_low, family_high = (
        None if isnan(end) else 0.0 if abs(end) < rounding else end for end in ends
    )
    return Estimate(
        difference=observed,
        low=low,
        high=high,
        p=p,
        resamples=len(known),
        variance=variance,
        family_low=family_low,
        family_high=family_high,
        clusters=clusters,
        se=None if variance is None else sqrt(variance),
    )


def _bootstrap(draws: Draws, weights: Floats) -> tuple[float, Floats]:
    """The functional of the data, and of the resamples that have examples of all its columns.

    A resample without any example of a language has no difference for it. A mean over the other
    languages would be another quantity, so the resample is left out: what remains is the bootstrap
    given that every language is there. Only languages of a few clusters are ever absent.
    """
    used = weights != 0
    values = draws.bootstrap[:, used] @ weights[used]
    if not draws.varies(weights):  # It says nothing about other items.
        values = values[:0]
    return float(draws.observed[used] @ weights[used]), values[~np.isnan(values)]


def adjusted(parts: Iterable[Part], *, together: bool = False) -> list[Part]:
    """The lines of a breakdown with their ``q`` worked out anew, within each task.

    ``together``: over all lines, as of groups of languages, of which some have fewer tasks.
    """
    lines = list(parts)
    families = ["" if together else part.task for part in lines]
    found: dict[int, float] = {}
    for family in dict.fromkeys(families):
        here = [place for place, own in enumerate(families) if own == family]
        q_values = benjamini_hochberg([lines[place].estimate.p for place in here])
        found |= dict(zip(here, q_values, strict=True))
    return [replace(part, q=found[place]) for place, part in enumerate(lines)]
