"""Submissions: one strict YAML file for each checkpoint that the leaderboard shows.

The file says what the outcomes do not: which checkpoint it was trained from, on what data, and
which target tasks that training has therefore seen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from harness.cards.catalogue import (
    OTHER_NAMES,
    card_names,
    read_card,
    usual_name,
    with_halves,
    with_same_data,
)
from harness.cards.languages import canonical
from harness.cards.objectives import MULTILINGUAL, Objective
from harness.errors import DataError, UsageError, one_line, unknown_name
from harness.io.strict_yaml import Strict, read_model

CONVERT = "xharness convert"  # the command that makes safetensors where none are published
CONTAMINATED = 0.01  # Up to this share of a language, equal examples are put down to chance.
SLUG = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_PART = r"\w(?:[\w.-]*\w)?"  # a part of an id, with no dot or hyphen at its ends


def _model(name: str) -> str:
    """Return an id that can exist on the Hub, or the name of a folder; ValueError otherwise."""
    hub = "/" in name
    if (
        not re.fullmatch(f"{_PART}(?:/{_PART})?", name, re.ASCII)
        or ".." in name
        or (hub and ("--" in name or name.endswith(".git")))
    ):
        raise ValueError(
            f"{one_line(name, 60)!r} cannot be an id: ASCII letters, digits, _ and single . or -"
            " between them, as in org/name"
        )
    return name


def _revision(revision: str | None) -> str | None:
    if revision is not None and not re.fullmatch(r"[0-9a-f]{40}|local:[0-9a-f]{64}", revision):
        raise ValueError(
            f"{one_line(revision, 80)!r} is neither a commit of 40 hex digits nor local:<sha256>;"
            " leave it out for a submission that is pending"
        )
    return revision


def _language(code: str) -> str:
    if code == MULTILINGUAL:
        return code
    try:
        return canonical(code)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _target(task: str) -> str:
    known, meant = card_names(), usual_name(task)
    if task not in known:
        if meant in known:
            raise ValueError(f"unknown target task {task!r}: did you mean {meant}?")
        raise ValueError(str(unknown_name("target task", task, known)))
    return task


def _seen(entry: str) -> str:
    """Return a target task, or one split of it (``task/split``); ValueError otherwise."""
    task, slash, split = entry.partition("/")
    _target(task)
    if slash:
        splits = read_card(task).source.splits
        if split not in splits:
            raise ValueError(str(unknown_name(f"split of {task}", split, splits)))
    return entry


ModelName = Annotated[str, Field(max_length=200), AfterValidator(_model)]
Revision = Annotated[str | None, AfterValidator(_revision)]
Share = Annotated[float, Field(ge=0, le=1)]
Overlap = dict[Annotated[str, AfterValidator(_target)], dict[str, dict[str, Share]]]


class Submission(Strict):
    """One checkpoint; the stem of the file is its slug.

    ``revision``: a commit, ``local:<sha256>``, or nothing while the submission is pending.
    ``languages``: the languages of the intermediate training data, or ``multilingual`` where they
    are many and not named. ``contaminated``: target tasks whose data it was trained on, or splits
    of them (``task/split``); ``contamination`` adds the tasks of its base. ``overlap``: target →
    split → language → the share of its examples that occur in the training data, as
    `harness.training.overlap` counts them; languages with a share of zero, and targets that were
    not measured, are left out. ``conversion``: where its safetensors come from if its authors
    published only pickles: the Hub's pull request at whose commit it is pinned, or
    ``xharness convert``. ``stand_in``: it was made to try the board, and is no evidence about an
    objective. ``recipe``, ``seed``: how it was trained, and the seed of that training; checkpoints
    of one recipe and base differ only in the seed, and count as one checkpoint. ``matched``: its
    design; checkpoints of one design differ only in the languages of their training data, and are
    contrasted only with each other.
    """

    model: ModelName
    revision: Revision = None
    base: ModelName | None = None
    base_revision: Revision = None
    objective: Objective
    languages: list[Annotated[str, AfterValidator(_language)]] = Field(default_factory=list)
    datasets: list[str] = Field(default_factory=list)
    overlap: Overlap = Field(default_factory=dict)
    contaminated: list[Annotated[str, AfterValidator(_seen)]] = Field(default_factory=list)
    licence: str | None = None
    protocol: Literal["standard", "native"] = "standard"
    conversion: str | None = Field(
        default=None, pattern=r"^(refs/pr/[1-9]\d{0,5}|xharness convert)$"
    )
    stand_in: bool = False
    recipe: str | None = Field(default=None, max_length=80, pattern=r"^[A-Za-z0-9][\w.+-]*$")
    seed: int | None = Field(default=None, ge=0)
    matched: str | None = Field(default=None, max_length=80, pattern=r"^[A-Za-z0-9][\w.+-]*$")
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _holds_together(self) -> Submission:
        if found := contradictions(self.model_dump()):
            raise ValueError(found[0][1])
        return self

    @property
    def measured(self) -> frozenset[str]:
        """Splits of targets, as ``task/split``, of which a language has more than CONTAMINATED."""
        return frozenset(
            f"{target}/{split}"
            for target, splits in self.overlap.items()
            for split, shares in splits.items()
            if any(share > CONTAMINATED for share in shares.values())
        )

    @property
    def seen(self) -> frozenset[str]:
        """What its own training has seen, with the targets and halves of splits that are the same.

        A half whose overlap was measured is judged by that: training on the other half, as cards
        of this package do, is declared as the whole split.
        """
        told = with_same_data({*self.contaminated, *self.measured})
        judged = {f"{target}/{split}" for target, own in self.overlap.items() for split in own}
        return told | (with_halves(told) - judged)

    @property
    def pending(self) -> bool:
        """Whether it is not pinned to a revision yet."""
        return self.revision is None


def contradictions(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (field, problem) of the fields that contradict others; values may be of any type."""
    objective, base, revision = (fields.get(key) for key in ("objective", "base", "revision"))
    found = []
    for key in ("languages", "datasets"):
        if objective == "none" and fields.get(key):
            found.append(
                (key, f"objective none is a checkpoint without intermediate training data: {key}")
            )
    if objective not in (None, "none") and not fields.get("languages"):
        found.append(("objective", f"objective {objective} needs the languages of its data"))
    if fields.get("base_revision") is not None and base is None:
        found.append(("base_revision", "base_revision without base"))
    if base is not None and (base, fields.get("base_revision")) == (fields.get("model"), revision):
        found.append(("base", f"{base} is its own base"))
    recipe, seed = fields.get("recipe"), fields.get("seed")
    if (recipe is None) != (seed is None):
        missing, given = ("seed", "recipe") if seed is None else ("recipe", "seed")
        why = f"recipe and seed go together: the training, and the seed of it; {missing} is missing"
        found.append((given, why))
    if recipe is not None and base is None:
        found.append(("recipe", "recipe without base: seeds are of one recipe on one base"))
    if fields.get("conversion") is not None and revision is None:
        found.append(("conversion", "conversion of a checkpoint that is not pinned to a revision"))
    return found


def target_data(datasets: Iterable[object]) -> list[tuple[int, str]]:
    """Return position and target task of every data set that is named after a target task."""

    def plain(name: str) -> str:
        return re.sub(r"[^a-z0-9]", "", name.lower())

    # Short names that papers use are left out: "pos" is a part of many other names.
    names = {name: name for name in card_names()}
    names |= {name: task for name, task in OTHER_NAMES.items() if len(plain(name)) > 5}
    found = {
        (place, task): None
        for place, data in enumerate(datasets)
        for name, task in names.items()
        if plain(name) in plain(str(data))
    }
    return list(found)


def contamination(slug: str, submissions: Mapping[str, Submission]) -> frozenset[str]:
    """Return the target tasks that a checkpoint, its base, or the base of that was trained on.

    They are those that submissions declare and those that were measured, as whole tasks (``task``)
    or as splits of them (``task/split``).

    Raises:
        DataError: bases form a circle.
    """
    chain: list[str] = []
    at: str | None = slug
    while at is not None:
        if at in chain:
            raise DataError(f"submissions: bases go round in a circle: {' → '.join([*chain, at])}")
        chain.append(at)
        at = base_of(at, submissions)
    return _seen_since(chain, submissions)


def kin_contamination(model: str, submissions: Mapping[str, Submission]) -> frozenset[str]:
    """Return what the submitted revisions of a model were trained on, for one that is not.

    Nobody says what such a revision was trained on, and the likeliest is what the others were.
    """
    return _seen_since(_revisions(model, submissions), submissions)


def _seen_since(slugs: Iterable[str], submissions: Mapping[str, Submission]) -> frozenset[str]:
    """Return what these checkpoints and all that they were trained from have seen.

    A base that is not submitted has seen what other revisions of it have.
    """
    seen: set[str] = set()
    waiting, met = list(slugs), set[str]()
    while waiting:
        slug = waiting.pop()
        if slug not in met:
            met.add(slug)
            seen |= submissions[slug].seen
            base = base_of(slug, submissions)
            waiting += _revisions(submissions[slug].base, submissions) if base is None else [base]
    return frozenset(one for one in seen if "/" not in one or one.partition("/")[0] not in seen)


def _revisions(model: str | None, submissions: Mapping[str, Submission]) -> list[str]:
    return [slug for slug, one in submissions.items() if one.model == model]


def own_contamination(folder: Path) -> frozenset[str]:
    """Return the target tasks, or splits, that a checkpoint's own folder says it was trained on.

    `xharness train` leaves the submission of its checkpoint there. Where there is none, nothing is
    known.

    Raises:
        DataError: there is one that cannot be read, and may say what the checkpoint has seen.
    """
    path = folder / "submission.yaml"
    if not os.path.lexists(path):
        return frozenset()
    return read_model(path, Submission, str(path)).seen


def is_contaminated(seen: Collection[str], task: str, split: str) -> bool:
    """Return whether a split was trained on. ``seen``: the result of `contamination`."""
    return task in seen or f"{task}/{split}" in seen


def base_of(slug: str, submissions: Mapping[str, Submission]) -> str | None:
    """Return the slug of the submission of its base, or None where there is none."""
    submission = submissions[slug]
    return find_slug(submission.base, submission.base_revision, submissions)


def find_slug(
    model: str | None, revision: str | None, submissions: Mapping[str, Submission]
) -> str | None:
    """Find the submission of a model that is pinned to a revision, or else the pending one.

    Without a revision any submission of the model is taken: the first one by slug.
    """
    named = _revisions(model, submissions)
    exact = [slug for slug in named if revision and submissions[slug].revision == revision]
    pending = [slug for slug in named if submissions[slug].pending]
    return next(iter([*exact, *pending, *(() if revision else named)]), None)


def kind_of(submission: Submission) -> str:
    """Return objective and languages in words: ``English QA``, ``multilingual NLI``, ``none``."""
    names = {"extractive-qa": "QA", "nli": "NLI", "mlm": "MLM", "qa-dual-encoder": "QA retrieval"}
    if submission.objective == "none":
        return "none"
    what = names.get(submission.objective, submission.objective)
    return f"{language_word(submission.languages)} {what}"


def language_word(languages: Iterable[str]) -> str:
    """Return ``English`` for English alone, the code of another language, or ``multilingual``."""
    codes = set(languages)
    if codes == {"en"}:
        return "English"
    return codes.pop() if len(codes) == 1 else MULTILINGUAL


def overlap_words(overlap: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Return the measured overlap in words: of each split the three languages with the most."""
    found, none = [], []
    for target, splits in overlap.items():
        for split, shares in splits.items():
            most = sorted(shares.items(), key=lambda one: (-one[1], one[0]))
            shown = [f"{lang} {_percent(share)} %" for lang, share in most[:3]]
            if len(most) > 3:
                shown.append(f"and {len(most) - 3} others, none with more")
            if shown:
                found.append(f"{target} ({split}) {', '.join(shown)}")
            else:
                none.append(f"{target} ({split})")
    if none:
        found.append(f"none in {', '.join(none)}")
    return "; ".join(found) or "not measured"


def _percent(share: float) -> str:
    """Write a share above zero in percent; one that would round to zero is "< 0.1"."""
    return f"{100 * share:.1f}" if share >= 0.0005 else "< 0.1"
