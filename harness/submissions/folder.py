"""Reads a folder of submissions, and finds where two of them contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import DataError
from harness.io.strict_yaml import read_model
from harness.submissions.attempts import read_attempts
from harness.submissions.submission import SLUG, Submission, contamination, kind_of


def read_submissions(folder: Path) -> dict[str, Submission]:
    """Read slug → submission, sorted by slug; empty where the folder is not there.

    Raises:
        DataError: a file is wrong, two files submit the same checkpoint or the same seed of a
            recipe, seeds of a recipe were trained for different things, or bases form a circle.
    """
    found: dict[str, Submission] = {}
    owners: dict[tuple[str, str | None], str] = {}
    seeds: dict[tuple[str | None, str, int | None], str] = {}
    for path in sorted(folder.glob("*.yaml")):
        if not SLUG.fullmatch(path.stem):
            raise DataError(f"submissions/{path.name}: name it with letters, digits, . _ and -")
        submission = read_model(path, Submission, f"submissions/{path.name}")
        key = checkpoint_key(submission)
        if key in owners:
            raise DataError(
                f"submissions/{path.name}: {same_checkpoint(submission, found[owners[key]])} is"
                f" submitted by {owners[key]}.yaml already: keep one"
            )
        owners[key] = path.stem
        if submission.recipe is not None:
            run = (submission.base, submission.recipe, submission.seed)
            if run in seeds:
                raise DataError(
                    f"submissions/{path.name}: seed {submission.seed} of {submission.recipe} is"
                    f" {seeds[run]}.yaml already: give another seed or recipe"
                )
            seeds[run] = path.stem
        for slug, other in found.items():
            if differ_in_training(submission, other):
                raise DataError(
                    f"submissions/{path.name}: recipe {submission.recipe} is that of {slug}.yaml,"
                    f" {kind_of(other)} ({' '.join(other.languages)}), and this is"
                    f" {kind_of(submission)} ({' '.join(submission.languages)}): seeds of a recipe"
                    " differ in nothing else; give another recipe"
                )
        found[path.stem] = submission
    for slug in found:
        contamination(slug, found)
        if several := possible_bases(slug, found):
            raise DataError(f"submissions/{slug}.yaml: base: {several}")
    return found


def read_each(folder: Path) -> tuple[dict[str, Submission], dict[str, str]]:
    """Read the submissions that can be read, and return slug → reason for those that cannot."""
    try:
        return read_submissions(folder), {}
    except DataError:
        pass
    broken: dict[str, str] = {}
    with TemporaryDirectory() as temporary:
        good = Path(temporary)
        for path in sorted(folder.glob("*.yaml")):
            copy = good / path.name
            try:
                read_model(path, Submission, f"submissions/{path.name}")
                copy.write_bytes(path.read_bytes())
                read_submissions(good)
            except DataError as error:
                broken[path.stem] = str(error)
                copy.unlink(missing_ok=True)
        return read_submissions(good), broken


def readable(root: Path) -> dict[str, Submission]:
    """Return the submissions of a board; one that cannot be read may have a row that says so.

    Raises:
        DataError: the attempts, or a submission without such a row, cannot be read.
    """
    folder = root / "submissions"
    good, broken = read_each(folder)
    reasons = {slug: attempt.reason for slug, attempt in read_attempts(root).items() if broken}
    return good if broken.items() <= reasons.items() else read_submissions(folder)


def checkpoint_key(submission: Submission) -> tuple[str, str | None]:
    """Return what is equal where two submissions are of the same weights: for local ones, their
    digest, whatever the folders are called.
    """
    local = (submission.revision or "").startswith("local:")
    return ("" if local else submission.model), submission.revision


def same_checkpoint(submission: Submission, other: Submission) -> str:
    """Return in words what two submissions of the same weights are of."""
    one_name = submission.model == other.model
    return submission.model if one_name else f"the checkpoint of {submission.model}"


def possible_bases(slug: str, submissions: Mapping[str, Submission]) -> str:
    """Return in words that a base without a revision may be several submissions, or nothing."""
    own = submissions[slug]
    named = sorted(name for name, one in submissions.items() if one.model == own.base)
    revisions = {submissions[name].revision for name in named}
    if own.base is None or own.base_revision or len(revisions) < 2:
        return ""
    return (
        f"{own.base} is submitted at several revisions, by "
        f"{', '.join(f'{name}.yaml' for name in named)}: give base_revision"
    )


def differ_in_training(one: Submission, other: Submission) -> bool:
    """Return whether two seeds of one recipe differ in objective or languages, as seeds cannot."""
    recipes = {(each.base, each.base_revision, each.recipe) for each in (one, other)}
    trainings = {(each.objective, frozenset(each.languages)) for each in (one, other)}
    return one.recipe is not None and len(recipes) == 1 and len(trainings) == 2
