"""What every ranking task shares: the columns of its outcomes, and how metrics read them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import one_line
from harness.kinds.columns import codes, dictionary, text
from harness.kinds.kind import Group, UnitFacts
from harness.metrics.ranking import Ranks, Tops

KEPT_TOPS = 10  # first candidates that a row names
_NO_BOUND = 2**31 - 1
Flags = npt.NDArray[np.bool_]


class FirstCandidates(NamedTuple):
    """The first candidates that the rows name, one after another, the best of each row first.

    ``row``: int64[n], whose they are; ``place``: int64[n], from 0 in each row; ``ids``: string[n];
    ``hit``: bool[n], whether the row has their rank, and so says that they are relevant.
    """

    row: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    ids: pa.Array
    hit: Flags


# bool[n] and bool[n]: which of the first candidates of some rows are surely relevant to their row,
# and which may be.
Judge = Callable[[pa.Table, FirstCandidates], tuple[Flags, Flags]]

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


def first_candidates(rows: pa.Table) -> FirstCandidates:
    """The first candidates of rows whose ranks begin at 1."""
    ranks, tops = (rows.column(name).combine_chunks() for name in ("ranks", "top_ids"))
    starts, shown = _offsets(tops)[:-1], _lengths(tops)
    row = np.repeat(np.arange(len(rows)), shown)
    owner = np.repeat(np.arange(len(rows)), _lengths(ranks))
    ranked = ranks.flatten().to_numpy(zero_copy_only=False)
    inside = ranked <= shown[owner]
    hit = np.zeros(len(row), dtype=bool)
    hit[starts[owner[inside]] + ranked[inside] - 1] = True
    return FirstCandidates(row, np.arange(len(row)) - starts[row], text(tops.flatten()), hit)


def contradiction(
    rows: pa.Table, facts: UnitFacts, directions: Collection[str], judge: Judge, deepest: int
) -> str:
    """What ranks and first candidates contradict, or nothing.

    ``directions``: those that the unit has. ``deepest``: ranks below it are not kept, so that a row
    may have fewer of them than relevant candidates; 0 where all are kept.
    """
    names = rows.column("example_id")
    others = set(pc.unique(rows.column("direction")).to_pylist()) ^ set(directions)
    if others:
        what, known = one_line(sorted(others)[0], 40), " and ".join(directions)
        return f"direction {what} has no rows, or is not one of {known}"
    ranks, tops = (rows.column(name).combine_chunks() for name in ("ranks", "top_ids"))
    ranked = ranks.flatten().to_numpy(zero_copy_only=False)
    lengths = _lengths(ranks)
    relevant = rows.column("relevant").to_numpy().astype(np.int64)

    def at(wrong: Flags) -> str:
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
    shown = _lengths(tops)
    wanted = KEPT_TOPS if facts.pool is None else min(KEPT_TOPS, facts.pool)
    if (more := shown > wanted if facts.pool is None else shown != wanted).any():
        return f"{at(more)} has not {wanted} first candidates"
    return _top_contradiction(rows, judge)


def _top_contradiction(rows: pa.Table, judge: Judge) -> str:
    """Rank r of at most ten says that the r-th of the first candidates is relevant."""
    first = first_candidates(rows)
    ids = dictionary(first.ids)

    def name(row: int) -> str:
        return one_line(rows.column("example_id")[row].as_py(), 80)

    pairs = np.sort(first.row * len(ids.dictionary) + codes(ids))
    if (again := pairs[1:] == pairs[:-1]).any():
        return f"the first candidates of {name(pairs[1:][again][0] // len(ids.dictionary))} repeat"
    sure, possible = judge(rows, first)
    for wrong, words in (
        (first.hit & ~possible, "at rank {} is not relevant"),
        (sure & ~first.hit, "is relevant, and rank {} is missing"),
    ):
        if wrong.any():
            n = int(np.flatnonzero(wrong)[0])
            what = f"{name(first.row[n])}: {one_line(first.ids[n].as_py(), 80)}"
            return f"{what} {words.format(first.place[n] + 1)}"
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


def _lengths(lists: pa.ListArray) -> npt.NDArray[np.int64]:
    lengths: npt.NDArray[np.int64] = lists.value_lengths().to_numpy(zero_copy_only=False)
    return lengths.astype(np.int64)


def _offsets(lists: pa.ListArray) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(_lengths(lists))]).astype(np.int64)
