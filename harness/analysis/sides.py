"""Finds the runs that a name given to `compare` stands for, by what they measured."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from harness.analysis.entries import make_entries, submitted
from harness.analysis.fold import Folded
from harness.analysis.gather import fold_files, repeated
from harness.analysis.results import Result, read_result
from harness.errors import DataError, NotFoundError, UsageError, together
from harness.results.outcomes import OutcomeFile, find
from harness.results.provenance import origin_of, read_origins
from harness.submissions.submission import Submission


class Measured(NamedTuple):
    """What a run measured, and how: two runs are compared where this is equal.

    ``layer``: where one was asked for, else None, since checkpoints differ in depth. ``settings``:
    the others that are not the protocol's. ``recipe``: the hash of the target recipe. ``card``: the
    card's hash. ``version``: that of the protocols.
    """

    task: str
    track: str
    layer: int | None
    settings: tuple[str, ...]
    recipe: str | None
    split: str
    limit: int | None
    card: str
    version: int


# What a checkpoint has: several results are seeds of tuning. Their paths are whole.
Measurements = Mapping[Measured, Sequence[Result]]


@dataclass(frozen=True)
class Source:
    """Where runs are looked for. ``damaged``: the files that could not be read, with the reason."""

    results: Path
    submissions: Mapping[str, Submission] = field(default_factory=dict)
    cache: Path | None = None
    damaged: dict[str, None] = field(default_factory=dict)

    def every(self) -> list[tuple[Folded, str]]:
        """Every file of the results that is whole, with its path."""
        return self.fold(find(self.results) if self.results.is_dir() else [])

    def fold(self, files: Sequence[OutcomeFile]) -> list[tuple[Folded, str]]:
        """Return the files that are whole, with their paths; those of the results with who measured
        them.
        """
        found = []
        results = self.results.resolve()
        origins = read_origins(results)
        for file, one in zip(files, fold_files(files, self.cache), strict=True):
            if isinstance(one, DataError):
                self.damaged[str(one)] = None
                continue
            own = OutcomeFile(file.path.resolve())
            if own.path.is_relative_to(results):
                one = replace(one, origin=origin_of(own, results, origins))
            found.append((one, str(file.path)))
        return found


def find_runs(
    name: str, source: Source, metric: str | None, signatures: Collection[str] | None = None
) -> list[Measurements]:
    """Return the run that a name stands for; for a recipe, one run per seed.

    ``metric``: in place of the tasks' headlines; tasks that do not have it are left out.
    ``signatures``: of the files that count, None where all do.

    Raises:
        NotFoundError: the name has no outcomes, or those of several revisions.
        RefusedError: the name is the folder of a checkpoint that cannot be evaluated.
        UsageError: a recipe was trained on several bases, or on several revisions of one; or one
            run lies in several folders.
    """
    submissions = source.submissions
    seeds = [slug for slug, one in submissions.items() if one.recipe == name]
    if name in submissions or not seeds:
        return [_run(name, source, metric, signatures)]
    made = [submissions[slug] for slug in seeds]
    bases = sorted({"@".join(filter(None, (str(o.base), o.base_revision))) for o in made})
    if len(bases) > 1:
        raise UsageError(f"recipe {name} is on several bases ({', '.join(bases)}): name one seed")
    ids = {(one.meta["model"], one.meta["revision"]) for one, _ in source.every()}
    there = {submitted(model, revision, submissions) for model, revision in ids}
    measured = [slug for slug in seeds if slug in there]
    if not measured:
        raise NotFoundError(f"no seed of recipe {name} is measured: run `xharness eval` first")
    return [_run(slug, source, metric, signatures) for slug in measured]


def _run(
    name: str, source: Source, metric: str | None, signatures: Collection[str] | None
) -> Measurements:
    """Return the one run of a folder, an id, or a slug."""
    submissions = source.submissions
    files, found = _found(name, source)
    if not found:
        near = [] if name in submissions else _near(name, submissions)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        why = (
            f"no outcomes of {name} under {source.results}{hint}: run `xharness eval {name}` first "
            "or give another --out"
        )
        missing = [] if files else [NotFoundError(why)]  # a folder's files are all damaged
        raise together([*map(DataError, source.damaged), *missing])
    revisions = sorted({str(one.meta["revision"]) for one, _ in found})
    if len(revisions) > 1:
        there = {str(Path(path).parent) if files else _short(one) for one, path in found}
        choices = ", ".join(sorted(there))
        raise NotFoundError(
            f"{name} was measured at {len(revisions)} revisions: give one of {choices}"
        )
    seen = _seen(found, submissions)
    if signatures is not None:
        found = [(one, path) for one, path in found if one.meta["signature"] in signatures]
    for path, other in repeated(found, versions=True).items():
        raise UsageError(f"{name} has one run twice, {other} and {path}: give the folder of one")
    groups: dict[Measured, dict[int, Result]] = {}
    for one, path in sorted(found, key=lambda pair: pair[1]):
        if metric is not None and metric not in one.card.metrics:
            continue
        # Mining is compared by F1 alone.
        result = read_result(one, path, seen, None if one.card.kind == "mining" else metric)
        if metric not in (None, result.metric):
            continue
        # Without tuning nothing is drawn: a seed is a name, and any one of them stands for all.
        seed = result.seed if result.track == "tuned" else 0
        groups.setdefault(_measured(result), {}).setdefault(seed, result)
    return {key: tuple(seeds[seed] for seed in sorted(seeds)) for key, seeds in groups.items()}


def _found(name: str, source: Source) -> tuple[list[OutcomeFile], list[tuple[Folded, str]]]:
    """Return the files of a folder of that name, if it has any, and the folds of a name."""
    folder = Path(name)
    if files := find(folder) if folder.is_dir() else []:
        return files, source.fold(files)
    if name in source.submissions:
        return [], [(one, path) for one, path in source.every() if _is_of(one, name, source)]
    model, revision = _identity(name)
    return [], [
        (one, path)
        for one, path in source.every()
        if one.meta["model"] == model and str(one.meta["revision"]).startswith(revision)
    ]


def _is_of(one: Folded, slug: str, source: Source) -> bool:
    """Return whether a file is of a submission, as the board finds it; of a pending one, whether it
    is of its model.
    """
    submission = source.submissions[slug]
    found = submitted(one.meta["model"], one.meta["revision"], source.submissions)
    pending = submission.pending and one.meta["model"] == submission.model
    return found == slug or (found is None and pending)


def _short(one: Folded) -> str:
    """Return the id and the beginning of the revision, as `compare` takes them."""
    kind, colon, digest = str(one.meta["revision"]).rpartition(":")
    return f"{one.meta['model']}@{kind}{colon}{digest[:12]}"


def _identity(name: str) -> tuple[str, str]:
    """Return the id and revision that a name stands for: those of its files for a checkpoint's
    folder, as `eval` finds them. An empty revision is any.
    """
    from harness.checkpoint.address import as_path
    from harness.checkpoint.resolve import resolve

    if "/" in name and (as_path(name) / "config.json").is_file():
        checkpoint = resolve(name, offline=True)
        return checkpoint.id, checkpoint.revision
    model, _, revision = name.partition("@")
    return model, revision


def _near(name: str, submissions: Mapping[str, Submission]) -> list[str]:
    """Return up to three slugs and recipes that begin with the name, or else resemble it."""
    known = sorted({*submissions, *(one.recipe for one in submissions.values() if one.recipe)})
    return [one for one in known if one.startswith(name)][:3] or get_close_matches(name, known)


def _seen(
    found: Iterable[tuple[Folded, str]], submissions: Mapping[str, Submission]
) -> frozenset[str]:
    entries = make_entries(found, submissions)
    return frozenset[str]().union(*(entry.contaminated for entry in entries if entry.results))


def _measured(result: Result) -> Measured:
    meta = result.folded.meta
    # Models differ in depth and prompts: what is the protocol's own is one choice for all of them.
    asked = [reason.partition(" (protocol: ") for reason in meta["custom"]]
    settings = sorted(setting for setting, departs, _ in asked if departs)
    other = tuple(setting for setting in settings if not setting.startswith("layer "))
    layer = result.layer if len(other) < len(settings) and result.track != "tuned" else None
    recipe = (meta["resolved"].get("recipe") or {}).get("hash")
    return Measured(
        result.task, result.track, layer, other, recipe, str(meta["split"]), meta["limit"],
        meta["card_hash"], meta.get("protocol_version", 1),
    )  # fmt: skip
