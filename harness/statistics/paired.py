"""Two runs on the same examples → sums of per-example differences, by cluster and language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DataError, IncompleteError, UsageError, unknown_name
from harness.kinds import KINDS
from harness.kinds.columns import codes, joined, text
from harness.metrics.by_kind import NOT_COMPARED, has_paired_mean
from harness.metrics.per_example import PerExample
from harness.statistics.ratios import PairedRatios

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Paired:
    """Two runs compared example by example on one task.

    ``langs``: L units in the order of the first run (a language, or `de-ar` for a German context
    with an Arabic question); ``left_out``: units that only one of the runs has; ``clusters``:
    str[C] sorted; ``sums``: float64[C, L], the sum of A − B in each cluster and unit;
    ``counts``: float64[C, L], its number of examples.
    """

    task: str
    metric: str
    langs: tuple[str, ...]
    left_out: tuple[str, ...]
    clusters: npt.NDArray[np.str_]
    sums: Values
    counts: Values

    @cached_property
    def observed(self) -> Values:
        """float64[L]: the mean difference of each language."""
        means: Values = self.sums.sum(axis=0) / self.sizes
        return means

    @cached_property
    def sizes(self) -> Values:
        """float64[L]: the examples of each language."""
        sizes: Values = self.counts.sum(axis=0)
        return sizes

    @property
    def magnitude(self) -> Values:
        """float64[L]: the mean of the sums' sizes: what rounding errors are in proportion to."""
        magnitude: Values = np.abs(self.sums).sum(axis=0) / self.sizes
        return magnitude

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """bool[C, L]: whether a cluster has examples of a language."""
        present: npt.NDArray[np.bool_] = self.counts > 0
        return present

    def part(self, chosen: npt.NDArray[np.bool_]) -> Paired:
        """The comparison on some clusters alone; ``chosen``: bool[C]."""
        return replace(
            self,
            clusters=self.clusters[chosen],
            sums=self.sums[chosen],
            counts=self.counts[chosen],
        )

    def weighted_columns(self) -> Values:
        """float64[C, 2L] to be summed with a weight per cluster; see `weighted_differences`.

        Of the sums what is left after the mean, so that single precision loses nothing.
        """
        return np.hstack([self.sums - self.observed * self.counts, self.counts])

    def weighted_differences(self, totals: Values) -> Values:
        """float64[R, L] Σ w·S / Σ w·n from weighted sums [R, 2L]; nan where no weight fell on any
        cluster of the language."""
        residuals, counts = np.hsplit(totals, 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            differences: Values = self.observed + np.where(counts > 0, residuals / counts, np.nan)
        return differences

    def flipped_columns(self) -> Values:
        """float64[C, L] to be summed with a sign per cluster."""
        return self.sums

    def flipped_differences(self, totals: Values) -> Values:
        """float64[R, L] Σ s·S / n from signed sums [R, L]."""
        return totals / self.sizes


def pair(
    a: Sequence[pa.Table],
    b: Sequence[pa.Table],
    metric: str,
    kind: str,
    *,
    task: str = "",
    weights: tuple[Sequence[float] | None, Sequence[float] | None] = (None, None),
) -> Paired | PairedRatios:
    """Join the outcome rows of two sides on the same task, split and direction.

    ``a``, ``b``: the runs of either side; of several (seeds, checkpoints) it is the mean, with
    ``weights`` that sum to 1, equal ones where not given. ``kind``: the card's. Rows are joined by
    example and unit. Languages are those in all runs.

    Raises:
        UsageError: runs are not compared by the metric, or a side has several runs, over which the
            metric has no mean that can be paired.
        IncompleteError: the runs have no language in common, or an example is in one run only.
        DataError: rows repeat or contradict each other, a value is missing, or the runs name
            different clusters.
    """
    sides = [[_examples(rows, metric, kind, task) for rows in side] for side in (a, b)]
    runs = [run for side in sides for run in side]
    units = [set(run.langs) for run in runs]
    common, every = set.intersection(*units), set.union(*units)
    if not common:
        raise IncompleteError(
            f"the runs have no language in common ({', '.join(sorted(every))}): "
            "evaluate both on the same languages"
        )
    langs = tuple(lang for lang in runs[0].langs if lang in common)
    left_out = tuple(sorted(every - common))
    runs = [run.of(common) for run in runs]
    if not all(run.values.is_mean for run in runs):
        if len(runs) > 2 and not has_paired_mean(kind, metric):
            raise UsageError(
                f"{metric} is a ratio of sums, and no mean over several runs: name one of each side"
            )
        cut = len(a)
        one, other = (
            _mean_ratio(side, given)
            for side, given in zip((runs[:cut], runs[cut:]), weights, strict=True)
        )
        return _ratios(one, other, langs, task=task, metric=metric, left_out=left_out)
    shares = [
        share
        for side, given, sign in zip(sides, weights, (1, -1), strict=True)
        for share in (sign * each for each in given or [1 / len(side)] * len(side))
    ]
    first, *others = runs
    difference = shares[0] * first.values.numerator
    for share, other in zip(shares[1:], others, strict=True):
        difference = difference + share * other.values.numerator[_positions(first, other)]
    place = _Places(langs, first.cluster_names)
    return Paired(
        task=task,
        metric=metric,
        langs=langs,
        left_out=left_out,
        clusters=place.clusters,
        sums=place.sums(first, difference),
        counts=place.sums(first, first.values.counted),
    )


def _mean_ratio(runs: Sequence[_Examples], weights: Sequence[float] | None) -> _Examples:
    """The mean of runs whose denominators are those of the data: a ratio of their mean numerators.

    Raises:
        DataError: an example has another denominator in another run.
    """
    first, *others = runs
    if not others:
        return first
    share, *rest = weights or [1 / len(runs)] * len(runs)
    numerator = share * first.values.numerator
    for share, other in zip(rest, others, strict=True):
        place = _positions(first, other)
        if not np.array_equal(other.values.denominator[place], first.values.denominator):
            raise DataError("an example has another size in another run: the data differ")
        numerator = numerator + share * other.values.numerator[place]
    return replace(first, values=replace(first.values, numerator=numerator))


def _ratios(
    a: _Examples,
    b: _Examples,
    langs: tuple[str, ...],
    *,
    task: str,
    metric: str,
    left_out: tuple[str, ...],
) -> PairedRatios:
    """Cluster by cluster: examples that a run has by itself count with what they add to it."""
    _check_complete(a.shared(), b.shared())
    place = _Places(langs, np.union1d(a.cluster_names, b.cluster_names))
    return PairedRatios(
        task=task,
        metric=metric,
        langs=langs,
        left_out=left_out,
        clusters=place.clusters,
        numerator_a=place.sums(a, a.values.numerator),
        numerator_b=place.sums(b, b.values.numerator),
        denominator_a=place.sums(a, a.values.denominator),
        denominator_b=place.sums(b, b.values.denominator),
        counted=place.sums(a, a.values.counted),
    )


@dataclass(frozen=True)
class _Places:
    """Sums by cluster (a row) and language (a column)."""

    langs: tuple[str, ...]
    clusters: npt.NDArray[np.str_]

    def sums(self, run: _Examples, values: Values) -> Values:
        """float64[C, L]: the sums of float64[n] values of a run's examples."""
        column = pc.index_in(run.lang, value_set=pa.array(list(self.langs))).to_numpy()
        row = np.searchsorted(self.clusters, run.cluster_names)[run.cluster_codes]
        cells = (len(self.clusters), len(self.langs))
        flat = row * cells[1] + column
        summed = np.bincount(flat, weights=values, minlength=cells[0] * cells[1])
        return summed.astype(np.float64).reshape(cells)


@dataclass(frozen=True, eq=False)
class _Examples:
    """A run's examples: Arrow columns of strings, and what each adds to the metric.

    ``common``: bool[n], whether every run on the same data has the example.
    """

    langs: tuple[str, ...]
    lang: pa.Array
    id: pa.Array
    cluster: pa.Array
    common: npt.NDArray[np.bool_]
    values: PerExample

    @cached_property
    def cluster_names(self) -> npt.NDArray[np.str_]:
        """str[C]: the distinct clusters, sorted."""
        return np.sort(self._clusters[0])

    @cached_property
    def cluster_codes(self) -> npt.NDArray[np.int64]:
        """int64[n]: the place of each example's cluster in ``cluster_names``."""
        names, place = self._clusters
        rank = np.empty(len(names), dtype=np.int64)
        rank[np.argsort(names)] = np.arange(len(names))
        return rank[place]

    @cached_property
    def _clusters(self) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
        encoded = self.cluster.dictionary_encode()
        return np.array(encoded.dictionary.to_pylist(), dtype=np.str_), codes(encoded)

    def of(self, langs: set[str]) -> _Examples:
        """Those of some languages."""
        if langs >= set(self.langs):
            return self
        keep = pc.is_in(self.lang, value_set=pa.array(sorted(langs)))
        rows = np.flatnonzero(keep.to_numpy(zero_copy_only=False))
        return _Examples(
            tuple(lang for lang in self.langs if lang in langs),
            self.lang.filter(keep),
            self.id.filter(keep),
            self.cluster.filter(keep),
            self.common[rows],
            self.values.of(rows),
        )

    def shared(self) -> tuple[pa.Array, pa.Array]:
        """Language and key of those that every run has."""
        common = pa.array(self.common)
        return self.lang.filter(common), self.keys().filter(common)

    def keys(self) -> pa.Array:
        """One string per example that names it within the task. DataError where they repeat."""
        keys = joined(self.lang, self.id, separator="\x1f")
        if pc.count_distinct(keys).as_py() != len(keys):
            repeated = pc.value_counts(keys).to_pylist()
            lang, name = next(e["values"] for e in repeated if e["counts"] > 1).split("\x1f", 1)
            raise DataError(
                f"example {name} of {lang} is there more than once: "
                "delete the outcome file and run `xharness eval` again"
            )
        return keys


def _examples(rows: pa.Table, metric: str, kind: str, task: str) -> _Examples:
    of_kind = KINDS[kind]
    compared = [name for name in of_kind.metrics if name not in NOT_COMPARED]
    if metric not in compared:
        raise unknown_name("metric that can be contrasted", metric, compared)
    try:
        values = of_kind.per_example(rows, metric)
    except ValueError as error:
        raise DataError(f"{error}: run `xharness eval` again") from None
    lang = of_kind.unit(rows)
    return _Examples(
        langs=tuple(pc.unique(lang).to_pylist()),
        lang=lang,
        id=of_kind.example(rows),
        cluster=text(of_kind.cluster(rows, task)),
        common=of_kind.common(rows),
        values=values,
    )


def _positions(first: _Examples, other: _Examples) -> npt.NDArray[np.int64]:
    """Where the other run has each example of the first."""
    same = first.id.equals(other.id) and first.lang.equals(other.lang)
    keys, others = first.keys(), other.keys()
    if same:  # the usual case: two runs of one plan
        positions = np.arange(len(keys))
    else:
        _check_complete((first.lang, keys), (other.lang, others))
        positions = pc.index_in(keys, value_set=others).to_numpy().astype(np.int64)
    named = other.cluster.take(pa.array(positions))
    if not named.equals(first.cluster):
        differ = pc.sum(pc.not_equal(named, first.cluster)).as_py()
        raise DataError(
            f"the runs put {differ} examples into different clusters: "
            "evaluate both with the same version of the task"
        )
    return positions


def _check_complete(a: tuple[pa.Array, pa.Array], b: tuple[pa.Array, pa.Array]) -> None:
    """Language and key of each example: both runs have the same, or IncompleteError."""
    (lang_a, keys_a), (lang_b, keys_b) = a, b
    only_a = lang_a.filter(pc.invert(pc.is_in(keys_a, value_set=keys_b)))
    only_b = lang_b.filter(pc.invert(pc.is_in(keys_b, value_set=keys_a)))
    missing = pc.value_counts(pa.concat_arrays([only_a, only_b])).to_pylist()
    if missing:
        named = ", ".join(f"{entry['counts']} of {entry['values']}" for entry in missing)
        raise IncompleteError(
            f"examples in one run only: {named}; evaluate both on the same data, split and limit"
        )
