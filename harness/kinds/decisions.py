"""What classification and multiple choice have in common: one decision for each example."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.kinds.columns import text
from harness.kinds.kind import Group, UnitResult, table
from harness.metrics.labels import Decisions

SCHEMA = pa.schema(
    [
        ("example_id", pa.string()),
        ("lang", pa.string()),
        ("cluster", pa.string()),
        ("gold", pa.string()),
        ("prediction", pa.string()),
        ("correct", pa.bool_()),
        ("scores", pa.list_(pa.float32())),
    ]
)

Item = tuple[str, str, str]  # example id, cluster, gold


def decided(
    lang: str, items: Iterable[Item], scores: npt.NDArray[np.float32], labels: Sequence[str]
) -> UnitResult:
    """One row per example. ``scores``: float32[n, classes], of which the first highest is taken."""
    rows = []
    for (identifier, cluster, gold), own in zip(items, scores, strict=True):
        prediction = labels[int(np.argmax(own))]
        rows.append(
            {
                "example_id": identifier,
                "lang": lang,
                "cluster": cluster,
                "gold": gold,
                "prediction": prediction,
                "correct": prediction == gold,
                "scores": own.tolist(),
            }
        )
    return UnitResult(table(SCHEMA, rows))


def read(rows: pa.Table) -> Decisions:
    """Which rows are right. Raises ValueError where ``correct`` is not what the labels say."""
    right = pc.equal(text(rows.column("gold")), text(rows.column("prediction")))
    if not right.equals(rows.column("correct").combine_chunks()):
        raise ValueError("`correct` is not whether the prediction is the gold label")
    return Decisions(right.to_numpy(zero_copy_only=False).astype(np.float64))


def groups(rows: pa.Table) -> Sequence[Group]:
    """All rows of the unit."""
    return [Group(rows.column("lang")[0].as_py(), "", "", np.arange(len(rows)))]
