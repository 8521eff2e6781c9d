"""What a task kind is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.inference.protocol import Role
from harness.inference.vector_store import Vectors

if TYPE_CHECKING:
    from harness.evaluation.jobs import Job

NEARLY_EQUAL = 1e-6  # 1 − |mean of unit vectors|²; float32 noise is about 1e-7
BLOCK = 8_192  # vectors looked at a time: a pool of a million is not copied in whole


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


@dataclass(frozen=True)
class Kind:
    """How tasks of one kind run. A *unit* is a language, or a pair of them for cross-lingual QA.

    - ``pool(examples)``: document texts shared by all units, or nothing.
    - ``texts(examples, unit, limit)``: the unit's texts by role, in the order they are encoded.
    - ``prepare(job, examples, model)``: what all units share, computed once per job.
    - ``run(job, examples, unit, model, prepared)``: what the unit gave. ``model`` is an Encoder or
      a Reader.
    - ``fold(rows, metrics, split)``: the scores of one unit's rows.
    - ``unscored(examples, split, limit)``: unit → why it would have no score.
    """

    needs: Literal["encoder", "reader"]
    schema: pa.Schema
    pool: Callable[[Any], Sequence[str]]
    texts: Callable[[Any, str, int | None], Sequence[tuple[Role, Sequence[str]]]]
    prepare: Callable[[Job, Any, Any], Any]
    run: Callable[..., UnitResult]
    fold: Callable[[pa.Table, Sequence[str], str], list[Score]]
    unscored: Callable[[Any, str, int | None], Mapping[str, str]] = lambda *_: {}


def no_pool(examples: Any) -> Sequence[str]:
    """For kinds whose units share no texts."""
    return ()


def nothing(job: Job, examples: Any, model: Any) -> None:
    """For kinds that prepare nothing."""


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
