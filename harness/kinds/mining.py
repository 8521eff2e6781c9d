"""Bitext mining (BUCC 2018): which pairs of two comparable corpora are translations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from harness.data.examples import Mining
from harness.errors import one_line
from harness.inference.protocol import Role
from harness.inference.search import Distinct, distinct_vectors, mine
from harness.inference.vector_store import Vectors, chosen
from harness.kinds.columns import codes, dictionary, joined, text
from harness.kinds.kind import (
    BLOCK,
    Group,
    Kind,
    UnitFacts,
    UnitResult,
    UnitSettings,
    degenerate,
    shared,
    table,
)
from harness.metrics.by_kind import METRICS
from harness.metrics.mining import Pairs, Threshold, best_threshold, greedy_one_to_one

if TYPE_CHECKING:
    from harness.inference.encoder import Encoder

SCHEMA = pa.schema(
    [
        ("source_id", pa.string()),
        ("target_id", pa.string()),
        ("lang", pa.string()),
        ("margin", pa.float32()),
        ("gold", pa.bool_()),
        ("kept", pa.bool_()),
        ("split", pa.string()),
    ]
)

Examples = Mapping[str, Mapping[str, Mining]]


def texts(examples: Examples, unit: str, limit: int | None) -> Sequence[tuple[Role, Sequence[str]]]:
    """All sentences of every split, dev first: the threshold is chosen there."""
    return [
        ("query", list(corpora.source.values()) + list(corpora.english.values()))
        for corpora in examples[unit].values()
    ]


def run(
    settings: UnitSettings, examples: Examples, unit: str, encoder: Encoder, prepared: None
) -> UnitResult:
    """Rows of every split; those at or above the threshold chosen on dev are kept.

    Indistinct are the lines of the language's own side, in the split that is scored. The English
    side is the same for every tokenizer that knows English.
    """
    rows: list[dict[str, Any]] = []
    flat = False
    asked = set(_first_sources(examples[unit][settings.split], settings.limit))
    for corpora in examples[unit].values():
        mined, same = _mine(corpora, encoder, settings.layer)
        rows += [
            row for row in mined if row["split"] != settings.split or row["source_id"] in asked
        ]
        flat = flat or same
    threshold = _threshold([row for row in rows if row["split"] == "dev"])
    for row in rows:
        row["kept"] = row["margin"] is not None and row["margin"] >= threshold.value
    side = list(examples[unit][settings.split].source.values())
    tied = shared(encoder.ids_keys(side, role="query"))
    return UnitResult(table(SCHEMA, rows), flat, len(side), int(tied.sum()))


def _mine(corpora: Mining, encoder: Encoder, layer: int) -> tuple[list[dict[str, Any]], bool]:
    """One row per mined pair, best first, then one per gold pair that was not mined.

    Lines of one vector, because their text or their token ids are equal, are mined once: they are
    one column in the neighbour lists of the other side, and one row with one margin per candidate.
    The pair that they get is that of the first of them in the file (equal score → lowest index);
    the others cannot be told from it and are paired with nothing. So nothing depends on rounding.
    A sentence that occurs twice on a side has no id of its own: a pair with it is mined, and then
    dropped, as in the official evaluation. Pairs of equal margin are taken with the best forward
    candidates before the best backward ones, each in the order of the file.
    """
    source, target = (
        list(dict.fromkeys(corpora.source.values())),
        list(dict.fromkeys(corpora.english.values())),
    )
    both = encoder.stored(source + target, role="query", lang=corpora.lang, layer=layer)
    left = _normalised(chosen(both, np.arange(len(source))))
    right = _normalised(chosen(both, np.arange(len(source), len(both))))
    source_rows, target_rows, margins = mine(left.vectors[:], right.vectors[:])
    source_id, target_id = _single_ids(corpora.source), _single_ids(corpora.english)
    rows: list[dict[str, Any]] = []
    found: set[tuple[str, str]] = set()
    for index in greedy_one_to_one(source_rows, target_rows, margins):
        pair = (
            source_id.get(source[left.first[source_rows[index]]]),
            target_id.get(target[right.first[target_rows[index]]]),
        )
        # The official script writes pairs with a positive margin only.
        if pair[0] is None or pair[1] is None or margins[index] <= 0:
            continue
        named = (pair[0], pair[1])
        found.add(named)
        rows.append(_row(named, corpora, float(margins[index]), named in corpora.gold))
    rows += [_row(pair, corpora, None, True) for pair in sorted(corpora.gold - found)]
    return rows, degenerate(both)


def _normalised(side: Vectors) -> Distinct:
    """The distinct vectors of one side, float32[u, d], L2-normalised."""
    stored = distinct_vectors(side)
    vectors = stored.vectors[:]
    for start in range(0, len(vectors), BLOCK):  # a corpus is half a million: no second copy
        block = vectors[start : start + BLOCK]
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        block /= np.where(norms > 0, norms, 1)
    unit = distinct_vectors(vectors)  # of one direction, lengths may have differed
    return Distinct(unit.vectors, unit.rows[stored.rows], stored.first[unit.first])


def unscored(examples: Examples, split: str, limit: int | None) -> Mapping[str, str]:
    """Units whose first ``limit`` source sentences are in no gold pair: F1 would be of nothing."""
    return {
        unit: f"--limit {limit} leaves no gold pair of {split}: give more"
        if limit is not None
        else f"no gold pair of {split}: its sentences are in none"
        for unit, of_split in examples.items()
        if {source for source, _ in of_split[split].gold}.isdisjoint(
            _first_sources(of_split[split], limit)
        )
    }


def _first_sources(corpora: Mining, limit: int | None) -> list[str]:
    """The source sentences that are scored: with a limit the first ones, mined among all."""
    return list(corpora.source)[:limit]


def _row(
    pair: tuple[str, str], corpora: Mining, margin: float | None, gold: bool
) -> dict[str, Any]:
    return {
        "source_id": pair[0],
        "target_id": pair[1],
        "lang": corpora.lang,
        "margin": margin,
        "gold": gold,
        "split": corpora.split,
    }


def _single_ids(side: Mapping[str, str]) -> dict[str, str]:
    """Sentence → id, of the sentences that occur once."""
    counts = Counter(side.values())
    return {text: identifier for identifier, text in side.items() if counts[text] == 1}


def _threshold(rows: Sequence[Mapping[str, Any]]) -> Threshold:
    """The best threshold over the mined pairs among the rows of a split."""
    mined = [row for row in rows if row["margin"] is not None]
    return best_threshold(
        np.array([row["margin"] for row in mined], dtype=np.float32),
        np.array([row["gold"] for row in mined], dtype=bool),
        sum(bool(row["gold"]) for row in rows),
    )


def read(rows: pa.Table) -> Pairs:
    """The pairs of one split. What is kept is what was kept by the threshold of dev."""
    kept, gold = (
        rows.column(name).fill_null(False).to_numpy().astype(bool) for name in ("kept", "gold")
    )
    margin = rows.column("margin").to_numpy().astype(np.float32)
    return Pairs(margin, kept, gold, codes(dictionary(rows.column("lang"))))


def groups(rows: pa.Table) -> Sequence[Group]:
    """All pairs of the unit."""
    return [Group(rows.column("lang")[0].as_py(), "", "", np.arange(len(rows)))]


def cluster(rows: pa.Table, task: str) -> pa.Array:
    """The source sentence: `task:language:source`."""
    lang, source = text(rows.column("lang")), text(rows.column("source_id"))
    return joined(task, lang, source, separator=":")


def example(rows: pa.Table) -> pa.Array:
    """Both sentences of the pair."""
    return joined(text(rows.column("source_id")), text(rows.column("target_id")), separator=" ")


def common(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Gold pairs: of the others each run has those that it mined."""
    gold: npt.NDArray[np.bool_] = rows.column("gold").fill_null(False).to_numpy().astype(bool)
    return gold


def defined(metric: str, split: str) -> bool:
    """Of dev alone only ``f1_oracle`` is given.

    A threshold chosen and scored on the same gold pairs measures nothing else.
    """
    return split != "dev" or metric == "f1_oracle"


def contradiction(rows: pa.Table, facts: UnitFacts) -> str:
    """What the rows of a language contradict, or nothing.

    What is not mined is a gold pair that was missed; mining is one to one; what is kept follows
    from the threshold that is best on dev.
    """
    for split in sorted(pc.unique(rows.column("split")).to_pylist()):
        if split not in ("dev", facts.split):
            return f"rows of split {one_line(split, 20)}"
        mined = rows.filter((pc.field("split") == split) & pc.field("margin").is_valid())
        for side in ("source_id", "target_id"):
            if pc.count_distinct(mined.column(side)).as_py() != len(mined):
                return f"a {side} is in two pairs that were mined"
    kept, gold = (rows.column(name).to_numpy() for name in ("kept", "gold"))
    margin = rows.column("margin").to_numpy()  # nan where there is none
    missed = rows.column("margin").is_null().to_numpy()
    dev = pc.equal(rows.column("split"), "dev").to_numpy()
    possible = (margin > 0) & (margin < np.inf)
    if (wrong := missed & (kept | ~gold)).any():
        return f"{_pair(rows, wrong)} was not mined, and is kept or is no gold pair"
    if (wrong := ~missed & ~possible).any():
        return f"{_pair(rows, wrong)} has margin {margin[wrong][0]}"
    scored = dev & possible
    threshold = best_threshold(margin[scored], gold[scored], int(gold[dev].sum()))
    if (wrong := (margin.astype(np.float64) >= threshold.value) != kept).any():
        return f"{_pair(rows, wrong)}: kept is not what the threshold of dev gives"
    return ""


def _pair(rows: pa.Table, chosen: npt.NDArray[np.bool_]) -> str:
    """The first of the rows that are chosen, in words."""
    at = int(np.flatnonzero(chosen)[0])
    return one_line(f"{rows.column('source_id')[at]} {rows.column('target_id')[at]}", 80)


KIND = Kind(
    needs="encoder",
    schema=SCHEMA,
    texts=texts,
    run=run,
    metrics=METRICS["mining"],
    read=read,
    groups=groups,
    example=example,
    common=common,
    cluster=cluster,
    defined=defined,
    unscored=unscored,
    nullable=("margin",),
    contradiction=contradiction,
)
