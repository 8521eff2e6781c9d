"""Makes pull requests to the Hub from a board whose scores were verified."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from harness.analysis.entries import Entry
from harness.analysis.gather import Board, read_board
from harness.board.build import verify
from harness.errors import HarnessError, IncompleteError, UsageError, together, unknown_name
from harness.publishing.card import block, with_block
from harness.publishing.eval_results import FILE, eval_results
from harness.publishing.hub import Finding, find
from harness.publishing.measured import choose, is_local
from harness.publishing.proposal import Content, Proposal, RepositoryState
from harness.publishing.rows import files, wanted

PARTS = ("results", "eval-results", "card")


def findings(
    root: Path,
    names: Sequence[str],
    *,
    data_set: str,
    parts: Collection[str] = PARTS,
    author: str | None,
    cache: Path | None = None,
) -> list[Finding]:
    """Find what is to be sent for the checkpoints that are named, or for all; nothing is sent.

    Every score is computed again from its rows first. ``data_set``: the id of the data set for the
    rows. ``author``: our name on the Hub, or None where nobody is logged in. A repository that
    cannot be read, or a model card that is damaged, is a finding with the error.

    Raises:
        CheckFailed: the board does not agree with its rows.
        NotFoundError: the checkpoint is not on the board.
        UsageError: there is nothing to publish, a checkpoint is local, a part is unknown, or a
            model would be published at several revisions.
    """
    for part in parts:
        if part not in PARTS:
            raise unknown_name("part", part, PARTS)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", data_set):
        raise UsageError(f"--to {data_set}: give the data set as namespace/name")
    verify(root)
    board = read_board(root, cache)
    entries = choose(board, names)
    if not names and set(parts) != {"results"}:
        entries = [entry for entry in entries if not is_local(entry)]
    if not entries:
        raise UsageError(
            "nothing to publish: no checkpoint has a task whole, run `xharness refresh` first"
        )
    return [_find(one, author) for one in proposals(board, entries, root, data_set, parts)]


def check_made(failed: Sequence[HarnessError], planned: int) -> None:
    """Raise where pull requests could not be made. ``planned``: how many there were to be.

    Raises:
        IncompleteError: some could not be made, for the reasons beside it.
        HarnessError: none could be made, for this reason.
    """
    if not failed:
        return
    reasons = {str(error): error for error in failed}.values()  # a repository has two of one reason
    if len(failed) == planned:
        raise together(reasons)
    said = f"{len(failed)} of {planned} pull requests cannot be made, see below"
    raise together([IncompleteError(said), *reasons])


def _find(proposal: Proposal, author: str | None) -> Finding:
    """Find what is to be sent; an error is one of this proposal, and stops no other."""
    try:
        return find(proposal, author)
    except HarnessError as error:
        return Finding(proposal, "failed", error=error)


def proposals(
    board: Board, entries: Sequence[Entry], root: Path, data_set: str, parts: Collection[str]
) -> list[Proposal]:
    """Make the pull requests: one to the data set, and two to every model repository.

    Raises:
        UsageError: a checkpoint is local, and so has no repository.
    """
    found: list[Proposal] = []
    if "results" in parts:
        new = files(board, entries, root)
        found.append(
            Proposal(
                "dataset", data_set, "xharness: rows and scores",
                "One row per example and the scores that follow from them, measured by xharness.",
                partial(wanted, new),
            )
        )  # fmt: skip
    for entry in entries:
        for part, (title, text, make) in _MODEL_PARTS.items():
            if part not in parts:
                continue
            if is_local(entry):
                raise UsageError(
                    f"{entry.model} was measured from a folder, so there is no model repository to"
                    " write to: give --part results"
                )
            content = make(entry, root, data_set)
            found.append(Proposal("model", entry.model, title, text, content))
    return found


def _results_file(entry: Entry, root: Path, data_set: str) -> Wanted:
    content = eval_results(entry, root, data_set)
    return lambda there: {FILE: content}


def _card_block(entry: Entry, root: Path, data_set: str) -> Wanted:
    new = block(entry, data_set)
    return lambda there: {"README.md": with_block(there.read("README.md"), new)}


Wanted = Callable[[RepositoryState], Mapping[str, Content]]
_MODEL_PARTS: Mapping[str, tuple[str, str, Callable[[Entry, Path, str], Wanted]]] = {
    "eval-results": (
        "xharness: evaluation results",
        "Scores on cross-lingual retrieval and question answering, measured by xharness, in the"
        " Hub's format for evaluation results.",
        _results_file,
    ),
    "card": (
        "xharness: scores in the model card",
        "A block with the scores that xharness measured; nothing else in the card is changed.",
        _card_block,
    ),
}
