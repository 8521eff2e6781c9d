"""Reads the scores of what is on disk with their intervals, in the form of ``harness.scores``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from harness.analysis.chance import at_chance
from harness.analysis.fold import fold, score_rows
from harness.analysis.results import read_result
from harness.cards.catalogue import read_card
from harness.cards.languages import canonical
from harness.errors import NotFoundError, UsageError, together, unknown_name
from harness.results.outcomes import OutcomeFile, found_under, read_each
from harness.results.scores import MACRO

Row = dict[str, Any]


def outcome_files(paths: Iterable[str | Path]) -> list[OutcomeFile]:
    """Return the outcome files under each of the paths, each once.

    Raises:
        NotFoundError: there is none under one of them.
    """
    return list(dict.fromkeys(file for path in paths for file in found_under(path)))


def select(files: Sequence[OutcomeFile], tasks: Sequence[str]) -> list[OutcomeFile]:
    """Return the files of some tasks, or by the cards at some paths; all where none is named.

    Raises:
        UsageError: nothing is there of a task.
        NotFoundError: there is no card at a path, or nothing was measured by it as it is now.
        DataError: a file of a task that a card is named for is damaged.
    """
    if not tasks:
        return list(files)
    names = [file.path.name.split(".")[0] for file in files]
    chosen: set[OutcomeFile] = set()
    for task in tasks:
        card = read_card(task) if task.endswith((".yaml", ".yml")) else None
        wanted = card.name if card else task
        if wanted not in names:
            raise unknown_name("measured task", wanted, dict.fromkeys(names))
        own = [file for file, name in zip(files, names, strict=True) if name == wanted]
        if card is not None:
            own = [file for file in own if file.meta()["card_hash"] == card.hash]
        if not own:
            raise NotFoundError(
                f"nothing was measured by {task} as it is now: run `xharness eval` with it, or "
                f"name the task ({wanted}) for all versions"
            )
        chosen.update(own)
    return [file for file in files if file in chosen]


def measured(files: Sequence[OutcomeFile], kept: Path | None = None) -> list[Row]:
    """Return one row per file, language, direction and metric, with the columns of
    ``harness.scores``.

    ``low`` and ``high``: a 95 % interval over parallel items (the board's), values in [0, 1].
    The files of a checkpoint and task stand in the order of their layers.
    ``kept``: the folder of folds that were computed before, see ``analysis.fold``.

    Raises:
        DataError: outcome files are damaged; ``error.scores`` has the rows of the others.
    """

    def read(file: OutcomeFile) -> list[Row]:
        folded = fold(file, kept)
        note = "; ".join([*folded.notes, *folded.meta.get("remarks", ())])
        rows: list[Row] = score_rows(folded, {"note": note}).to_pylist()
        return rows

    found, damaged = read_each(files, read)
    of_task = groupby(found, lambda own: [(row["revision"], row["task"]) for row in own[:1]])
    rows = [row for _, own_files in of_task for own in sorted(own_files, key=_layer) for row in own]
    if damaged:
        raise together(damaged, rows or None)
    return rows


def languages_at_chance(files: Sequence[OutcomeFile], kept: Path | None = None) -> list[Row]:
    """Return model, revision, task and languages of each file in which some score no better than
    random draws in the headline, by the board's rule. Files that are damaged are left out.
    """

    def read(file: OutcomeFile) -> Row:
        folded = fold(file, kept)
        meta = folded.meta
        row = {name: meta[name] for name in ("model", "revision", "task")}
        if folded.table.column("draws").null_count == len(folded.table):
            return row | {"languages": []}  # it does not apply to the checkpoint
        result = read_result(folded, str(file.path), frozenset())
        return row | {"languages": [lang for lang in result.values if at_chance([result], lang)]}

    found, _ = read_each(files, read)
    return [row for row in found if row["languages"]]


def _layer(rows: Sequence[Row]) -> int:
    return (rows[0]["layer"] or 0) if rows else 0


def of_languages(rows: Sequence[Row], languages: Sequence[str]) -> list[Row]:
    """Return the rows of some languages, and no mean; all of them where none is named.

    Raises:
        UsageError: nothing was measured in a language.
    """
    if not languages:
        return list(rows)
    codes = [canonical(name) for name in languages]
    there = {row["lang"] for row in rows} - {MACRO}
    for code in codes:
        if code not in there:
            raise UsageError(f"no scores of {code}: there are {', '.join(sorted(there))}")
    return [row for row in rows if row["lang"] in codes]
