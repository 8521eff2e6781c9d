"""One outcome file → its scores with intervals: all that the board needs of it, and kept.

The numbers are those of ``harness.scoring``; they are computed over a whole file at once, since a
board folds hundreds of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.board.draws import cluster_keys, cluster_sums, interval, weighted_means, weights
from harness.cards import TaskCard, read_card
from harness.errors import DataError
from harness.kinds import KINDS, retrieval
from harness.kinds.kind import Score
from harness.metrics.bitext import f1_mteb_terms
from harness.metrics.ranking import Ranks
from harness.outcomes import DAMAGE, KEY, OutcomeFile
from harness.scoring import SCHEMA, apart, is_complete, macro

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Parts = tuple[Keys, Floats]  # clusters, and what each adds to the headline
# The cells of a unit: scores with their draws, and by direction the parts of the headline.
Cells = tuple[list[tuple[Score, Floats]], dict[str, Parts]]

# The columns of a kept fold: a score and what it is a mean over. The headline also has what pairs
# of checkpoints need: its draws, and what each cluster (by key) adds to it.
FOLD_SCHEMA = pa.schema(
    [
        ("lang", pa.string()),
        ("direction", pa.string()),
        ("group", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("n", pa.int64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("draws", pa.list_(pa.float32())),
        ("keys", pa.list_(pa.uint64())),
        ("parts", pa.list_(pa.float64())),
    ]
)
DROPPED = ("timing", "data")  # of the metadata: not needed, and different in every run


@dataclass(frozen=True, eq=False)
class Folded:
    """The scores of one outcome file. ``meta``: its metadata without timing and data digests."""

    meta: dict[str, Any]
    merged: bool
    table: pa.Table

    @cached_property
    def card(self) -> TaskCard:
        """The task, as its card is now."""
        return read_card(self.meta["task"])

    @cached_property
    def notes(self) -> list[str]:
        """Why these scores are listed apart and never ranked."""
        return apart(self.meta, self.card)

    @property
    def complete(self) -> bool:
        """Whether the languages of some suite are there."""
        return self.merged and is_complete(self.card, self.meta)

    @property
    def missing(self) -> list[str]:
        """The card's languages that are not there."""
        return [unit for unit in self.card.languages if unit not in self.meta["languages"]]


def fold(file: OutcomeFile, kept: Path | None = None) -> Folded:
    """The scores of one outcome file; ``kept`` is a folder of folds that were computed before.

    A fold is kept under the digest of the file, its card and this code, so that it is never used
    for another.

    Raises:
        DataError: the file is damaged, or its rows cannot be of one run.
    """
    if kept is None or not _can_be_kept(file):
        return _fold(file)
    if (found := kept_fold(file, kept)) is not None:
        return found
    folded = _fold(file)
    kept.mkdir(parents=True, exist_ok=True)
    path = kept / f"{fold_key(file.path)}.parquet"
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    text = json.dumps(folded.meta, ensure_ascii=False)
    pq.write_table(folded.table.replace_schema_metadata({KEY: text}), temporary)
    temporary.replace(path)
    return folded


def kept_fold(file: OutcomeFile, kept: Path) -> Folded | None:
    """The fold of a file, if it was computed before; one that is damaged is removed."""
    if not _can_be_kept(file):
        return None
    path = kept / f"{fold_key(file.path)}.parquet"
    if not path.exists():
        return None
    try:
        table = pq.read_table(path, use_threads=False)
        return Folded(json.loads(table.schema.metadata[KEY]), True, table)
    except DAMAGE:
        path.unlink(missing_ok=True)
        return None


def _can_be_kept(file: OutcomeFile) -> bool:
    """Whether the file is whole: parts may still change."""
    return file.path.exists() and not file.parts.is_dir()


def fold_key(path: Path) -> str:
    """sha256 hex over an outcome file's bytes, its card and the code that folds it."""
    digest = sha256(_code_digest())
    task = path.name.split(".")[0]
    digest.update(read_card(task).hash.encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@cache
def _code_digest() -> bytes:
    here = Path(__file__).parent
    modules = [here / "fold.py", here / "draws.py"]
    modules += sorted((here.parent / "kinds").glob("*.py"))
    modules += sorted((here.parent / "metrics").glob("*.py"))
    return sha256(b"\0".join(path.read_bytes() for path in modules)).digest()


def _fold(file: OutcomeFile) -> Folded:
    meta = file.meta()
    card = read_card(meta["task"])
    cells: list[tuple[Score, Floats]] = []
    added: dict[tuple[str, str, str], Parts] = {}
    for unit in _units(file, meta, card):
        try:
            found, parts = _CELLS[card.kind](unit, card, meta["split"])
        except ValueError as error:
            raise DataError(
                f"{file.path} contradicts itself ({error}): delete it and run `xharness eval` again"
            ) from error
        cells += found
        lang, direction, metric = _headline(card, [score for score, _ in found])
        added[lang, direction, metric] = parts[direction]
    cells += _macros(cells)
    lows, highs = interval(np.stack([drawn for _, drawn in cells]))
    rows = []
    for (score, drawn), low, high in zip(cells, lows.tolist(), highs.tolist(), strict=True):
        row = score._asdict() | {"low": low, "high": high}
        if own := added.get((score.lang, score.direction, score.metric)):
            row |= {"draws": drawn.astype(np.float32), "keys": own[0], "parts": own[1]}
        rows.append(row)
    table = pa.Table.from_pylist(rows, schema=FOLD_SCHEMA)
    return Folded({key: meta[key] for key in meta if key not in DROPPED}, file.path.exists(), table)


def _headline(card: TaskCard, scores: Sequence[Score]) -> tuple[str, str, str]:
    """(lang, direction, metric) of a unit's headline; F1 in sample where mining has no other."""
    metrics = {score.metric for score in scores}
    metric = card.primary if card.primary in metrics else "f1_oracle"
    return next(
        (score.lang, score.direction, score.metric)
        for score in scores
        if score.metric == metric and official(card, score.group)
    )


def official(card: TaskCard, group: str) -> bool:
    """Whether a group of directions is the one that the headline is about (English → xx)."""
    return card.kind != "bitext" or group.startswith("en-")


def _units(file: OutcomeFile, meta: dict[str, Any], card: TaskCard) -> Iterator[pa.Table]:
    """The rows of each unit, with the columns that the fold reads."""
    if not file.path.exists() or file.parts.is_dir():
        for unit in meta["languages"]:
            yield file.read(unit)
        return
    columns = set(KINDS[card.kind].schema.names) - {"example_id", "prediction", "answered"}
    if not {"f1_mteb", "same_language@10"} & set(card.metrics):
        columns -= {"top_ids"}
    coded = [name for name in ("cluster", "direction", "lang") if name in columns]
    if "top_ids" in columns:
        coded.append("top_ids.list.element")
    try:
        with pq.ParquetFile(file.path, read_dictionary=coded) as source:
            # By row group, which is a unit: nested dictionaries cannot be read across them.
            for index in range(source.num_row_groups):
                yield source.read_row_group(index, sorted(columns), use_threads=False)
    except DAMAGE as error:
        raise DataError(
            f"{file.path} is not a readable outcome file ({type(error).__name__}): "
            "delete it and run `xharness eval` again"
        ) from error


def _retrieval_cells(unit: pa.Table, card: TaskCard, split: str) -> Cells:
    lang = unit.column("lang")[0].as_py()
    ranks = retrieval.ranks_of(unit)
    keys = _keys(unit.column("cluster"))
    direction_of, directions = _coded(unit.column("direction"))
    first = {d: int(np.argmax(direction_of == d)) for d in np.unique(direction_of)}
    values = {
        metric: retrieval.METRICS[metric](ranks)
        for metric in card.metrics
        if metric in retrieval.METRICS
    }
    order = sorted(first, key=lambda d: first[d])
    rows_of = {d: np.flatnonzero(direction_of == d) for d in order}
    of_metric = {
        d: np.stack(
            [
                values[metric][rows_of[d]]
                if metric in values
                else _special(metric, unit, ranks, rows_of[d])
                for metric in card.metrics
            ]
        )
        for d in order
    }
    drawn = _drawn(of_metric, {d: keys[rows_of[d]] for d in order})
    cells = []
    parts = {}
    for d in order:
        sums, distinct = cluster_sums(
            of_metric[d][[card.metrics.index(card.primary)]], keys[rows_of[d]]
        )
        parts[directions[d]] = (distinct, sums[0] / len(rows_of[d]))
        source, target = directions[d].split("-")
        group = f"{'xx' if source == lang else source}-{'xx' if target == lang else target}"
        for metric, numbers, line in zip(card.metrics, of_metric[d], drawn[d], strict=True):
            score = Score(lang, directions[d], group, metric, float(numbers.mean()), len(numbers))
            cells.append((score, line))
    return cells, parts


def _drawn(values: dict[int, Floats], keys: dict[int, npt.NDArray[np.uint64]]) -> dict[int, Floats]:
    """Weighted means by direction; both directions over the same items are one matrix product."""
    first, *others = keys
    if any(not np.array_equal(keys[first], keys[other]) for other in others):
        return {d: weighted_means(values[d], keys[d]) for d in keys}
    together = weighted_means(np.concatenate(list(values.values())), keys[first])
    return dict(zip(keys, np.split(together, len(keys)), strict=True))


def _special(metric: str, unit: pa.Table, ranks: Ranks, chosen: npt.NDArray[np.int64]) -> Floats:
    """The two metrics that look at which candidates came first, not at ranks."""
    column = unit.column("top_ids").combine_chunks()
    flat, names = _coded(column.flatten())
    lengths = column.value_lengths().to_numpy()
    starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    if metric == "f1_mteb":
        correct = _first_ranks(ranks)[chosen] == 1
        return f1_mteb_terms(flat[starts[chosen]], correct)
    own = f"{unit.column('lang')[0].as_py()}:"
    same = np.concatenate([[0], np.cumsum(np.array([n.startswith(own) for n in names])[flat])])
    shares: Floats = ((same[starts + lengths] - same[starts]) / lengths)[chosen]
    return shares


def _first_ranks(ranks: Ranks) -> npt.NDArray[np.int32]:
    first = np.zeros(len(ranks), dtype=np.int32)
    filled = np.diff(ranks.offsets) > 0
    first[filled] = ranks.values[ranks.offsets[:-1][filled]]
    return first


def _answer_cells(unit: pa.Table, card: TaskCard, split: str) -> Cells:
    scores = KINDS["span_qa"].fold(unit, card.metrics, split)
    values = np.stack([unit.column(m).to_numpy().astype(np.float64) for m in card.metrics])
    keys = _keys(unit.column("cluster"))
    drawn = weighted_means(values, keys)
    sums, distinct = cluster_sums(values[[card.metrics.index(card.primary)]], keys)
    parts = {scores[0].direction: (distinct, sums[0] / len(keys))}
    return list(zip(scores, drawn, strict=True)), parts


def _mining_cells(unit: pa.Table, card: TaskCard, split: str) -> Cells:
    """F1 = 2 Σ w·tp / (Σ w·predicted + Σ w·gold) per source sentence, at a fixed threshold."""
    scores = KINDS["mining"].fold(unit, card.metrics, split)
    rows = unit.filter(pc.field("split") == split)
    gold = rows.column("gold").to_numpy(zero_copy_only=False).astype(bool)
    margin = rows.column("margin").to_numpy(zero_copy_only=False).astype(np.float64)
    lang = scores[0].lang
    names = [f"{card.name}:{lang}:{name}" for name in rows.column("source_id").to_pylist()]
    kept = rows.column("kept").to_numpy(zero_copy_only=False).astype(bool)
    cells = []
    parts: dict[str, Parts] = {}
    for score in scores:
        chosen = margin >= _oracle(margin, gold) if score.metric == "f1_oracle" else kept
        counts = np.stack([chosen & gold, chosen, gold]).astype(np.float64)
        sums, keys = cluster_sums(counts, cluster_keys(names))
        right, predicted, wanted = sums @ weights(keys)
        over = {"precision": predicted, "recall": wanted}.get(score.metric, predicted + wanted)
        times = 1.0 if score.metric in ("precision", "recall") else 2.0
        cells.append((score, times * right / np.where(over > 0, over, 1.0)))
        if score.metric in ("f1", "f1_oracle"):
            # F1 linearised in the sources' counts: the parts add up to it.
            hits, size = sums[0], sums[1] + sums[2]
            added = (2 * hits - score.value * size) / size.sum()
            parts.setdefault("", (keys, added + score.value * sums[2] / sums[2].sum()))
    return cells, parts


def _oracle(margin: Floats, gold: npt.NDArray[np.bool_]) -> float:
    from harness.metrics.mining import best_threshold

    mined = ~np.isnan(margin)
    return best_threshold(margin[mined].astype(np.float32), gold[mined], int(gold.sum())).value


def _macros(cells: Sequence[tuple[Score, Floats]]) -> list[tuple[Score, Floats]]:
    """The means over languages, draw by draw: a draw weights an item alike in all of them."""
    drawn: dict[tuple[str, str], list[Floats]] = {}
    for score, line in cells:
        drawn.setdefault((score.group, score.metric), []).append(line)
    return [
        (whole, sum(members[1:], members[0].copy()) / len(members))
        for whole in macro([score for score, _ in cells])
        for members in [drawn[whole.group, whole.metric]]
    ]


def _keys(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    column = _dictionary(column)
    batch = pa.record_batch([column.dictionary], ["cluster"])
    return _named_keys(batch.serialize().to_pybytes())[_codes(column)]


@lru_cache(maxsize=512)
def _named_keys(raw: bytes) -> Keys:
    # By content: checkpoints that were measured on the same examples share it.
    schema = pa.schema([("cluster", pa.string())])
    return cluster_keys(pa.ipc.read_record_batch(raw, schema).column(0).to_pylist())


def _coded(column: pa.ChunkedArray | pa.Array) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Codes int64[n] and the names that they stand for."""
    column = _dictionary(column)
    return _codes(column), column.dictionary.to_pylist()


def _dictionary(column: pa.ChunkedArray | pa.Array) -> pa.DictionaryArray:
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def _codes(column: pa.DictionaryArray) -> npt.NDArray[np.int64]:
    codes: npt.NDArray[np.int64] = column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


_CELLS = {
    "bitext": _retrieval_cells,
    "passages": _retrieval_cells,
    "span_qa": _answer_cells,
    "mining": _mining_cells,
}


def score_rows(folded: Folded, extra: dict[str, Any]) -> pa.Table:
    """The rows of scores.parquet; ``extra``: base, objective, train_languages, contaminated."""
    meta = folded.meta
    common: dict[str, Any] = {
        "model": meta["model"],
        "revision": meta["revision"],
        "base": meta["base"],
        "track": meta["track"],
        "protocol": meta["protocol"],
        "layer": meta["resolved"].get("layer"),
        "task": meta["task"],
        "split": meta["split"],
        "seed": meta["seed"],
        "signature": meta["signature"],
        "provenance": "measured",
        "complete": folded.complete,
        "note": "; ".join(folded.notes),
    } | {key: value for key, value in extra.items() if value is not None}
    size = folded.table.num_rows
    columns = []
    for field in SCHEMA:
        if field.name in FOLD_SCHEMA.names:
            columns.append(folded.table.column(field.name).combine_chunks())
        else:
            columns.append(pa.array([common.get(field.name)] * size, field.type))
    return pa.Table.from_arrays(columns, schema=SCHEMA)
