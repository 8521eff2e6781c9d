"""The best intermediate task per target: chosen on all items, and on other items than measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis.differences import SEED, comparison, difference_key
from harness.analysis.entries import Entry
from harness.analysis.gains import Gain, Source, sides
from harness.analysis.replicates import Replicated
from harness.analysis.results import Result
from harness.analysis.targets import Target, results_at
from harness.io.files import write_whole
from harness.metrics.by_kind import has_paired_mean
from harness.statistics.contrast import Estimate, macro
from harness.statistics.resampling import RESAMPLES, resample
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
    """The best per target, where two intermediate tasks or more can be compared on it.

    ``measured``: target → slug → a variant's difference, of pairs that are not contaminated; the
    means are over these targets, and None unless there is a choice on every one.
    """
    candidates = {target: clean for target, clean in measured.items() if len(clean) > 1}
    naive = {
        target: max(clean.values(), key=lambda gain: gain.verdict.estimate or 0.0)
        for target, clean in candidates.items()
    }
    chosen, honest, mean = _honest(base, candidates, source)
    whole = len(candidates) == len(measured) > 0
    sizes = [gain.verdict.estimate or 0.0 for gain in naive.values()]
    return Best(
        naive=naive,
        chosen=chosen,
        honest={target: judge(estimate, Evidence()) for target, estimate in honest.items()},
        naive_mean=sum(sizes) / len(sizes) if whole else None,
        honest_mean=judge(mean, Evidence()) if whole and mean is not None else None,
    )


Halved = tuple[dict[Target, str], dict[Target, Estimate], Estimate | None]


def _honest(base: Entry, candidates: Mapping[Target, Mapping[str, Gain]], source: Source) -> Halved:
    """Target → what half of the items choose, and its difference on the rest; their mean.

    Nothing where there are too many variants to read the outcomes of each; the mean is None unless
    every target has a choice.
    """
    if source.results is None:
        return {}, {}, None
    pairs = {
        target: {
            slug: sides(gain.entry, base, [target.label], results_at([target]))
            for slug, gain in clean.items()
        }
        for target, clean in candidates.items()
    }
    path = None
    if source.kept is not None:
        keys = [
            (target, slug, difference_key(*_rows_of(pair), source.results, weights=_shares(pair)))
            for target, of_target in pairs.items()
            for slug, pair in of_target.items()
        ]
        digest = sha256(json.dumps([keys, Path(__file__).read_text("utf-8")]).encode())
        path = source.kept / f"{digest.hexdigest()}.json"
        if path.exists():
            return _from_json(json.loads(path.read_text(encoding="utf-8")), candidates)
    choices = {}
    for target, of_target in pairs.items():
        compared = {
            slug: comparison(*_rows_of(pair), target.label, source.results, _shares(pair))
            for slug, pair in of_target.items()
            if _can_be_paired(pair, target.label)
        }
        if len(compared) == len(of_target) and (choice := choose(compared, SEED)) is not None:
            choices[target] = choice
    found: dict[Target, Estimate] = {}
    mean = None
    for target, choice in choices.items():
        found[target] = macro(resample([choice.other], np.random.default_rng(SEED), RESAMPLES))
    if len(choices) == len(candidates) > 1:
        others = [choice.other for choice in choices.values()]
        mean = macro(resample(others, np.random.default_rng(SEED), RESAMPLES))
    elif len(choices) == len(candidates) == 1:
        (mean,) = found.values()
    chosen = {target: choice.name for target, choice in choices.items()}
    if path is not None:
        kept = {
            "chosen": {target.label: slug for target, slug in chosen.items()},
            "honest": {target.label: asdict(estimate) for target, estimate in found.items()},
            "mean": None if mean is None else asdict(mean),
        }
        write_whole(path, json.dumps(kept))
    return chosen, found, mean


def _from_json(loaded: Mapping[str, Any], targets: Iterable[Target]) -> Halved:
    chosen = {t: loaded["chosen"][t.label] for t in targets if t.label in loaded["chosen"]}
    honest = {target: Estimate(**loaded["honest"][target.label]) for target in chosen}
    return chosen, honest, Estimate(**loaded["mean"]) if loaded["mean"] else None


Pair = tuple[Replicated, Replicated]
Rows = list[Mapping[str, Result]]


def _rows_of(pair: Pair) -> tuple[Rows, Rows]:
    a, b = ([run.results for run in side.runs] for side in pair)
    return a, b


def _shares(pair: Pair) -> tuple[list[float], list[float]]:
    return pair[0].shares, pair[1].shares


def _can_be_paired(pair: Pair, label: str) -> bool:
    """Whether several runs have a mean example by example."""
    result = pair[0].runs[0].results[label]
    alone = max(len(side.runs) for side in pair) == 1
    return alone or has_paired_mean(result.card.kind, result.metric)
