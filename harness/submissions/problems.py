"""Finds every problem of submission files, each with its file and line.

The board stops reading at the first problem. This module goes on, so that a contributor can correct
all problems of a file at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness.cards.catalogue import with_same_data
from harness.errors import DataError, HarnessError, NotFoundError, one_line
from harness.io.strict_yaml import Document, KeyPath, misfits, scan_file
from harness.submissions.folder import (
    checkpoint_key,
    differ_in_training,
    possible_bases,
    same_checkpoint,
)
from harness.submissions.submission import (
    SLUG,
    Submission,
    base_of,
    contamination,
    contradictions,
    kind_of,
    target_data,
)

MOST = 50  # the most problems that are listed for one file


def problems(paths: Iterable[Path]) -> list[str]:
    """List every problem of the files as ``file:line: problem``.

    The other submissions in the folder of a file are read too, because they decide whether it is
    submitted twice and what its base is; their own problems are not listed.

    Raises:
        NotFoundError: files are not there; all of them are named.
    """
    chosen = list(dict.fromkeys(paths))
    absent = [str(path) for path in chosen if not path.is_file()]
    if absent:
        raise NotFoundError(f"no such file: {', '.join(absent)}")
    found: list[str] = []
    for folder in dict.fromkeys(path.parent for path in chosen):
        inside = [path for path in chosen if path.parent == folder]
        documents: dict[Path, Document] = {}
        submissions: dict[str, Submission] = {}
        for path in sorted({*inside, *folder.glob("*.yaml")}):
            lines, document = _alone(path)
            if path in inside:
                found += lines[:MOST]
                if len(lines) > MOST:
                    rest = len(lines) - MOST
                    found.append(f"{one_line(path.as_posix())}: and {rest} more problems")
            if document is not None:
                documents[path] = document
                if not lines:
                    submissions[path.stem] = Submission.model_validate(document.value)
        for path in inside:
            if path.stem in submissions:
                found += conflicts(path.stem, documents[path], submissions)
    return found


def _alone(path: Path) -> tuple[list[str], Document | None]:
    """Return the problems of a file by itself, and its content where it could be read."""
    name = one_line(path.as_posix())
    found = []
    if path.suffix != ".yaml" or not SLUG.fullmatch(path.stem):
        found.append(f"{name}: name it <slug>.yaml with letters, digits, . _ and -")
    try:
        document = scan_file(path, name)
    except DataError as error:
        return [*found, str(error)], None
    found += document.problems
    if not isinstance(document.value, dict):
        return [*found, f"{document.place(())}: not a mapping of fields: see CONTRIBUTING.md"], None
    misfit = misfits(document, Submission)
    wrong = {path[:1] for path, _ in misfit}
    # Pydantic compares fields with each other only where each is right by itself; so the fields
    # are compared here, and only those that have no problem of their own.
    found += [line for path, line in misfit if path]
    for key, why in contradictions(document.value):
        if (key,) not in wrong:
            found.append(f"{document.place((key,))}: {why}")
    found += _contaminations(document)
    return found, document


def _contaminations(document: Document) -> Iterator[str]:
    """Yield a problem for every data set of a target task that `contaminated` does not name."""
    named, seen = (document.value.get(key) for key in ("datasets", "contaminated"))
    if not isinstance(named, list):
        return
    named_tasks = seen if isinstance(seen, list) else []
    told = with_same_data(str(task).partition("/")[0] for task in named_tasks)
    for place, task in target_data(named):
        if task not in told:
            path: KeyPath = ("datasets", place)
            yield (
                f"{document.place(path)}: datasets.{place}: {str(named[place])[:80]!r} is data of"
                f" the target task {task}: add it to contaminated"
            )


def conflicts(
    slug: str, document: Document, submissions: Mapping[str, Submission]
) -> Iterator[str]:
    """Yield every problem that a submission has together with the others in ``submissions``."""
    own = submissions[slug]
    others = {name: one for name, one in submissions.items() if name != slug}
    for name, one in others.items():
        if checkpoint_key(one) == checkpoint_key(own):
            yield (
                f"{document.place(('model',))}: model: {same_checkpoint(own, one)} is submitted by"
                f" {name}.yaml already: keep one"
            )
        if one.base == own.model and possible_bases(name, submissions):
            yield (
                f"{document.place(('revision',))}: revision: {name}.yaml has {own.model} as its "
                "base, without saying which of its revisions: give base_revision there"
            )
        if own.recipe is not None and _training(one) == _training(own):
            yield (
                f"{document.place(('seed',))}: seed: {own.seed} of {own.recipe} is {name}.yaml"
                " already: give another seed or recipe"
            )
    if unlike := [name for name, one in others.items() if differ_in_training(own, one)]:
        one = others[unlike[0]]
        more = f" and {len(unlike) - 1} more" if unlike[1:] else ""
        yield (
            f"{document.place(('recipe',))}: recipe: {own.recipe} is {kind_of(one)}"
            f" ({' '.join(one.languages)}) in {unlike[0]}.yaml{more}: seeds of a recipe differ"
            " in nothing else; give another recipe"
        )
    try:
        contamination(slug, submissions)
    except HarnessError as error:
        yield f"{document.place(('base',))}: base: {str(error).removeprefix('submissions: ')}"
        return
    if several := possible_bases(slug, submissions):
        yield f"{document.place(('base',))}: base: {several}"
    if own.base is None or base_of(slug, submissions) is not None:
        return
    same = [one for one in others.values() if one.model == own.base]
    if same:
        pinned = ", ".join(sorted(str(one.revision)[:12] for one in same))
        yield (
            f"{document.place(('base_revision',))}: base_revision: {own.base} is submitted at"
            f" {pinned}, so nothing is inherited from this one: submit it too, or name that"
        )
    last = own.base.rpartition("/")[2].lower()
    near = [one.model for one in others.values() if one.model.rpartition("/")[2].lower() == last]
    if near and not same:
        yield (
            f"{document.place(('base',))}: base: {own.base} is not submitted: did you mean"
            f" {near[0]}?"
        )


def _training(submission: Submission) -> tuple[str | None, str | None, int | None]:
    return submission.base, submission.recipe, submission.seed
