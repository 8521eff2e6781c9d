"""What every ranking task shares: the columns of its outcomes, and how metrics read them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import one_line
from harness.kinds.columns import codes, dictionary, values
from harness.kinds.kind import Group, UnitFacts
from harness.metrics.by_kind import RANKS
from harness.metrics.ranking import Ranks, Tops

KEPT_TOPS = 10  # first candidates that a row names
_NO_BOUND = 2**31 - 1
# (example id, cluster, candidate id) → whether it is relevant; None where that cannot be told.
IsGold = Callable[[str, str, str], bool | None]

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


def contradiction(
    rows: pa.Table, facts: UnitFacts, directions: Collection[str], is_gold: IsGold, deepest: int
) -> str:
    """What ranks and first candidates contradict, or nothing.

    ``directions``: those that the unit has. ``is_gold(row, candidate)``: whether a candidate may be
    relevant to a row. ``deepest``: ranks below it are not kept, so that a row may have fewer of
    them than relevant candidates; 0 where all are kept.
    """
    names = rows.column("example_id")
    others = set(pc.unique(rows.column("direction")).to_pylist()) ^ set(directions)
    if others:
        what, known = one_line(sorted(others)[0], 40), " and ".join(directions)
        return f"direction {what} has no rows, or is not one of {known}"
    ranks, tops = (rows.column(name).combine_chunks() for name in ("ranks", "top_ids"))
    offsets = _offsets(ranks)
    ranked = ranks.flatten().to_numpy(zero_copy_only=False)
    lengths = np.diff(offsets)
    relevant = rows.column("relevant").to_numpy().astype(np.int64)

    def at(wrong: npt.NDArray[np.bool_]) -> str:
        return one_line(names[int(np.flatnonzero(wrong)[0])].as_py(), 80)

    if (few := relevant < 1).any():
        return f"{at(few)} has no relevant candidate"
    if (other := lengths > relevant if deepest else lengths != relevant).any():
        return f"{at(other)} has not as many ranks as relevant candidates"
    owner = np.repeat(np.arange(len(lengths)), lengths)
    highest = min(deepest or facts.pool or _NO_BOUND, facts.pool or _NO_BOUND)
    outside = (ranked < 1) | (ranked > highest)
    if outside.any():
        place = int(np.flatnonzero(outside)[0])
        name = one_line(names[int(owner[place])].as_py(), 80)
        return f"{name} has rank {ranked[place]} of {highest}"
    falls = (ranked[1:] <= ranked[:-1]) & (owner[1:] == owner[:-1])
    if falls.any():
        name = one_line(names[int(owner[:-1][falls][0])].as_py(), 80)
        return f"the ranks of {name} do not ascend"
    shown = np.diff(_offsets(tops))
    wanted = KEPT_TOPS if facts.pool is None else min(KEPT_TOPS, facts.pool)
    if (more := shown > wanted if facts.pool is None else shown != wanted).any():
        return f"{at(more)} has not {wanted} first candidates"
    return _top_contradiction(rows, is_gold)


def _top_contradiction(rows: pa.Table, is_gold: IsGold) -> str:
    """Rank r of at most ten says that the r-th of the first candidates is relevant."""
    for name, cluster, ranks, own in values(rows, "example_id", "cluster", "ranks", "top_ids"):
        if len(set(own)) != len(own):
            return f"the first candidates of {one_line(name, 80)} repeat"
        hits = {rank - 1 for rank in ranks if rank <= len(own)}
        for place in hits:
            if is_gold(name, cluster, own[place]) is False:
                what = one_line(own[place], 80)
                return f"{one_line(name, 80)}: {what} at rank {place + 1} is not relevant"
        for place, candidate in enumerate(own):
            if place not in hits and is_gold(name, cluster, candidate):
                what = one_line(candidate, 80)
                return f"{one_line(name, 80)}: {what} is relevant, and rank {place + 1} is missing"
    return ""


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
