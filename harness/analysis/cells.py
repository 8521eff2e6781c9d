"""Computes the scores of one unit with their draws, and what each cluster adds to the headline.

Every number is a reduction of `Kind.per_example`: the scores are those of `harness.results.scores`,
the draws weight the same examples.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.analysis.draws import SMALL, cluster_keys, cluster_sums, replicates
from harness.cards.task import TaskCard
from harness.kinds import KINDS
from harness.kinds.columns import codes, dictionary, values
from harness.kinds.kind import Measured, Score, of_split
from harness.metrics.per_example import Floats

Keys = npt.NDArray[np.uint64]
Parts = tuple[Keys, Floats]  # clusters, and what each adds to the headline


class Cell(NamedTuple):
    """A score, float64[DRAWS] of it, and of the unit's headline what each cluster adds."""

    score: Score
    draws: Floats
    parts: Parts | None = None


def official(card: TaskCard, group: str) -> bool:
    """Return whether a group of directions is the one that the headline is about (English → xx)."""
    return card.kind != "bitext" or group.startswith("en-")


def official_rows(unit: pa.Table, card: TaskCard, split: str) -> pa.Table:
    """Return the rows of a unit that its headline is over."""
    rows = of_split(unit, split)
    if len(rows) == 0:
        return rows
    groups = KINDS[card.kind].groups(rows)
    chosen = [group.rows for group in groups if official(card, group.group)]
    return rows if len(groups) == len(chosen) == 1 else rows.take(np.concatenate(chosen))


def unit_cells(unit: pa.Table, card: TaskCard, split: str) -> list[Cell]:
    """Return the cells of one unit, in the order of its scores.

    The headline is the card's primary metric, or the first that is defined where the split does
    not have that one. Raises ValueError where rows contradict each other.
    """
    kind = KINDS[card.kind]
    rows = of_split(unit, split)
    measured = kind.measure(rows, card.shown, split)
    keys = _keys(kind.cluster(rows, card.name))
    metrics = [one.score.metric for one in measured]
    headline = card.primary if card.primary in metrics else metrics[0]
    return [
        Cell(
            one.score,
            drawn,
            _parts(one, keys)
            if one.score.metric == headline and official(card, one.score.group)
            else None,
        )
        for one, drawn in zip(measured, _draws(measured, keys), strict=True)
    ]


def _draws(measured: list[Measured], keys: Keys) -> list[Floats]:
    """Return the draws of each; groups over the same items in the same order are one matrix
    product.
    """
    rows = {id(one.rows): one.rows for one in measured}  # one array per group
    items = {name: keys[own].tobytes() for name, own in rows.items()}
    groups: dict[bytes, list[int]] = {}
    for index, one in enumerate(measured):
        groups.setdefault(items[id(one.rows)], []).append(index)
    drawn: dict[int, Floats] = {}
    for own, members in groups.items():
        examples = [measured[index].examples for index in members]
        found = replicates(examples, np.frombuffer(own, dtype=np.uint64))
        drawn.update(zip(members, found, strict=True))
    return [drawn[index] for index in range(len(measured))]


def _parts(one: Measured, keys: Keys) -> Parts:
    """Return what each cluster adds; the parts add up to the score.

    A ratio is linearised in the sums of a cluster: (Σ numerator − score · Σ denominator) over all
    denominators, and the score by the cluster's share of what is counted.
    """
    each, own = one.examples, keys[one.rows]
    if each.is_mean:
        sums, distinct = cluster_sums([each.numerator], own)
        return distinct, sums[0] / each.n
    sums, distinct = cluster_sums((each.numerator, each.denominator, each.counted), own)
    above, below, counted = sums
    residual = (above - one.score.value * below) / max(below.sum(), 1.0)
    return distinct, residual + one.score.value * counted / counted.sum()


def _keys(column: pa.ChunkedArray | pa.Array) -> Keys:
    coded = dictionary(column)
    batch = pa.record_batch([coded.dictionary], ["cluster"])
    named = _named_keys if len(batch) <= SMALL else _named_keys.__wrapped__
    return named(batch.serialize().to_pybytes())[codes(coded)]


@lru_cache(maxsize=512)
def _named_keys(raw: bytes) -> Keys:
    # It is kept by content, so that checkpoints with the same examples share it.
    schema = pa.schema([("cluster", pa.string())])
    names = values(pa.ipc.read_record_batch(raw, schema), "cluster")
    return cluster_keys(name for (name,) in names)
