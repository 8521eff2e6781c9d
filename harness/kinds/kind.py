"""What a task kind is made of, and how its outcome rows become scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.inference.protocol import Role
from harness.inference.vector_store import Vectors
from harness.kinds.columns import text
from harness.metrics.by_kind import Metric, per_example
from harness.metrics.per_example import PerExample

NEARLY_EQUAL = 1e-6  # 1 − |mean of unit vectors|²; float32 noise is about 1e-7
BLOCK = 8_192  # vectors looked at a time: a pool of a million is not copied in whole


@dataclass(frozen=True)
class UnitSettings:
    """What decides the rows of a unit besides the examples and the model.

    ``layer``: the one that is pooled. ``limit``: only the first queries (or questions) of a
    language are asked. ``scorer``: of the answers to questions. ``labels``: the classes.
    """

    split: str = "test"
    limit: int | None = None
    layer: int = 0
    scorer: Literal["squad", "mlqa"] = "squad"
    labels: tuple[str, ...] = ()


# Which head a kind needs; an encoder has none.
Needs = Literal["encoder", "span", "classification", "multiple_choice", "tagging"]


@dataclass(frozen=True)
class UnitFacts:
    """What rows of a unit are checked against besides each other.

    ``limit``: only the first queries were asked. ``pool``: the number of candidates that a query
    is ranked among, None where it is not known.
    """

    unit: str
    split: str
    limit: int | None
    pool: int | None


class UnitResult(NamedTuple):
    """What one unit gave.

    ``rows``: its outcomes. ``degenerate``: whether its vectors were (nearly) one. ``candidates``:
    how many candidates of its language there are, and ``indistinct`` how many of them share their
    cut token ids with another candidate of the same pool, so that no vector can tell them apart;
    both None where nothing is searched.
    """

    rows: pa.Table
    degenerate: bool = False
    candidates: int | None = None
    indistinct: int | None = None


class Score(NamedTuple):
    """One number of one language: the unit of the scores table, before its provenance.

    ``group`` is the direction with ``xx`` for the language: what a mean over languages is over.
    """

    lang: str
    direction: str
    group: str
    metric: str
    value: float
    n: int


class Group(NamedTuple):
    """The rows of a unit that one score is over, by index; the names are those of `Score`."""

    lang: str
    direction: str
    group: str
    rows: npt.NDArray[np.int64]


class Measured(NamedTuple):
    """A score with what it is reduced from: the statistics of its examples, and their rows."""

    score: Score
    examples: PerExample
    rows: npt.NDArray[np.int64]


def unit_language(rows: pa.Table) -> pa.Array:
    """The unit of each row, where that is its language."""
    return text(rows.column("lang"))


def named_cluster(rows: pa.Table, task: str) -> pa.ChunkedArray:
    """The cluster of each row, where rows name it."""
    return rows.column("cluster")


def example_id(rows: pa.Table) -> pa.Array:
    """What names each row within its unit, where rows do."""
    return text(rows.column("example_id"))


def every_row(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """For kinds with a row for each example of the data."""
    return np.ones(len(rows), dtype=bool)


@dataclass(frozen=True)
class Kind:
    """How tasks of one kind run. A *unit* is a language, or a pair of them for cross-lingual QA.

    - ``pool(examples)``: document texts shared by all units, or nothing.
    - ``texts(examples, unit, limit)``: the unit's texts by role, in the order they are encoded.
    - ``prepare(settings, examples, model)``: what all units share, computed once.
    - ``run(settings, examples, unit, model, prepared)``: what the unit gave. ``model`` is an
      Encoder, or by the head that it ``needs`` a Reader or a Labeller.
    - ``unscored(examples, split, limit)``: unit → why it would have no score.

    From rows to scores:

    - ``metrics``: name → what each example adds, by the kind's table in `metrics.by_kind`.
    - ``read(rows)``: what these functions take; rows may be of several units.
    - ``groups(rows)``: what the scores of one unit are over, in order.
    - ``unit(rows)``, ``example(rows)``, ``cluster(rows, task)``: of each row.
    - ``common(rows)``: whether every run on the same data has the row.
    - ``defined(metric, split)``: whether a split has the metric.

    Whether rows can be of a run:

    - ``contradiction(rows, facts)``: what is wrong with the rows of one unit, or nothing. They have
      the kind's schema, no null but in ``nullable``, and are of that unit.
    """

    needs: Needs
    schema: pa.Schema
    texts: Callable[[Any, str, int | None], Sequence[tuple[Role, Sequence[str]]]]
    run: Callable[..., UnitResult]
    metrics: Mapping[str, Metric]
    read: Callable[[pa.Table], Any]
    groups: Callable[[pa.Table], Sequence[Group]]
    pool: Callable[[Any], Sequence[str]] = lambda _: ()
    prepare: Callable[[UnitSettings, Any, Any], Any] = lambda *_: None
    unit: Callable[[pa.Table], pa.Array] = unit_language
    example: Callable[[pa.Table], pa.Array] = example_id
    common: Callable[[pa.Table], npt.NDArray[np.bool_]] = every_row
    cluster: Callable[[pa.Table, str], pa.Array | pa.ChunkedArray] = named_cluster
    defined: Callable[[str, str], bool] = lambda *_: True
    unscored: Callable[[Any, str, int | None], Mapping[str, str]] = lambda *_: {}
    nullable: Collection[str] = ()
    contradiction: Callable[[pa.Table, UnitFacts], str] = lambda *_: ""

    def per_example(self, rows: pa.Table, metric: str) -> PerExample:
        """What each row adds to a metric. ``rows``: all rows of one split, of one unit or more.

        Raises ValueError where a row has no value, or rows contradict each other.
        """
        return per_example(self.metrics, metric, self.read(rows))

    def measure(self, rows: pa.Table, metrics: Sequence[str], split: str) -> list[Measured]:
        """The scores of one unit's rows of a split, by group and then by metric.

        Raises ValueError as `per_example` does, and where there is no row.
        """
        if len(rows) == 0:
            raise ValueError(f"no rows of split {split}")
        examples = self.read(rows)
        known = {
            metric: per_example(self.metrics, metric, examples)
            for metric in metrics
            if self.defined(metric, split)
        }
        measured = []
        groups = self.groups(rows)
        for lang, direction, group, own in groups:
            for metric, every in known.items():
                part = every if len(groups) == 1 else every.of(own)
                score = Score(lang, direction, group, metric, part.score, part.n)
                measured.append(Measured(score, part, own))
        return measured

    def fold(self, rows: pa.Table, metrics: Sequence[str], split: str) -> list[Score]:
        """The scores of one unit's rows, of whatever splits they are. Raises as `measure` does."""
        measured = self.measure(of_split(rows, split), metrics, split)
        return [one.score for one in measured]


def of_split(rows: pa.Table, split: str) -> pa.Table:
    """The rows that are scored: some kinds also have those of a split that settings come from."""
    return rows.filter(pc.field("split") == split) if "split" in rows.column_names else rows


def shared(keys: Sequence[bytes]) -> npt.NDArray[np.bool_]:
    """bool[n]: which of a pool's candidates have the key of another one."""
    counts = Counter(keys)
    return np.fromiter((counts[key] > 1 for key in keys), dtype=bool, count=len(keys))


def degenerate(vectors: Vectors) -> bool:
    """Whether float32[n, d] are all (nearly) one vector, so that ranking them means nothing."""
    if len(vectors) < 2:
        return False
    total = np.zeros(vectors.shape[1])
    zeros = 0
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK].astype(np.float64)
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        zeros += int((norms == 0).sum())
        total += (block / np.maximum(norms, np.finfo(np.float64).tiny)).sum(axis=0)
    if zeros:
        return zeros == len(vectors)
    mean = total / len(vectors)
    return bool(1.0 - mean @ mean < NEARLY_EQUAL)


def table(schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """The rows under the kind's schema."""
    return pa.Table.from_pylist(list(rows), schema=schema)
