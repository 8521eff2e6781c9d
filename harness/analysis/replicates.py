"""Adds seeds and checkpoints as a source of variance to every line of a difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isclose

from harness.analysis.differences import Difference
from harness.analysis.entries import Entry
from harness.analysis.runs import Replicated, Results, Run, Score
from harness.analysis.variants import recipe_of, training_seed
from harness.statistics.contrast import (
    Column,
    Estimate,
    Part,
    adjusted,
    mean_over,
    seen_unseen_columns,
)
from harness.statistics.hierarchy import ROUNDING, Hierarchical, hierarchical
from harness.statistics.multiplicity import FAMILY_LEVEL
from harness.statistics.verdict import Evidence
from harness.submissions.corpora import corpora


def runs_of(
    entry: Entry, base: str, tasks: Sequence[str], results_of: Callable[[Entry], Results]
) -> list[Run]:
    """Return a run for each seed that all the tasks were run with, of every member of a variant.

    ``results_of``: the results of a checkpoint by task. Checkpoints of one recipe on one base are
    one origin, and their training seeds its seeds. Where no seed has all the tasks, the first of
    each is taken.
    """
    if entry.members:
        return [run for one in entry.members for run in runs_of(one, base, tasks, results_of)]
    recipe, trained = recipe_of(entry), training_seed(entry)
    origin = entry.slug if recipe is None else "recipe {1} on {0}".format(*recipe)
    found = results_of(entry)
    seeds = {
        task: {r.seed: r for r in found[task].seeds or (found[task],)}
        for task in tasks
        if found[task].track == "tuned"
    }
    # Elsewhere nothing is drawn at random: such a result goes with every seed.
    common = sorted(set.intersection(*map(set, seeds.values()))) if seeds else []
    data = _sources(entry)
    if not common:
        first = {task: (found[task].seeds or (found[task],))[0] for task in tasks}
        return [Run(origin, base, trained or 0, first, data)]
    return [
        Run(
            origin,
            base,
            seed if trained is None else trained,
            {task: seeds[task][seed] if task in seeds else found[task] for task in tasks},
            data,
        )
        for seed in common
    ]


def _sources(entry: Entry) -> frozenset[str]:
    """Return what is not independent of others that have it too: corpora, and checkpoints that its
    training went on from.
    """
    if entry.lineage is None:
        return frozenset()
    stages = (f"checkpoint {slug}" for slug in entry.lineage.stages)
    return corpora(entry.lineage.whole.datasets).union(stages)


def over_replicates(
    found: Difference, a: Replicated, b: Replicated
) -> tuple[Difference, Hierarchical | None]:
    """Return the difference with intervals and p-values over replicates and items, and the test of
    it all.

    Each line gets a test of its own over the scores of the runs in its languages, with the clusters
    of its own languages. Where there are too few replicates for one (a descriptive claim) the lines
    stay over items alone; None where the items do not give a variance either.
    """

    def part(line: Part) -> Part:
        return replace(line, estimate=over_seeds(line.estimate, mean_score(line.columns), a, b)[0])

    estimate, whole = over_seeds(found.estimate, mean_score(found.columns), a, b)
    evidence = evidence_of(a, b, whole)
    if whole is None or whole.p is None:
        return replace(found, evidence=evidence), whole
    did = found.seen_less_unseen
    above = found.above_chance
    return (
        replace(
            found,
            estimate=estimate,
            languages=tuple(adjusted(map(part, found.languages))),
            groups={
                by: tuple(adjusted(map(part, lines), together=True))
                for by, lines in found.groups.items()
            },
            seen_less_unseen=(
                over_seeds(did, _seen_less_unseen(found), a, b)[0] if did is not None else None
            ),
            above_chance=part(above) if above is not None else None,
            evidence=evidence,
        ),
        whole,
    )


def over_seeds(
    estimate: Estimate, score: Score, a: Replicated, b: Replicated
) -> tuple[Estimate, Hierarchical | None]:
    """Return an estimate with its intervals and p over replicates and items, and the test that gave
    them: all of them are of the difference between the means of the runs.

    The estimate as it is where there are too few replicates, or too few items for a variance.
    """
    if estimate.variance is None or estimate.clusters < 2:
        return estimate, None
    test = hierarchical(a.scored(score), b.scored(score), estimate.variance, estimate.clusters)
    if test.p is None:
        return estimate, test
    family_low, family_high = test.interval(FAMILY_LEVEL)
    same = isclose(test.difference, estimate.difference, abs_tol=ROUNDING)  # added up otherwise
    return (
        replace(
            estimate,
            difference=estimate.difference if same else test.difference,
            low=test.low,
            high=test.high,
            p=test.p,
            family_low=family_low,
            family_high=family_high,
            se=test.se,
            df=test.df,
        ),
        test,
    )


def evidence_of(a: Replicated, b: Replicated, whole: Hierarchical | None) -> Evidence:
    """Return what a difference is made of, and what may therefore be said."""
    return Evidence(
        claim="descriptive" if whole is None else whole.claim,
        runs=(len(a.runs), len(b.runs)),
        checkpoints=(a.checkpoints, b.checkpoints),
    )


def mean_score(columns: Sequence[Column]) -> Score:
    """Return a run's mean over some (task, language) columns: languages within tasks, then
    tasks.
    """
    return lambda results: mean_over(columns, lambda task, lang: results[task].values[lang].value)


def _seen_less_unseen(found: Difference) -> Score:
    sides = seen_unseen_columns(found.columns, found.seen, found.unseen)
    assert sides is not None  # there is an estimate of it
    seen, unseen = (mean_score(columns) for columns in sides)
    return lambda results: seen(results) - unseen(results)
