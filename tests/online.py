"""Is on the Hub what the cards and submissions say? `make online-check`, for whoever has a network.

    python -m tests.online [NAME…]

NAME is a task, an intermediate task or a submission; all of them without one, which downloads every
data set on the Hub that a card names (into the cache of `xharness`, as an evaluation does). Asked
are ids, revisions, files, columns and counts of data sets, and of checkpoints what `submit` asks.
Every difference is a line, and the exit code is 6; where the Hub could not be asked it is 5.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness.cards.catalogue import card_names, read_card
from harness.cards.source_files import Hub
from harness.cards.target_recipes import read_target_recipes
from harness.cards.task import TaskCard
from harness.cards.training import IntermediateCard, intermediate_names, read_intermediate
from harness.data import hub_route
from harness.data.folders import cache_folder
from harness.data.layout import DataLocation
from harness.data.load import read_files
from harness.errors import (
    DataError,
    HarnessError,
    IncompleteError,
    RefusedError,
    unknown_name,
)
from harness.io.download import Unavailable
from harness.io.hub import asked, model_info
from harness.submissions.folder import read_submissions
from harness.submissions.remote import inspect_checkpoint
from harness.submissions.submission import CONVERT, Submission
from harness.training.data.questions import MOST_MISPLACED
from harness.training.data.reading import read_files as read_training_files
from harness.training.data.sources import mirrored

SUBMISSIONS = Path(__file__).parents[1] / "submissions"


@dataclass(frozen=True)
class Finding:
    """One line: ``asked`` is False where the Hub gave no answer, so that nothing is known."""

    subject: str
    text: str
    asked: bool = True

    def __str__(self) -> str:
        return f"{'differs' if self.asked else 'not checked'}: {self.subject}: {self.text}"


def check_task(card: TaskCard, cache: Path) -> Iterator[Finding]:
    """What of a target task's data sets is not on the Hub as its card says."""
    for split, part in card.source.splits.items():
        if (mirror := part.hub) is None:
            continue
        subject = f"tasks/target/{card.name}.yaml, {split}, {mirror.id}"
        templates = hub_route.templates(card, mirror, split, card.languages)
        listed = list(_listing(subject, mirror, sorted(set(templates.values()))))
        yield from listed
        if listed:
            continue
        location = DataLocation(None, cache)
        fetched = hub_route.fetch(card, mirror, split, card.languages, location)
        if fetched.failures:
            yield Finding(subject, next(iter(fetched.failures.values())), asked=False)
            continue
        try:
            loaded = read_files(card, split, card.languages, fetched)
        except DataError as error:
            yield from (Finding(subject, str(one)) for one in (error, *error.also))
            continue
        for unit, why in {**loaded.missing, **loaded.broken}.items():
            yield Finding(subject, f"{unit}: {why}")


def check_training(card: IntermediateCard, cache: Path) -> Iterator[Finding]:
    """What of an intermediate task's data set is not on the Hub as its card says."""
    mirror = card.source.splits[card.split].hub
    if mirror is None:
        return
    subject = f"tasks/intermediate/{card.name}.yaml, {mirror.id}"
    source = Hub(id=mirror.id, revision=mirror.revision, files=mirror.files)
    templates = hub_route.templates(card, source, card.split, card.languages)
    listed = list(_listing(subject, source, sorted(set(templates.values()))))
    yield from listed
    if listed:
        return
    try:
        examples = read_training_files(card, mirrored(card, DataLocation(None, cache))).examples
    except Unavailable as error:
        yield Finding(subject, str(error), asked=False)
        return
    except HarnessError as error:
        yield Finding(subject, str(error))
        return
    published = {one.examples for one in read_target_recipes().values() if one.train == card.name}
    # A reader of questions leaves out those whose answer is not where they say.
    left_out = MOST_MISPLACED if card.source.format in ("squad", "tydiqa") else 0.0
    for count in sorted(published):
        if not count * (1 - left_out) <= len(examples) <= count:
            yield Finding(subject, f"has {len(examples)} of {count} examples")


def _listing(subject: str, mirror: Hub, patterns: Sequence[str]) -> Iterator[Finding]:
    """Id, revision and files of a data set, from its listing alone."""
    from huggingface_hub import HfApi

    try:
        info = asked(
            lambda: HfApi().dataset_info(mirror.id, revision=mirror.revision, timeout=30),
            mirror.id,
            mirror.revision,
        )
    except HarnessError as error:
        yield Finding(subject, str(error), asked=_answered(error))
        return
    if info.id != mirror.id:
        yield Finding(subject, f"is called {info.id} now")
    names = [file.rfilename for file in info.siblings or ()]
    for pattern in patterns:
        if (count := sum(fnmatchcase(name, pattern) for name in names)) != 1:
            yield Finding(subject, f"{count} files match {pattern}")


def check_submission(slug: str, one: Submission) -> Iterator[Finding]:
    """What of a checkpoint, its base and its conversion is not on the Hub as a submission says."""
    subject = f"submissions/{slug}.yaml"
    if "/" in one.model and not (one.revision or "").startswith("local:"):
        name = one.model if one.revision is None else f"{one.model}@{one.revision}"
        try:
            found = inspect_checkpoint(name)
            if found.model != one.model:
                yield Finding(subject, f"{one.model} is called {found.model} now")
        except HarnessError as error:
            yield Finding(subject, str(error), asked=_answered(error))
    if one.base and "/" in one.base and not (one.base_revision or "").startswith("local:"):
        yield from _model(subject, one.base, one.base_revision)
    if one.conversion not in (None, CONVERT):
        yield from _model(subject, one.model, one.conversion, commit=one.revision)


def _model(
    subject: str, name: str, revision: str | None, commit: str | None = None
) -> Iterator[Finding]:
    """Whether a model has a revision, and whether that is a certain commit."""
    try:
        info = model_info(name, revision)
    except HarnessError as error:
        yield Finding(subject, str(error), asked=_answered(error))
        return
    if info.id != name:
        yield Finding(subject, f"{name} is called {info.id} now")
    if commit is not None and info.sha != commit:
        yield Finding(subject, f"{name} has {info.sha} at {revision}, not {commit}")


def _answered(error: HarnessError) -> bool:
    """Whether the Hub said that it is otherwise, or could not be asked (login, no network)."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    cause = error.__cause__
    if isinstance(cause, GatedRepoError):
        return False
    if isinstance(cause, (RepositoryNotFoundError, RevisionNotFoundError)):
        return True
    return isinstance(error, (RefusedError, DataError))


def findings(
    names: Sequence[str], cache: Path, submissions: Mapping[str, Submission]
) -> Iterator[Finding]:
    """The findings of some names, or of all there are.

    Raises:
        UsageError: nothing has one of the names.
    """
    tasks, trainings = card_names(), intermediate_names()
    for name in names:
        if name not in (*tasks, *trainings, *submissions):
            raise unknown_name("task or submission", name, [*tasks, *trainings, *submissions])
    for name in names or [*tasks, *trainings, *submissions]:
        print(name, file=sys.stderr, flush=True)
        if name in tasks:
            yield from check_task(read_card(name), cache)
        if name in trainings:
            yield from check_training(read_intermediate(name), cache)
        if name in submissions:
            yield from check_submission(name, submissions[name])


def main(names: Sequence[str], cache: Path, submissions: Mapping[str, Submission]) -> int:
    """Print every finding; the exit code."""
    found: list[Finding] = []
    for one in findings(names, cache, submissions):
        print(one, flush=True)
        found.append(one)
    differing = sum(one.asked for one in found)
    print(f"{differing} differences, {len(found) - differing} not checked", file=sys.stderr)
    if differing:
        return DataError.exit_code
    return IncompleteError.exit_code if found else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], cache_folder(None), read_submissions(SUBMISSIONS)))
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
