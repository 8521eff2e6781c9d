"""Outcomes → prediction files in XTREME's layout, as its own ``evaluate.py`` reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from harness.cards.catalogue import card_of
from harness.cards.task import TaskCard
from harness.data.examples import Bitext, Examples
from harness.data.load import DataLocation, load
from harness.errors import DataError, IncompleteError, NotFoundError, UsageError
from harness.io.files import write_whole
from harness.kinds.bitext import cluster
from harness.results.outcomes import OutcomeFile, find
from harness.results.xtreme_layout import (
    SUFFIXES,
    folder_name,
    has_layout,
    layout_files,
    sorted_order,
)

DEPTH = 20  # ranks that XTREME-R looks at in Mewsli-X
UNKNOWN = "?"  # a rank of which the outcomes do not keep the candidate


@dataclass(frozen=True)
class Exported:
    """``files``: what was written. ``notes``: what was left out and why, and what was there."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One outcome file that is exported, with its card and metadata."""

    file: OutcomeFile
    card: TaskCard
    meta: dict[str, Any]


def export(run: Path, folder: Path, *, location: DataLocation) -> Exported:
    """Write the predictions of an outcome file, or of all those of a results folder.

    The files are ``<task>/<split>-<lang>.json`` or ``.tsv`` under ``folder``, in the formats of
    `harness.results.predictions`; ``test-`` is what the official script reads. They appear whole
    or not at all, and take the place of older ones of the same name.

    - QA: the answers as they were read, line ends and tabs escaped by JSON. Of the MLQA pairs,
      those in one language are ``mlqa/<split>-<lang>.json``, the others
      ``mlqa_cross/<split>-<context>-<question>.json``.
    - Tatoeba: for each English sentence in XTREME's sorted order, the 0-based line of the best
      sentence of the other side. The English side is read through ``location``.
    - BUCC: the kept pairs of the run's split.
    - Mewsli-X: the 10 best entities, which are what outcomes keep. Of ranks 11 to 20 they keep
      only whether the gold entity is there: then it is put at its rank after ``?`` for those
      that are not known, so that the official mAP@20 is that of the run.
    - XNLI, PAWS-X: a label a line, of PAWS-X 0 or 1; XCOPA: ``{"label": 0}`` a line; UDPOS, PAN-X:
      a tag a line and a blank line between sentences; in the order of the task's file.
    - LAReQA has no official prediction file and is left out, with a note.

    Predictions that were in ``folder`` before stay; a note says so, since whoever scores the folder
    takes them for this run's.

    Raises:
        NotFoundError: no outcomes at ``run``.
        UsageError: there are two runs of a task or of two checkpoints, one with ``--limit``, one
            that is not finished, or nothing that has an official prediction file.
        DataError: an outcome file is damaged, or the English side is not the one of the run.
        IncompleteError: the English side could not be had, or the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give a folder to export to")
    runs, notes = _runs(run)
    contents: dict[Path, str] = {}
    for one in runs:
        units = tuple(one.meta["languages"])
        needed = _loaded(one, units, location) if one.card.kind == "bitext" else None
        for unit, rows in one.file.tables(units):
            text = _WRITERS[one.card.kind](rows, unit, one, needed)
            # A pair of MLQA in one language is in the run of mlqa too, which comes first.
            contents.setdefault(folder / _name(one.card, unit, one.meta["split"]), text)
    for path, text in contents.items():
        _write(path, text)
    return Exported(tuple(contents), (*notes, *_others(folder, contents)))


# What is exported


def _runs(path: Path) -> tuple[list[Run], list[str]]:
    """The outcome files to export, and a note for each that has no official format."""
    files = find(path) if path.exists() else []
    if not files:
        raise NotFoundError(
            f"no outcomes at {path}: give a results folder or file of xharness eval"
        )
    everything = []
    for file in files:
        meta = file.meta()
        everything.append(Run(file, card_of(meta), meta))
    runs = [run for run in everything if has_layout(run.card)]
    notes = [
        f"{run.file.path.name} left out: {run.card.title} has no official prediction file"
        for run in everything
        if not has_layout(run.card)
    ]
    if not runs:
        raise UsageError(f"nothing to export at {path}: {notes[0]}")
    for run in runs:
        _check(run)
    _check_together(runs)
    notes += [
        f"{run.file.path.name}: only the gold entity is known of ranks 11 to {DEPTH}, others are"
        f" written as {UNKNOWN}"
        for run in runs
        if run.card.kind == "passages"
    ]
    return sorted(runs, key=lambda run: run.card.name), notes


def _check(run: Run) -> None:
    """UsageError for a run that the official script would misread."""
    if run.meta["limit"] is not None:
        raise UsageError(
            f"{run.file.path} has the first {run.meta['limit']} queries of each language alone, and"
            " XTREME's script would misread it: run xharness eval without --limit"
        )
    if not run.file.path.exists():
        raise UsageError(f"{run.file.path} is not finished: run the same xharness eval again first")


def _check_together(runs: Sequence[Run]) -> None:
    """UsageError where two files would give predictions under one name, or of two checkpoints."""
    seen: dict[tuple[str, str], Run] = {}
    for run in runs:
        other = seen.setdefault((run.card.name, run.meta["split"]), run)
        if other is not run:
            raise UsageError(
                f"two runs of {run.card.name}, {other.file.path} and {run.file.path}: give one file"
            )
        first = runs[0].meta
        if (run.meta["model"], run.meta["revision"]) != (first["model"], first["revision"]):
            raise UsageError(
                f"runs of two checkpoints, {runs[0].file.path} and {run.file.path}: give the folder"
                " of one"
            )


def _loaded(run: Run, units: tuple[str, ...], location: DataLocation) -> Examples:
    loaded = load(run.card, run.meta["split"], units, location)
    for unit, why in loaded.broken.items():
        raise DataError(f"{run.card.name} {unit}: {why}")
    for unit, why in loaded.missing.items():
        raise IncompleteError(
            f"{run.card.name} {unit}: its English side is needed for the sorted order: {why}"
        )
    return loaded.examples


def _name(card: TaskCard, unit: str, split: str) -> Path:
    context, _, question = unit.partition("-")
    if card.name == "mlqa_cross" and context == question:
        return Path("mlqa", f"{split}-{context}.json")
    return Path(folder_name(card), f"{split}-{unit}.{SUFFIXES[card.kind]}")


# What stands in a file


def _answers(rows: pa.Table, unit: str, run: Run, examples: Any) -> str:
    ids, answers = (rows.column(name).to_pylist() for name in ("example_id", "prediction"))
    return _json(dict(zip(ids, answers, strict=True)))


def _lines(rows: pa.Table, unit: str, run: Run, examples: dict[str, Bitext]) -> str:
    english = examples[unit].english
    official = rows.filter(pc.field("direction") == f"en-{unit}")
    best = {
        _line(row["example_id"]): _line(row["top_ids"][0])
        for row in official.select(["example_id", "top_ids"]).to_pylist()
    }
    clusters = {
        _line(row["example_id"]): row["cluster"]
        for row in official.select(["example_id", "cluster"]).to_pylist()
    }
    if clusters != {line: cluster(sentence) for line, sentence in enumerate(english)}:
        raise DataError(
            f"{unit}: the English sentences are not those that were measured ({len(official)} in"
            f" the run, {len(english)} here): give the same data with --data"
        )
    return "".join(f"{best[line]}\n" for line in sorted_order(english))


def _line(identifier: str) -> int:
    """The 0-based line of an id `<lang>:<line>`."""
    return int(identifier.rpartition(":")[2])


def _pairs(rows: pa.Table, unit: str, run: Run, examples: Any) -> str:
    kept = rows.filter((pc.field("split") == run.meta["split"]) & pc.field("kept"))
    return "".join(
        f"{row['source_id']}\t{row['target_id']}\n"
        for row in kept.select(["source_id", "target_id"]).to_pylist()
    )


def _rankings(rows: pa.Table, unit: str, run: Run, examples: Any) -> str:
    ranked = {}
    for row in rows.to_pylist():
        top = row["top_ids"]
        rank = row["ranks"][0] if row["ranks"] else None
        if rank is not None and len(top) < rank <= DEPTH:
            gold = row["cluster"].partition(":")[2]  # the cluster of a mention is its entity
            top = [*top, *[UNKNOWN] * (rank - 1 - len(top)), gold]
        ranked[row["example_id"]] = top
    return _json(ranked)


def _labels(rows: pa.Table, unit: str, run: Run, examples: Any) -> str:
    names = {label: name for name, label in run.card.label_names.items()}  # as the files have it
    return "".join(f"{names.get(one, one)}\n" for one in rows.column("prediction").to_pylist())


def _choices(rows: pa.Table, unit: str, run: Run, examples: Any) -> str:
    return "".join(f'{{"label": {one}}}\n' for one in rows.column("prediction").to_pylist())


def _tags(rows: pa.Table, unit: str, run: Run, examples: Any) -> str:
    sentences = rows.column("prediction").to_pylist()
    return "\n\n".join("\n".join(tags) for tags in sentences) + "\n"


_WRITERS: dict[str, Callable[[pa.Table, str, Run, Any], str]] = {
    "bitext": _lines,
    "mining": _pairs,
    "span_qa": _answers,
    "passages": _rankings,
    "classification": _labels,
    "multiple_choice": _choices,
    "tagging": _tags,
}


def _json(content: dict[str, Any]) -> str:
    # In ASCII: the official script opens files with the encoding of the machine it runs on.
    return json.dumps(content, indent=1) + "\n"


def _others(folder: Path, written: Container[Path]) -> list[str]:
    """A note on files in the layout that are not of this run, if there are any."""
    others = [path for path in layout_files(folder) if path not in written]
    if not others:
        return []
    named = ", ".join(path.relative_to(folder).as_posix() for path in others[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return [
        f"{folder} had {named}{more} before: they are scored together with what was written now, "
        "take those of another run away"
    ]


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        raise IncompleteError(
            f"cannot write {path}: {error.strerror or error}: free space or give another folder"
        ) from error
