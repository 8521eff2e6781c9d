"""Two mining runs on the same corpora → what each source sentence adds to the F1 of either."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DataError, IncompleteError

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mined:
    """Two mining runs compared source sentence by source sentence; thresholds stay fixed.

    ``clusters``: str[C] sorted, the source sentences that are mined or in the gold standard;
    ``hits_a``, ``hits_b``, ``kept_a``, ``kept_b``, ``gold``: float64[C, L], the right pairs, the
    predicted pairs and the gold pairs of each. F1 = 2 Σ hits / (Σ kept + Σ gold). The other fields
    and the methods are those of `harness.statistics.paired.Paired`.
    """

    task: str
    metric: str
    langs: tuple[str, ...]
    left_out: tuple[str, ...]
    clusters: npt.NDArray[np.str_]
    hits_a: Values
    hits_b: Values
    kept_a: Values
    kept_b: Values
    gold: Values

    @property
    def observed(self) -> Values:
        """float64[L]: F1 of A − F1 of B."""
        observed: Values = self.weighted_differences(self.weighted_columns().sum(axis=0)[None])[0]
        return observed

    @property
    def sizes(self) -> Values:
        """float64[L]: the gold pairs of each language."""
        sizes: Values = self.gold.sum(axis=0)
        return sizes

    @property
    def magnitude(self) -> Values:
        """float64[L]: what rounding errors are in proportion to."""
        differing = np.abs(self.flipped_columns()).sum(axis=0).reshape(2, -1).sum(axis=0)
        magnitude: Values = 2 * differing / self.sizes
        return magnitude

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """bool[C, L]: whether a source sentence has a gold or a predicted pair of a language."""
        present: npt.NDArray[np.bool_] = self.gold + self.kept_a + self.kept_b > 0
        return present

    def weighted_columns(self) -> Values:
        """float64[C, 4L] to be summed with a weight per cluster."""
        return np.hstack(
            [self.hits_a, self.hits_b, self.kept_a + self.gold, self.kept_b + self.gold]
        )

    def weighted_differences(self, totals: Values) -> Values:
        """float64[R, L] 2 Σ w·tp / (Σ w·pred + Σ w·gold) of A − of B, from sums [R, 4L]; nan where
        no weight fell on any sentence of the language."""
        hits_a, hits_b, size_a, size_b = np.hsplit(totals, 4)
        with np.errstate(divide="ignore", invalid="ignore"):
            differences: Values = 2 * hits_a / size_a - 2 * hits_b / size_b
        return differences

    def flipped_columns(self) -> Values:
        """float64[C, 2L] to be summed with a sign per cluster: −1 swaps A and B there."""
        return np.hstack([self.hits_a - self.hits_b, self.kept_a - self.kept_b])

    def flipped_differences(self, totals: Values) -> Values:
        """float64[R, L] differences of F1 with some sources swapped, from signed sums [R, 2L].

        A swapped sum is (Σ a + Σ b ± Σ s·(a − b)) / 2.
        """
        hits, kept = np.hsplit(totals, 2)
        all_hits = (self.hits_a + self.hits_b).sum(axis=0)
        all_sizes = (self.kept_a + self.kept_b + 2 * self.gold).sum(axis=0)
        differences: Values = 2 * (
            (all_hits + hits) / (all_sizes + kept) - (all_hits - hits) / (all_sizes - kept)
        )
        return differences


def pair_mining(a: pa.Table, b: pa.Table, split: str, *, task: str = "") -> Mined:
    """Join the mining rows of two runs on one split by source sentence.

    ``kept`` says what each run predicts, by its threshold from dev; on dev itself that is the
    threshold in sample, and the metric is ``f1_oracle``. A sentence that a run did not mine counts
    with no pair, which is what it is.

    Raises:
        IncompleteError: the runs have no language in common, or one has no rows of the split.
        DataError: the gold pairs of the runs differ, or a language has none.
    """
    of_split = [rows.filter(pc.equal(rows.column("split"), split)) for rows in (a, b)]
    units = [pc.unique(rows.column("lang")).to_pylist() for rows in of_split]
    langs = tuple(lang for lang in units[0] if lang in units[1])
    if not langs:
        raise IncompleteError(
            f"the runs have no language in common on split {split}: "
            "evaluate both on the same languages"
        )
    tables = [
        rows.filter(pc.is_in(rows.column("lang"), value_set=pa.array(langs))) for rows in of_split
    ]
    _check_gold(*tables)
    sources = [_sources(rows, task) for rows in tables]
    clusters, place = np.unique(np.concatenate(sources), return_inverse=True)
    cells = (len(clusters), len(langs))
    parts: list[Values] = []
    for rows, row in zip(tables, (place[: len(tables[0])], place[len(tables[0]) :]), strict=True):
        column = pc.index_in(rows.column("lang"), value_set=pa.array(langs)).to_numpy()
        flat = row * len(langs) + column
        gold, kept = _flags(rows, "gold"), _flags(rows, "kept")
        for chosen in (gold & kept, kept, gold):
            counted = np.bincount(flat[chosen], minlength=cells[0] * cells[1])
            parts.append(counted.reshape(cells).astype(np.float64))
    hits_a, kept_a, gold_a, hits_b, kept_b, _ = parts
    for lang, total in zip(langs, gold_a.sum(axis=0), strict=True):
        if total == 0:
            raise DataError(f"no gold pairs of {lang} on split {split}: fetch its gold file")
    return Mined(
        task=task,
        metric="f1_oracle" if split == "dev" else "f1",
        langs=langs,
        left_out=tuple(sorted(set(units[0]) ^ set(units[1]))),
        clusters=clusters,
        hits_a=hits_a,
        hits_b=hits_b,
        kept_a=kept_a,
        kept_b=kept_b,
        gold=gold_a,
    )


def _sources(rows: pa.Table, task: str) -> npt.NDArray[np.str_]:
    """The cluster of each row: `task:language:source sentence`."""
    parts = zip(rows.column("lang").to_pylist(), rows.column("source_id").to_pylist(), strict=True)
    return np.array([f"{task}:{lang}:{source}" for lang, source in parts], dtype=np.str_)


def _flags(rows: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    flags = rows.column(name).fill_null(False).to_numpy().astype(bool)
    return np.asarray(flags, dtype=np.bool_)


def _check_gold(a: pa.Table, b: pa.Table) -> None:
    pairs = []
    for rows in (a, b):
        gold = rows.filter(rows.column("gold"))
        names = [gold.column(name).to_pylist() for name in ("lang", "source_id", "target_id")]
        pairs.append(set(zip(*names, strict=True)))
    if differ := pairs[0] ^ pairs[1]:
        lang = min(differ)[0]
        raise DataError(
            f"{len(differ)} gold pairs are in one run only (of {lang} among others): "
            "evaluate both on the same data"
        )
