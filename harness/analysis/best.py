"""Finds the best intermediate task per target: on all items, and on other items than measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from harness.analysis.differences import SEED, TwoSides, comparison, difference_key
from harness.analysis.entries import Entry
from harness.analysis.gains import Gain, Source, sides
from harness.analysis.runs import Replicated
from harness.analysis.targets import Target, results_at
from harness.io.kept import keep_text, read_kept
from harness.statistics.contrast import Estimate, macro
from harness.statistics.ratios import PairedRatios, averaged, coupled
from harness.statistics.resampling import RESAMPLES, Comparison, resample
from harness.statistics.selection import choose
from harness.statistics.verdict import Evidence, Verdict, judge


@dataclass(frozen=True, eq=False)
class Best:
    """The best intermediate task of each target.

    ``naive``: chosen and measured on all items, and so biased upwards by the choice; ``chosen``:
    slug of the one that half of the items choose; ``honest``: its difference on the other half,
    over items alone.
    """

    naive: Mapping[Target, Gain]
    chosen: Mapping[Target, str]
    honest: Mapping[Target, Verdict]
    naive_mean: float | None = None
    honest_mean: Verdict | None = None


def best_per_target(
    base: Entry, measured: Mapping[Target, Mapping[str, Gain]], source: Source
) -> Best:
    """Return the best per target, where two intermediate tasks or more can be compared on it.

    ``measured``: target → slug → a variant's difference, of pairs that are not contaminated; the
    means are over these targets, and None unless there is a choice on every one.
    """
    candidates = {target: clean for target, clean in measured.items() if len(clean) > 1}
    naive = {
        target: max(clean.values(), key=lambda gain: gain.verdict.estimate or 0.0)
        for target, clean in candidates.items()
    }
    halved = _halved(base, candidates, source)
    found = {target: target.label for target in candidates if target.label in halved.chosen}
    whole = len(candidates) == len(measured) > 0
    sizes = [gain.verdict.estimate or 0.0 for gain in naive.values()]
    return Best(
        naive=naive,
        chosen={target: halved.chosen[label] for target, label in found.items()},
        honest={target: judge(halved.honest[label], Evidence()) for target, label in found.items()},
        naive_mean=sum(sizes) / len(sizes) if whole else None,
        honest_mean=judge(halved.mean, Evidence()) if whole and halved.mean is not None else None,
    )


@dataclass(frozen=True)
class Halved:
    """Label of a target → the slug that half of the items choose, and its difference on the rest.

    ``mean``: over the targets, None unless every one has a choice.
    """

    chosen: Mapping[str, str] = field(default_factory=dict)
    honest: Mapping[str, Estimate] = field(default_factory=dict)
    mean: Estimate | None = None


def _halved(base: Entry, candidates: Mapping[Target, Mapping[str, Gain]], source: Source) -> Halved:
    """Return the choices by half of the items; none where there are too many variants to read
    each.
    """
    if source.results is None:
        return Halved()
    pairs = {
        target.label: {
            slug: sides(gain.entry, base, [target.label], results_at([target]))
            for slug, gain in clean.items()
        }
        for target, clean in candidates.items()
    }
    if source.kept is None:
        return _choose(pairs, source.results)
    keys = [
        (label, slug, difference_key(of, source.results))
        for label, of_target in pairs.items()
        for slug, of in of_target.items()
    ]
    if not all(key for *_, key in keys):
        return _choose(pairs, source.results)
    digest = sha256(json.dumps([keys, Path(__file__).read_text("utf-8")]).encode())
    path = source.kept / f"{digest.hexdigest()}.json"
    form = TypeAdapter(Halved)
    if (known := read_kept(path, lambda kept: form.validate_json(kept.read_bytes()))) is not None:
        return known
    found = _choose(pairs, source.results)
    keep_text(path, json.dumps(asdict(found)))
    return found


def _choose(pairs: Mapping[str, Mapping[str, TwoSides]], results: Path) -> Halved:
    """Choose on each target.

    ``pairs``: label of a target → slug → the runs of a variant and its base.
    """
    choices = {}
    for label, of_target in pairs.items():
        compared = {slug: _compared(of, label, results) for slug, of in of_target.items()}
        if (choice := choose(compared, SEED)) is not None:
            choices[label] = choice
    honest = {label: _estimate([choice.other]) for label, choice in choices.items()}
    every = len(choices) == len(pairs) > 0
    return Halved(
        chosen={label: choice.name for label, choice in choices.items()},
        honest=honest,
        mean=_estimate([choice.other for choice in choices.values()]) if every else None,
    )


def _compared(of: TwoSides, task: str, results: Path) -> Comparison:
    """Return two sides' outcomes by example, or by runs where a mean over runs has none."""
    if of.can_be_paired:
        return comparison(of, task, results)
    pairs = list(coupled(of.a.shares, of.b.shares))
    parts = []
    for i, j, _ in pairs:
        alone = TwoSides(Replicated((of.a.runs[i],)), Replicated((of.b.runs[j],)))
        part = comparison(alone, task, results)
        assert isinstance(part, PairedRatios)  # what has no mean over runs is a ratio
        parts.append(part)
    return averaged(parts, [weight for _, _, weight in pairs])


def _estimate(compared: Sequence[Comparison]) -> Estimate:
    return macro(resample(compared, np.random.default_rng(SEED), RESAMPLES))
