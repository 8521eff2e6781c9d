"""Whether an outcome file can be what a run wrote: the one check that all readers of rows share.

A file is compared with its path, its card, the pinned examples of its task, and itself. What is
consistent with all of them and forged can only be found by measuring again (`verify --replay`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.cards.catalogue import card_of
from harness.cards.examples import Pin, digest, read_pins
from harness.cards.task import CustomCard, TaskCard
from harness.errors import DataError, HarnessError, one_line
from harness.inference.protocol import OBJECTS, signature
from harness.kinds import KINDS
from harness.kinds.columns import codes, dictionary, joined, text
from harness.kinds.kind import Kind, UnitFacts
from harness.kinds.retrieval import FirstCandidates, first_candidates
from harness.results.outcomes import OutcomeFile

# What metrics and checks raise over rows that no run wrote.
CONTRADICTIONS = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    pa.ArrowException,
)
REMEDY = "delete it and run `xharness eval` again"
_ODD = np.int64(-7046029254386353131)  # 2^64 ÷ the golden ratio: a hash of two numbers from one
SIGNED = ("split", "limit", "track", "seed", "dtype")  # metadata that the signature is over too


def check(file: OutcomeFile, units: Collection[str] | None = None) -> dict[str, Any]:
    """The metadata of a file that `checked` finds nothing wrong with."""
    meta = file.meta()
    for _ in checked(file, meta, units):
        pass
    return meta


def checked(
    file: OutcomeFile, meta: Mapping[str, Any], units: Collection[str] | None = None
) -> Iterator[tuple[str, pa.Table]]:
    """Each language with its rows, which can be those of a run. ``units``: these only.

    What contradicts the rows of another language is found at the end.

    Raises:
        DataError: the file is damaged, or its rows contradict its path, its card, the task's data
            or each other; one line with the file, what is wrong and the remedy.
    """
    wanted = [unit for unit in meta["languages"] if units is None or unit in units]
    relevant = []
    with consistent(file):
        card = known_card(file, meta)
        official = is_official(meta, card)
        _refuse(_misplaced(file, meta, card))
        _refuse(_unsigned(meta))
        _refuse(_foreign(meta))
        for unit, rows in file.tables(wanted):
            _refuse(_unit_contradiction(rows, unit, meta, card, official))
            if card.kind == "passages" and len(wanted) > 1:
                first = first_candidates(rows)
                relevant.append(_pairs(rows, first)[first.hit])
            yield unit, rows
        if relevant:
            known = np.unique(np.concatenate(relevant))
            for _, rows in file.tables(wanted):
                _refuse(_gold_contradiction(rows, known))


def _refuse(wrong: str) -> None:
    """ValueError for what is wrong, in words, if anything is."""
    if wrong:
        raise ValueError(wrong)


def _foreign(meta: Mapping[str, Any]) -> str:
    for key in ("degenerate", "candidates", "indistinct", "timing"):
        if other := sorted(set(meta.get(key, ())) - set(meta["languages"])):
            return f"{key}: {one_line(other[0], 20)} is not among its languages"
    return ""


@contextmanager
def consistent(file: OutcomeFile) -> Iterator[None]:
    """Rows that metrics or checks refuse (ValueError), as a DataError that names the file."""
    try:
        yield
    except CONTRADICTIONS as error:
        raise DataError(
            f"{file.path} contradicts itself ({one_line(error, 150)}): {REMEDY}"
        ) from error


def known_card(file: OutcomeFile, meta: Mapping[str, Any]) -> TaskCard:
    """The card of a file's rows; DataError where there is none."""
    with consistent(file):
        try:
            return card_of(meta)
        except HarnessError as error:
            raise ValueError(error) from None


def is_official(meta: Mapping[str, Any], card: TaskCard) -> bool:
    """Whether rows say that they are of the official data: then they are as it decides.

    Rows of other data, or of a part of it, have a note that says so, and are not ranked.
    """
    notes = set(meta["notes"]) - set(meta.get("remarks", ()))
    given = meta["route"] == "package" or not card.source.package
    return (
        given and not notes and not isinstance(card, CustomCard) and meta["card_hash"] == card.hash
    )


def _misplaced(file: OutcomeFile, meta: Mapping[str, Any], card: TaskCard) -> str:
    """Where the path says another thing than the metadata; a path is what files are found by.

    Of a path through a link, either the link's name or that of what it leads to has to be right.
    """
    wrong = [_misplaced_in(folder, file, meta, card) for folder in folders_of(file.path)]
    return "" if "" in wrong else wrong[0]


def folders_of(path: Path) -> tuple[Path, ...]:
    """The folder of a file, as it is named and as it is without links."""
    return tuple(dict.fromkeys((Path(os.path.abspath(path)).parent, path.resolve().parent)))


def _misplaced_in(folder: Path, file: OutcomeFile, meta: Mapping[str, Any], card: TaskCard) -> str:
    model, revision = meta["model"], meta["revision"]
    slug = model.replace("/", "__")
    scheme, _, named = revision.rpartition(":")
    own = file.path.name
    if scheme == "object":
        known = folder.parent.name.startswith(OBJECTS)
    else:
        known = folder.parent.name == (f"local__{model}" if scheme else slug)
    if not known:
        return f"it is of {one_line(model, 80)}, and lies in {one_line(folder.parent.name, 80)}"
    if folder.name != named[:12]:
        return f"it is of revision {named[:12]}, and lies in {one_line(folder.name, 80)}"
    if own != f"{meta['task']}.{meta['signature']}.parquet":
        return f"it is of {meta['task']} with signature {meta['signature']}"
    if meta["kind"] != card.kind:
        return f"kind {one_line(meta['kind'], 40)}, and {card.name} is {card.kind}"
    other = sorted(set(meta["languages"]) - set(card.languages))
    if other and meta["card_hash"] == card.hash:
        return f"{other[0]} is not a language of {card.name}"
    return ""


def _unsigned(meta: Mapping[str, Any]) -> str:
    """Where the settings are not those of the signature, or not those of the protocol named."""
    resolved = meta["resolved"]
    if signature(resolved) != meta["signature"]:
        return f"the signature of its settings is {signature(resolved)}, not {meta['signature']}"
    for key in SIGNED:
        if resolved.get(key, meta[key]) != meta[key]:
            return f"{key} is {one_line(meta[key], 40)}, signed {one_line(resolved[key], 40)}"
    if resolved.get("card") != meta["card_hash"]:
        return "its card is not the one that is signed"
    standard = {"frozen": "standard", "native": "native", "custom": "custom"}
    if meta["protocol"] != standard.get(meta["track"], "standard"):
        return f"track {meta['track']} is not of protocol {meta['protocol']}"
    usual = meta["dtype"] == "float32" and (
        meta["track"] != "frozen"
        or (resolved.get("pooling") == "mean" and not any(resolved.get("prompts", {}).values()))
    )
    if not usual and not meta["custom"]:
        return "its settings are not the protocol's, and it does not say so"
    if (resolved.get("recipe") is not None) != (meta["track"] == "tuned"):
        return f"track {meta['track']} with the recipe {one_line(resolved.get('recipe'), 60)}"
    return ""


def _unit_contradiction(
    rows: pa.Table, unit: str, meta: Mapping[str, Any], card: TaskCard, official: bool
) -> str:
    kind = KINDS[card.kind]
    if not rows.schema.equals(kind.schema):
        return f"its columns are not those of {card.kind}"
    rows.validate(full=True)  # strings that are no UTF-8, lists that overlap
    if len(rows) == 0:
        return f"no rows of {unit}"
    for name in kind.schema.names:
        column = rows.column(name)
        inner = pc.list_flatten(column) if pa.types.is_list(column.type) else column
        if (
            column.null_count and name not in kind.nullable
        ) or inner.null_count > column.null_count:
            return f"{unit}: {name} lacks values"
    first, _, second = unit.partition("-")
    # Rows with questions in the language of their contexts name it once, also those of `en-en`.
    told = first if first == second else unit
    other = set(pc.unique(kind.unit(rows)).to_pylist()) - {told}
    if other:
        return f"rows of {one_line(sorted(other)[0], 40)} among those of {unit}"
    named = _named(kind, rows, card.name, str(meta["split"]))
    parts = [named.column(name) for name in ("direction", "split", "id")]
    if pc.count_distinct(joined(*parts, separator="\t")).as_py() != len(named):
        return f"{unit}: an example occurs twice"
    split = str(meta["split"])
    pins = read_pins() if official else {}
    pin = pins.get((card.name, split, unit))
    facts = UnitFacts(unit, split, meta["limit"], _pool(meta, card, unit, official))
    wrong = _counts(unit, meta, card, facts, pin) or kind.contradiction(rows, facts)
    if wrong:
        return f"{unit}: {wrong}"
    common = named.filter(named.column("common"))
    groups = {
        (direction, part): common.filter(
            pc.and_(pc.equal(common["direction"], direction), pc.equal(common["split"], part))
        )
        for direction in pc.unique(named["direction"]).to_pylist()
        for part in pc.unique(named["split"]).to_pylist()
    }
    return _example_contradiction(groups, unit, meta, card, official)


def _named(kind: Kind, rows: pa.Table, task: str, split: str) -> pa.Table:
    """What the data decides of each row: strings, and ``common``, whether every run has it."""
    empty, own = pa.repeat("", len(rows)), pa.repeat(split, len(rows))
    columns = {
        "id": kind.example(rows),
        "relevant": rows.column("relevant") if "relevant" in rows.column_names else empty,
        "cluster": kind.cluster(rows, task),
        "direction": rows.column("direction") if "direction" in rows.column_names else empty,
        "split": rows.column("split") if "split" in rows.column_names else own,
    }
    named = {name: text(column) for name, column in columns.items()}
    return pa.table(named | {"common": pa.array(kind.common(rows))})


def _pool(meta: Mapping[str, Any], card: TaskCard, unit: str, official: bool) -> int | None:
    """How many candidates a query of the unit is ranked among."""
    sizes: Mapping[str, int] = meta.get("candidates", {})
    if card.kind == "bitext":
        pin = read_pins().get((card.name, str(meta["split"]), unit)) if official else None
        return pin.examples if pin else sizes.get(unit)
    if card.kind == "passages":
        if official and card.candidates is not None:
            return card.candidates
        return sum(sizes.values()) if set(card.languages) <= set(sizes) else None
    return None


def _counts(
    unit: str, meta: Mapping[str, Any], card: TaskCard, facts: UnitFacts, pin: Pin | None
) -> str:
    """Whether the numbers of candidates that the metadata has are possible."""
    size, tied = (meta.get(name, {}).get(unit) for name in ("candidates", "indistinct"))
    if size is None:
        return "indistinct candidates of an unknown number" if tied is not None else ""
    known = facts.pool if card.kind == "bitext" else pin.candidates if pin else None
    if known is not None and size != known:
        return f"{size} candidates, there are {known}"
    if facts.pool is not None and size > facts.pool:
        return f"{size} of {facts.pool} candidates"
    return f"{tied} of {size} candidates are indistinct" if tied and tied > size else ""


def _example_contradiction(
    groups: dict[tuple[str, str], pa.Table],
    unit: str,
    meta: Mapping[str, Any],
    card: TaskCard,
    official: bool,
) -> str:
    """Whether the rows that every run has are of the task's examples, and of all of them.

    ``groups``: those rows, as ``_named`` has them, by direction and split.
    """
    pins = read_pins() if official else {}
    splits = {split for _, split in groups}
    if card.kind == "mining" and official:  # of every split that it reads
        splits |= {meta["split"], *card.source.splits[meta["split"]].needs}
        known = {split for _, split in groups}
        none = next(iter(groups.values())).slice(0, 0)
        groups |= {("", split): none for split in splits - known}
    for (direction, split), members in sorted(groups.items()):
        pin = pins.get((card.name, split, unit))
        published = card.counts.get(split, {}).get(unit) if official else None
        whole = pin.examples if pin else published
        if card.kind == "bitext" and whole is None:
            whole = meta.get("candidates", {}).get(unit)
        limit = meta["limit"] if card.kind != "mining" or split == meta["split"] else None
        what = " ".join(part for part in (unit, direction or split) if part)
        if limit is None and whole is not None and len(members) != whole:
            return f"{what} has {len(members)} of {whole} examples"
        if limit is not None and card.kind != "mining":
            most = limit if whole is None else min(limit, whole)
            if len(members) > most or (whole is not None and len(members) != most):
                return f"{what} has {len(members)} of the first {most} examples"
        if limit is not None or pin is None:
            continue
        decided = (members.column(name) for name in ("id", "relevant", "cluster"))
        if digest(joined(*decided, separator="\t").to_pylist()) != pin.digest:
            return f"the ids, clusters or relevant candidates of {what} are not those of the data"
    return ""


def _pairs(rows: pa.Table, first: FirstCandidates) -> npt.NDArray[np.int64]:
    """int64[n]: for each of the first candidates a hash of its id and its question's."""

    def hashes(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
        coded = dictionary(column)
        return np.array([hash(one) for one in coded.dictionary.to_pylist()], np.int64)[codes(coded)]

    return hashes(rows.column("example_id"))[first.row] * _ODD + hashes(first.ids)


def _gold_contradiction(rows: pa.Table, relevant: npt.NDArray[np.int64]) -> str:
    """Whether a question's candidates are relevant to it in every language that asks it, or none.

    ``relevant``: the hashes of all pairs that are relevant in some language, in order. Of a million
    pairs, two have one hash once in ten million files.
    """
    first = first_candidates(rows)
    pairs = _pairs(rows, first)
    nearest = relevant[np.searchsorted(relevant, pairs).clip(max=len(relevant) - 1)]
    missed = np.flatnonzero(~first.hit & (nearest == pairs))
    if not len(missed):
        return ""
    row, candidate = first.row[missed[0]], first.ids[missed[0]].as_py()
    name = rows.column("example_id")[int(row)].as_py()
    what = f"{one_line(candidate, 80)} is relevant to {one_line(name, 80)}"
    return f"{what} in one language and not in another"
