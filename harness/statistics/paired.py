"""Two runs on the same examples → sums of per-example differences, by cluster and language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DataError, IncompleteError, UsageError, unknown_name
from harness.kinds.retrieval import METRICS, OTHER, other_language_recall, ranks_of

Direction = Literal["en-xx", "xx-en"]
Values = npt.NDArray[np.float64]

ANSWERS = ("exact_match", "f1")  # what a question-answering row carries


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

    @property
    def observed(self) -> Values:
        """float64[L]: the mean difference of each language."""
        means: Values = self.sums.sum(axis=0) / self.sizes
        return means

    @property
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


@dataclass(frozen=True, eq=False)
class Profile:
    """What each cluster adds to a run's macro score: ``values`` float64[C] sum to the score.

    With it two runs on the same examples can be compared by their profiles' difference alone.
    ``sizes``: float64[L], the examples of each of ``langs``.
    """

    langs: tuple[str, ...]
    sizes: Values
    clusters: npt.NDArray[np.str_]
    values: Values

    @property
    def score(self) -> float:
        """The unweighted mean over the languages."""
        return float(self.values.sum())


def pair(
    a: pa.Table,
    b: pa.Table,
    metric: str,
    kind: str,
    *,
    task: str = "",
    direction: Direction | None = None,
) -> Paired:
    """Join the outcome rows of two runs on the same task and split.

    ``kind`` is the card's (bitext, passages, span_qa; for mining see `mined`); rows are
    joined by example, language, and direction or question language. For bitext one ``direction``
    must be chosen. Languages are those in both runs.

    Raises:
        UsageError: the metric is not a mean over examples, or the direction does not fit the kind.
        IncompleteError: the runs have no language in common, or an example is in one run only.
        DataError: rows repeat, a value is missing, or the runs name different clusters.
    """
    return pair_runs([a], [b], metric, kind, task=task, direction=direction)


def pair_runs(
    a: Sequence[pa.Table],
    b: Sequence[pa.Table],
    metric: str,
    kind: str,
    *,
    task: str = "",
    direction: Direction | None = None,
    weights_a: Sequence[float] | None = None,
    weights_b: Sequence[float] | None = None,
) -> Paired:
    """As `pair`, of the mean over several runs (seeds, checkpoints) of either side.

    ``weights_a``, ``weights_b``: each run's share, summing to 1; equal ones where not given.
    """
    runs = [_examples(rows, metric, kind, direction) for rows in (*a, *b)]
    share_a = list(weights_a) if weights_a is not None else [1 / len(a)] * len(a)
    share_b = list(weights_b) if weights_b is not None else [1 / len(b)] * len(b)
    shares = share_a + [-share for share in share_b]
    units = [set(run.langs) for run in runs]
    common, every = set.intersection(*units), set.union(*units)
    if not common:
        raise IncompleteError(
            f"the runs have no language in common ({', '.join(sorted(every))}): "
            "evaluate both on the same languages"
        )
    first, *others = [run.of(common) for run in runs]
    difference = shares[0] * first.values
    for share, other in zip(shares[1:], others, strict=True):
        difference = difference + share * other.values[_positions(first, other)]
    langs = tuple(lang for lang in first.langs if lang in common)
    column, clusters, row = first.places(langs)
    cells = (len(clusters), len(langs))
    flat = row * len(langs) + column
    total = cells[0] * cells[1]
    sums = np.bincount(flat, weights=difference, minlength=total).astype(np.float64)
    return Paired(
        task=task,
        metric=metric,
        langs=langs,
        left_out=tuple(sorted(every - common)),
        clusters=clusters,
        sums=sums.reshape(cells),
        counts=np.bincount(flat, minlength=total).reshape(cells).astype(np.float64),
    )


def profile(
    rows: pa.Table, metric: str, kind: str, *, direction: Direction | None = None
) -> Profile:
    """What each cluster adds to the macro score of one run. Raises as `pair` does."""
    run = _examples(rows, metric, kind, direction)
    column, clusters, row = run.places(run.langs)
    sizes = np.bincount(column, minlength=len(run.langs)).astype(np.float64)
    share = run.values / (sizes[column] * len(run.langs))
    values = np.bincount(row, weights=share, minlength=len(clusters)).astype(np.float64)
    return Profile(run.langs, sizes, clusters, values)


@dataclass(frozen=True, eq=False)
class _Examples:
    """A run's examples: Arrow columns of strings, and the metric's values float64[n]."""

    langs: tuple[str, ...]
    lang: pa.Array
    id: pa.Array
    cluster: pa.Array
    values: Values

    def of(self, langs: set[str]) -> _Examples:
        """Those of some languages."""
        if langs >= set(self.langs):
            return self
        keep = pc.is_in(self.lang, value_set=pa.array(sorted(langs)))
        return _Examples(
            tuple(lang for lang in self.langs if lang in langs),
            self.lang.filter(keep),
            self.id.filter(keep),
            self.cluster.filter(keep),
            self.values[keep.to_numpy(zero_copy_only=False)],
        )

    def keys(self) -> pa.Array:
        """One string per example that names it within the task. DataError where they repeat."""
        keys = pc.binary_join_element_wise(self.lang, self.id, "\x1f")
        if pc.count_distinct(keys).as_py() != len(keys):
            repeated = pc.value_counts(keys).to_pylist()
            lang, name = next(e["values"] for e in repeated if e["counts"] > 1).split("\x1f")
            raise DataError(
                f"example {name} of {lang} is there more than once: "
                "delete the outcome file and run `xharness eval` again"
            )
        return keys

    def places(
        self, langs: Sequence[str]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.str_], npt.NDArray[np.int64]]:
        """Each example's language int64[n], the clusters str[C] sorted, each example's int64[n]."""
        column = pc.index_in(self.lang, value_set=pa.array(list(langs)))
        encoded = self.cluster.dictionary_encode()
        names = np.array(encoded.dictionary.to_pylist(), dtype=np.str_)
        order = np.argsort(names)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        row = rank[encoded.indices.to_numpy()]
        return column.to_numpy().astype(np.int64), names[order], row


def _examples(rows: pa.Table, metric: str, kind: str, direction: Direction | None) -> _Examples:
    if kind == "span_qa":
        if metric not in ANSWERS:
            raise unknown_name("metric of question answering", metric, ANSWERS)
        values = rows.column(metric).to_numpy().astype(np.float64)
        lang, asked = _text(rows, "lang"), _text(rows, "question_lang")
        lang = pc.if_else(
            pc.equal(lang, asked), lang, pc.binary_join_element_wise(lang, asked, "-")
        )
    elif kind in ("bitext", "passages"):
        # f1_mteb and same_language@10 are left out: the first is no mean over examples (a term
        # depends on the other predictions), the second says nothing of being right.
        if metric not in (*METRICS, OTHER):
            raise unknown_name("metric that can be contrasted", metric, [*METRICS, OTHER])
        rows = _one_direction(rows, kind, direction)
        ranks = ranks_of(rows)
        values = other_language_recall(rows, ranks) if metric == OTHER else METRICS[metric](ranks)
        lang = _text(rows, "lang")
    else:
        raise UsageError(
            f"kind {kind!r} has no metric per example: use statistics.mined for mining"
        )
    if kind == "span_qa" and direction is not None:
        raise UsageError(f"direction {direction!r} is for bitext tasks: leave it out for {kind}")
    if np.isnan(values).any():
        raise DataError(
            f"{int(np.isnan(values).sum())} examples have no {metric}: run `xharness eval` again"
        )
    langs = tuple(pc.unique(lang).to_pylist())
    return _Examples(langs, lang, _text(rows, "example_id"), _text(rows, "cluster"), values)


def _one_direction(rows: pa.Table, kind: str, direction: Direction | None) -> pa.Table:
    if kind == "passages":
        if direction is not None:
            raise UsageError(
                f"direction {direction!r} is for bitext tasks: leave it out for {kind}"
            )
        return rows
    if direction not in ("en-xx", "xx-en"):
        raise UsageError(f"direction {direction!r} of a bitext task: choose en-xx or xx-en")
    lang, english = _text(rows, "lang"), pa.scalar("en")
    parts = (english, lang) if direction == "en-xx" else (lang, english)
    return rows.filter(pc.equal(_text(rows, "direction"), pc.binary_join_element_wise(*parts, "-")))


def _positions(first: _Examples, other: _Examples) -> npt.NDArray[np.int64]:
    """Where the other run has each example of the first."""
    same = first.id.equals(other.id) and first.lang.equals(other.lang)
    keys, others = first.keys(), other.keys()
    if same:  # the usual case: two runs of one plan
        positions = np.arange(len(keys))
    else:
        _check_complete(first.lang, keys, other.lang, others)
        positions = pc.index_in(keys, value_set=others).to_numpy().astype(np.int64)
    named = other.cluster.take(pa.array(positions))
    if not named.equals(first.cluster):
        differ = pc.sum(pc.not_equal(named, first.cluster)).as_py()
        raise DataError(
            f"the runs put {differ} examples into different clusters: "
            "evaluate both with the same version of the task"
        )
    return positions


def _check_complete(lang_a: pa.Array, keys_a: pa.Array, lang_b: pa.Array, keys_b: pa.Array) -> None:
    only_a = lang_a.filter(pc.invert(pc.is_in(keys_a, value_set=keys_b)))
    only_b = lang_b.filter(pc.invert(pc.is_in(keys_b, value_set=keys_a)))
    missing = pc.value_counts(pa.concat_arrays([only_a, only_b])).to_pylist()
    if missing:
        named = ", ".join(f"{entry['counts']} of {entry['values']}" for entry in missing)
        raise IncompleteError(
            f"examples in one run only: {named}; evaluate both on the same data, split and limit"
        )


def _text(rows: pa.Table, name: str) -> pa.Array:
    column = rows.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
