"""Submissions: one strict YAML file per checkpoint that the leaderboard is to show.

The file says what outcomes cannot: what a checkpoint started from, what it was trained on, and
which target tasks it may therefore have seen.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from harness.cards.catalogue import card_names, read_card
from harness.cards.languages import canonical
from harness.cards.objectives import MULTILINGUAL, WITHOUT_CARD, Objective
from harness.errors import DataError, UsageError, one_line, unknown_name
from harness.io.strict_yaml import Strict, read_model

CONVERT = "xharness convert"  # where safetensors come from that are nowhere published
CONTAMINATED = 0.01  # the largest share of a language that is put down to chance
SLUG = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_PART = r"\w(?:[\w.-]*\w)?"  # of an id: no dot or hyphen at its ends
# Training on the first shows the second too: the same questions, or the same text.
SAME_DATA: Mapping[str, tuple[str, ...]] = {
    "xquad": ("lareqa",),
    "lareqa": ("xquad",),
    "mlqa": ("mlqa_cross",),
    "mlqa_cross": ("mlqa",),
}


def _model(name: str) -> str:
    """An id that can exist on the Hub, or the name of a folder."""
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
    known = targets()
    if task not in known:
        raise ValueError(str(unknown_name("target task", task, known)))
    return task


def _seen(entry: str) -> str:
    """A target task, or one split of it: ``task/split``."""
    task, slash, split = entry.partition("/")
    _target(task)
    if slash:
        splits = read_card(task).source.splits if task in card_names() else ()
        if split not in splits:
            raise ValueError(str(unknown_name(f"split of {task}", split, splits)))
    return entry


def targets() -> tuple[str, ...]:
    """The target tasks that a checkpoint may have been trained on."""
    return (*card_names(), *WITHOUT_CARD)


ModelName = Annotated[str, Field(max_length=200), AfterValidator(_model)]
Revision = Annotated[str | None, AfterValidator(_revision)]
Share = Annotated[float, Field(ge=0, le=1)]
Overlap = dict[Annotated[str, AfterValidator(_target)], dict[str, dict[str, Share]]]


class Submission(Strict):
    """One checkpoint; the file's stem is its slug.

    ``revision``: a commit, ``local:<sha256>``, or nothing while the submission is pending.
    ``languages``: those of the intermediate training data, ``multilingual`` where they are many and
    not named. ``contaminated``: target tasks whose data it was trained on, or splits of them
    (``task/split``); what its base was trained on is added by ``contamination``.
    ``overlap``: target → split → language → the share of
    its examples that occur in the training data, as `harness.training.overlap` counts them; a
    language without any is left out, and a target that was not measured too. ``conversion``: where
    its safetensors come from, when its authors published a pickle only: the Hub's pull request at
    whose commit it is pinned, or ``xharness convert``. ``stand_in``: made to try the board with, no
    evidence about any objective. ``recipe``, ``seed``: how it was trained, and the seed of that
    training; checkpoints of one recipe and base differ in the seed alone, and count as one.
    ``matched``: the design that it belongs to; checkpoints of one design were made alike but for
    the languages of their data, and are contrasted with each other alone.
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
        """Splits of targets that it overlaps with in a language by more than chance explains."""
        return frozenset(
            f"{target}/{split}"
            for target, splits in self.overlap.items()
            for split, shares in splits.items()
            if any(share > CONTAMINATED for share in shares.values())
        )

    @property
    def pending(self) -> bool:
        """Whether it is not pinned to a revision yet."""
        return self.revision is None


def contradictions(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Fields that do not go together, each with what is wrong; values may be of any type."""
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
    """Place and target task of every data set that is named after a target task."""

    def plain(name: str) -> str:
        return re.sub(r"[^a-z0-9]", "", name.lower())

    return [
        (place, task)
        for place, name in enumerate(datasets)
        for task in targets()
        if plain(task) in plain(str(name))
    ]


def read_submissions(folder: Path) -> dict[str, Submission]:
    """Slug → submission, by slug; nothing where the folder is not there.

    Raises:
        DataError: a file does not fit, two files submit the same checkpoint or the same seed of a
            recipe, or bases go round in a circle.
    """
    found: dict[str, Submission] = {}
    owners: dict[tuple[str, str | None], str] = {}
    seeds: dict[tuple[str | None, str, int | None], str] = {}
    for path in sorted(folder.glob("*.yaml")):
        if not SLUG.fullmatch(path.stem):
            raise DataError(f"submissions/{path.name}: name it with letters, digits, . _ and -")
        submission = read_model(path, Submission, f"submissions/{path.name}")
        key = (submission.model, submission.revision)
        if key in owners:
            raise DataError(
                f"submissions/{path.name}: {submission.model} is submitted by"
                f" {owners[key]}.yaml already: keep one"
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
        found[path.stem] = submission
    for slug in found:
        contamination(slug, found)
    return found


def contamination(slug: str, submissions: Mapping[str, Submission]) -> frozenset[str]:
    """The target tasks that a checkpoint, or a checkpoint it started from, was trained on.

    Those that submissions declare, and those that were measured: as a whole (``task``), or a split
    of them (``task/split``).

    Raises:
        DataError: bases go round in a circle.
    """
    tasks: set[str] = set()
    chain: list[str] = []
    at: str | None = slug
    while at is not None:
        if at in chain:
            raise DataError(f"submissions: bases go round in a circle: {' → '.join([*chain, at])}")
        chain.append(at)
        tasks |= {*submissions[at].contaminated, *submissions[at].measured}
        at = base_of(at, submissions)
    for entry in list(tasks):
        task, slash, split = entry.partition("/")
        tasks |= {f"{same}{slash}{split}" for same in SAME_DATA.get(task, ())}
    return frozenset(one for one in tasks if "/" not in one or one.partition("/")[0] not in tasks)


def is_contaminated(seen: Collection[str], task: str, split: str) -> bool:
    """Whether rows of a split are of data that was trained on. ``seen``: as `contamination`."""
    return task in seen or f"{task}/{split}" in seen


def base_of(slug: str, submissions: Mapping[str, Submission]) -> str | None:
    """The slug of the submission that is this one's base, where there is one."""
    submission = submissions[slug]
    return find_slug(submission.base, submission.base_revision, submissions)


def find_slug(
    model: str | None, revision: str | None, submissions: Mapping[str, Submission]
) -> str | None:
    """The submission of a model at a revision: the one pinned to it, else the pending one.

    Without a revision any submission of the model will do, the first by slug.
    """
    named = [slug for slug, one in submissions.items() if model and one.model == model]
    exact = [slug for slug in named if revision and submissions[slug].revision == revision]
    pending = [slug for slug in named if submissions[slug].pending]
    return next(iter([*exact, *pending, *(() if revision else named)]), None)


def kind_of(submission: Submission) -> str:
    """The objective with its languages in words: ``English QA``, ``multilingual NLI``, ``none``."""
    names = {"extractive-qa": "QA", "nli": "NLI", "mlm": "MLM", "qa-dual-encoder": "QA retrieval"}
    if submission.objective == "none":
        return "none"
    what = names.get(submission.objective, submission.objective)
    return f"{language_word(submission.languages)} {what}"


def language_word(languages: Iterable[str]) -> str:
    """``English`` for English alone, the code of another single language, else multilingual."""
    codes = set(languages)
    if codes == {"en"}:
        return "English"
    return codes.pop() if len(codes) == 1 else MULTILINGUAL


def overlap_words(overlap: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """What was measured, in words: the three languages with the highest shares of each split."""
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
    """A share above zero in percent; what rounds to zero is less than a tenth."""
    return f"{100 * share:.1f}" if share >= 0.0005 else "< 0.1"
