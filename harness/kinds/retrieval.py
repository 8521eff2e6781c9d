"""What every ranking task shares: the columns of its outcomes, and how metrics read them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.kinds.columns import codes, dictionary
from harness.kinds.kind import Group
from harness.metrics.by_kind import RANKS
from harness.metrics.ranking import Ranks, Tops

SCHEMA = pa.schema(
    [
        ("example_id", pa.string()),
        ("lang", pa.string()),
        ("cluster", pa.string()),
        ("direction", pa.string()),
        ("ranks", pa.list_(pa.int32())),
        ("relevant", pa.int32()),
        ("top_ids", pa.list_(pa.string())),
    ]
)


def read(rows: pa.Table) -> Ranks:
    """The ranks of outcome rows, and where a metric asks for them the first candidates."""
    column = rows.column("ranks").combine_chunks()
    return Ranks(
        values=column.flatten().to_numpy(zero_copy_only=False).astype(np.int32),
        offsets=_offsets(column),
        relevant=rows.column("relevant").to_numpy().astype(np.int32),
        read_tops=lambda: _tops(rows),
    )


def columns(metrics: Collection[str]) -> Sequence[str]:
    """What is read: the first candidates are most of a file, and few metrics ask for them."""
    asked = ["top_ids"] if set(metrics) - RANKS.keys() else []
    return ["lang", "cluster", "direction", "ranks", "relevant", *asked]


def groups(rows: pa.Table) -> Sequence[Group]:
    """One per direction, in the order of their first rows; `xx` stands for the unit's language."""
    lang = rows.column("lang")[0].as_py()
    column = dictionary(rows.column("direction"))
    direction_of = codes(column)
    found, first = np.unique(direction_of, return_index=True)
    chosen = []
    for code in found[np.argsort(first)].tolist():
        direction = column.dictionary[code].as_py()
        source, target = ("xx" if side == lang else side for side in direction.split("-"))
        own = np.flatnonzero(direction_of == code)
        chosen.append(Group(lang, direction, f"{source}-{target}", own))
    return chosen


def _tops(rows: pa.Table) -> Tops:
    lists = rows.column("top_ids").combine_chunks()
    offsets = _offsets(lists)
    top = dictionary(lists.flatten())
    candidate = codes(top)

    def own_language() -> npt.NDArray[np.bool_]:
        """Candidate ids begin with the candidate's language."""
        lang = dictionary(rows.column("lang"))
        prefix = pc.list_element(pc.split_pattern(top.dictionary, ":", max_splits=1), 0)
        named = pc.fill_null(pc.index_in(prefix, value_set=lang.dictionary), -1)
        asked = np.repeat(codes(lang), np.diff(offsets))
        own: npt.NDArray[np.bool_] = named.to_numpy().astype(np.int64)[candidate] == asked
        return own

    return Tops(candidate, offsets, codes(dictionary(rows.column("direction"))), own_language)


def _offsets(lists: pa.ListArray) -> npt.NDArray[np.int64]:
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
