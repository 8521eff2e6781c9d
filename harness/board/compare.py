"""`compare A B`: the paired difference of two checkpoints, whatever they were measured on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.board.differences import Difference, differ
from harness.board.entries import TRACKS, Result, make_entries, read_result
from harness.board.fold import Folded, fold
from harness.errors import IncompleteError, NotFoundError
from harness.outcomes import find
from harness.resampling import RESAMPLES
from harness.submission import Submission, contamination


@dataclass(frozen=True)
class Compared:
    """A − B in one track. ``remarks``: what a reader must know, such as rows that are unranked."""

    a: str
    b: str
    track: str
    metric: str
    difference: Difference
    remarks: tuple[str, ...]


def compare(
    a: str,
    b: str,
    *,
    results: Path,
    submissions: Mapping[str, Submission] | None = None,
    cache: Path | None = None,
    resamples: int = RESAMPLES,
) -> list[Compared]:
    """The paired differences of two checkpoints over the tasks that both were measured on.

    ``a``, ``b``: an id, ``id@revision``, a slug, or a results folder. One entry per track and
    metric; tasks that one side was trained on are left out and said so. Layers, splits and limits
    other than the usual ones are compared where both sides have the same, and said so.

    Raises:
        NotFoundError: a name has no outcomes.
        IncompleteError: nothing was measured on both in the same way.
    """
    known = submissions or {}
    sides = [_side(name, results, known, cache) for name in (a, b)]
    pairs: dict[tuple[str, str], dict[str, tuple[Result, Result]]] = {}
    remarks: dict[tuple[str, str], list[str]] = {}
    # The usual layer, split and whole set of queries first: others only where these are not there.
    for how, first in sorted(sides[0].items(), key=lambda item: len(item[1].notes)):
        second = sides[1].get(how)
        group = (first.track, first.metric)
        if second is None or first.task in pairs.get(group, {}):
            continue
        if first.contaminated or second.contaminated:
            name = a if first.contaminated else b
            remarks.setdefault(group, []).append(f"{first.task} left out: {name} was trained on it")
            continue
        said = [f"{first.task}: {note}" for r in (first, second) for note in r.notes]
        missing = sorted(set(first.missing) ^ set(second.missing))
        if missing:
            said.append(f"{first.task}: only in one run, left out: {' '.join(missing)}")
        pairs.setdefault(group, {})[first.task] = (first, second)
        remarks.setdefault(group, []).extend(dict.fromkeys(said))
    if not pairs:
        raise IncompleteError(
            f"{a} and {b} were not measured on a common task, track, layer, split and limit: "
            "run `xharness eval` on both alike"
        )
    return [
        Compared(
            a, b, track, metric,
            differ(
                [{task: pair[0] for task, pair in tasks.items()}],
                [{task: pair[1] for task, pair in tasks.items()}],
                Path(),
                cache,
                resamples=resamples,
            ),
            tuple(remarks.get((track, metric), ())),
        )
        for (track, metric), tasks in sorted(
            pairs.items(), key=lambda item: (TRACKS.index(item[0][0]), item[0][1])
        )
    ]  # fmt: skip


How = tuple[str, str, int | None, str, int | None]


def _side(
    name: str, results: Path, submissions: Mapping[str, Submission], cache: Path | None
) -> dict[How, Result]:
    """(task, track, own layer or the one asked for, split, limit) → the run; paths are whole."""
    folder = Path(name)
    found: list[tuple[Folded, str]] = []
    if folder.is_dir() and (files := find(folder)):
        found = [(fold(file, cache), str(file.path)) for file in files]
    else:
        model, _, revision = name.partition("@")
        slug = submissions.get(name)
        for file in find(results) if results.is_dir() else []:
            one = fold(file, cache)
            by_slug = slug is not None and one.meta["revision"] == slug.revision
            by_name = one.meta["model"] == (slug.model if slug else model)
            at = not revision or str(one.meta["revision"]).startswith(revision)
            if by_slug or (by_name and at):
                found.append((one, str(file.path)))
    if not found:
        raise NotFoundError(
            f"no outcomes of {name} under {results}: run `xharness eval {name}` first"
        )
    revisions = sorted({str(one.meta["revision"]) for one, _ in found})
    if len(revisions) > 1:
        raise NotFoundError(
            f"{name} was measured at {len(revisions)} revisions: give one of"
            f" {', '.join(f'{name}@{revision[:12]}' for revision in revisions)}"
        )
    seen = _seen(found, submissions)
    return {
        _how(result): result for one, path in found for result in [read_result(one, path, seen)]
    }


def _seen(
    found: Iterable[tuple[Folded, str]], submissions: Mapping[str, Submission]
) -> frozenset[str]:
    entries = make_entries(found, submissions)
    slugs = [entry.slug for entry in entries if entry.results and entry.slug in submissions]
    return contamination(slugs[0], submissions) if slugs else frozenset()


def _how(result: Result) -> How:
    meta = result.folded.meta
    # Models differ in depth: the protocol's own layer is one and the same choice for all.
    layer = result.layer if meta["custom"] else None
    return (result.task, result.track, layer, str(meta["split"]), meta["limit"])
