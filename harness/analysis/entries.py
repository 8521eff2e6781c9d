"""Makes entries of outcomes and submissions: the checkpoints of a board, with their results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from harness.analysis.fold import Folded
from harness.analysis.results import Result, read_result, seed_means
from harness.submissions.attempts import Attempt
from harness.submissions.lineage import Lineage, lineage
from harness.submissions.submission import (
    Submission,
    base_of,
    contamination,
    find_slug,
    kin_contamination,
    kind_of,
)

TRACKS = ("frozen", "native", "own-head", "tuned")


@dataclass(frozen=True, eq=False)
class Entry:
    """A checkpoint on the board, or a submission without outcomes yet.

    ``members``: of a variant, the checkpoints that it is the mean of: see ``analysis.variants``.
    ``attempt``: why the last refresh left something of it unmeasured. ``title``: the name that
    people read, see `variants.titled`. ``lineage``: None without a submission.
    """

    slug: str
    model: str
    revision: str | None
    submission: Submission | None
    base: str | None
    contaminated: frozenset[str]
    results: tuple[Result, ...]
    members: tuple[Entry, ...] = ()
    attempt: Attempt | None = None
    title: str = ""
    lineage: Lineage | None = None

    @property
    def name(self) -> str:
        """The model's name; with the revision where it is no Hub id."""
        return self.model if "/" in self.model else f"{self.model} ({self.slug})"

    @property
    def stand_in(self) -> bool:
        """Made to try the board with: no evidence about any objective."""
        return self.submission is not None and self.submission.stand_in

    @property
    def kind(self) -> str:
        """Its objective in words, `not submitted` without a submission."""
        return "not submitted" if self.submission is None else kind_of(self.submission)

    @property
    def why(self) -> str:
        """Why it is not measured, or not whole, as far as that is known."""
        return self.attempt.reason if self.attempt is not None else ""

    def tasks(self, track: str) -> Mapping[str, Result]:
        """Return task → the result that stands for it in a track: the mean over seeds of regular
        ones.
        """
        return self._tracks.get(track, {})

    @cached_property
    def _tracks(self) -> dict[str, dict[str, Result]]:
        regular = (result for result in self.results if result.regular)
        found: dict[str, dict[str, Result]] = {}
        for (track, task), mean in seed_means(regular, lambda one: (one.track, one.task)).items():
            found.setdefault(track, {})[task] = mean
        return found


def make_entries(
    folded: Iterable[tuple[Folded, str]],
    submissions: Mapping[str, Submission],
    attempts: Mapping[str, Attempt] | None = None,
) -> tuple[Entry, ...]:
    """Return every checkpoint with outcomes, and every submission without any, by slug.

    ``attempts``: by slug of the submission; an attempt alone makes an entry too.
    """
    attempts = attempts or {}
    groups: dict[tuple[str, str], list[tuple[Folded, str]]] = {}
    for one, path in folded:
        groups.setdefault((one.meta["model"], one.meta["revision"]), []).append((one, path))
    pinned = _pinned(sorted(groups), submissions)
    entries: dict[str, Entry] = {}
    for (model, revision), members in sorted(groups.items()):
        slug = submitted(model, revision, submissions)
        if slug is None or slug in entries:  # a pending submission stands for one revision only
            name = _slug(model, revision)
            seen = kin_contamination(model, submissions)
            entry = Entry(name, model, revision, None, None, seen, ())
        else:
            entry = replace(_without_outcomes(slug, submissions, pinned), revision=revision)
        doubt = _unread_base(entry, submissions, attempts)
        results = [
            read_result(replace(one, doubt=doubt), path, entry.contaminated)
            for one, path in members
        ]
        results.sort(key=lambda r: (place_of(r.track), r.task, r.layer or 0, r.path))
        entries[entry.slug] = replace(entry, results=tuple(results))
    for slug in submissions.keys() - entries.keys():
        entries[slug] = _without_outcomes(slug, submissions, pinned)
    for slug in attempts.keys() - entries.keys():  # its file cannot be read
        model = attempts[slug].model or slug
        entries[slug] = Entry(slug, model, None, None, None, frozenset(), ())
    return tuple(replace(entries[slug], attempt=attempts.get(slug)) for slug in sorted(entries))


def _unread_base(
    entry: Entry, submissions: Mapping[str, Submission], attempts: Mapping[str, Attempt]
) -> str:
    """Return why it is not known what an entry, or the last base that is submitted, was trained on:
    a submission that cannot be read, and may be the one that says it. Nothing where it is known.
    """
    model: str | None = entry.model
    slug = entry.slug if entry.slug in submissions else None
    while slug is not None:
        model, slug = submissions[slug].base, base_of(slug, submissions)
    unread = [
        name
        for name, attempt in attempts.items()
        # One whose model cannot be read either may be about any model.
        if name not in submissions and attempt.unread and attempt.model in (model, "")
    ]
    if model is None or not unread:
        return ""
    return f"submissions/{unread[0]}.yaml cannot be read, and may say what {model} was trained on"


def _pinned(
    measured: Iterable[tuple[str, str]], submissions: Mapping[str, Submission]
) -> dict[str, Submission]:
    """Return the submissions, the pending ones with the revision that was measured of them.

    Of one that names another revision of it as its base they are not the base.
    """
    pinned = dict(submissions)
    for model, revision in measured:
        slug = submitted(model, revision, submissions)
        if slug is not None and pinned[slug].pending:
            pinned[slug] = pinned[slug].model_copy(update={"revision": revision})
    return pinned


def _without_outcomes(
    slug: str, submissions: Mapping[str, Submission], pinned: Mapping[str, Submission]
) -> Entry:
    one, seen = submissions[slug], contamination(slug, submissions)
    made = lineage(slug, pinned)
    return Entry(slug, one.model, one.revision, one, base_of(slug, pinned), seen, (), lineage=made)


def submitted(model: str, revision: str, submissions: Mapping[str, Submission]) -> str | None:
    """Return the submission of a checkpoint; a local one is found by its digest, under any name."""
    if revision.startswith("local:"):
        return next((slug for slug, s in submissions.items() if s.revision == revision), None)
    return find_slug(model, revision, submissions)


def _slug(model: str, revision: str) -> str:
    digest = revision.removeprefix("local:")[:12]
    return re.sub(r"[^\w.-]+", "__", f"{model}-{digest}")


def place_of(track: str) -> int:
    """Return the place of a track in the order of the board; an unknown one comes last."""
    return TRACKS.index(track) if track in TRACKS else len(TRACKS)
