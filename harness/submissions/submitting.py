"""A checkpoint → its submission: looked at over the network, without a weight being downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cards.languages import canonical
from harness.cards.objectives import MULTILINGUAL
from harness.checkpoint.resolve import parse_model
from harness.errors import HarnessError, UsageError
from harness.io.files import write_whole
from harness.io.hub import model_info
from harness.io.strict_yaml import Document, misfits, validated
from harness.submissions.problems import conflicts
from harness.submissions.remote import Seen, look_at
from harness.submissions.submission import (
    CONVERT,
    SLUG,
    Submission,
    contamination,
    find_slug,
    read_submissions,
    target_data,
)
from harness.submissions.submission_yaml import as_yaml

FOLDER = "submissions"
STATED = "submission"  # what messages call a file that is not written yet
MAX_TEXT = 200  # characters of a text from a model card
MAX_LISTED = 50  # data sets or languages from a model card


@dataclass(frozen=True)
class Stated:
    """What the contributor says; None or empty for what is left to the model card."""

    objective: str
    base: str | None = None
    languages: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    contaminated: tuple[str, ...] = ()
    licence: str | None = None
    protocol: str = "standard"
    recipe: str | None = None
    seed: int | None = None
    matched: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """A submission and the file that it belongs in; ``remarks`` is what a person should know."""

    path: Path
    submission: Submission
    remarks: tuple[str, ...]

    @property
    def text(self) -> str:
        """The file."""
        return as_yaml(self.submission)


def propose(model: str, stated: Stated, root: Path, *, replace: bool = False) -> Proposal:
    """Vet a checkpoint and make its submission; nothing is written.

    ``model``: a Hub id (``@revision``) or a folder. ``root`` holds ``submissions/``. ``replace``:
    whether a file that submits the same model may be replaced.

    Raises:
        UsageError: what is stated does not make sense, or the model is submitted already.
        NotFoundError: the model or its base is not there, gated, or unreachable.
        RefusedError: the checkpoint would not be evaluated, with the reason.
        DataError: a submission that is there already does not fit.
    """
    _check_values(stated)
    submissions = read_submissions(root / FOLDER)
    seen = look_at(model)
    path = root / FOLDER / f"{_slug(seen, submissions)}.yaml"
    if path.exists() and not replace:
        raise UsageError(f"{path} submits {seen.model} already: give --force to replace it")
    remarks = list(seen.remarks)
    fields = _fields(seen, stated, remarks)
    fields |= _base(seen, stated, submissions, remarks)
    fields["contaminated"] = _contaminated(fields["datasets"], stated.contaminated, remarks)
    submission = _checked(fields)
    after = {**submissions, path.stem: submission}
    found = list(conflicts(path.stem, Document(STATED, fields, {}), after))
    if found:
        raise UsageError("; ".join(line.removeprefix(f"{STATED}: ") for line in found))
    inherited = contamination(path.stem, after) - set(submission.contaminated)
    if inherited:
        remarks.append(f"also contaminated: {', '.join(sorted(inherited))}, by base or same data")
    return Proposal(path, submission, tuple(remarks))


def _check_values(stated: Stated) -> None:
    """Refuse what can be no value of its field, before anything is asked of the network."""
    given = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in vars(stated).items()
        if value not in (None, ()) and key != "base"
    }
    found = misfits(Document(STATED, {"model": "org/name", **given}, {}), Submission)
    # Fields that do not go together may still be made to by the model card.
    if wrong := [line.removeprefix(f"{STATED}: ") for path, line in found if path]:
        raise UsageError("; ".join(wrong))


def _checked(fields: Mapping[str, Any]) -> Submission:
    said = {key: value for key, value in fields.items() if value not in (None, [])}
    document = Document(STATED, said, {})
    if found := misfits(document, Submission):
        raise UsageError("; ".join(line.removeprefix(f"{STATED}: ") for _, line in found))
    return validated(document, Submission)


def write(proposal: Proposal) -> None:
    """Write the file, whole or not at all."""
    write_whole(proposal.path, proposal.text)


def _slug(seen: Seen, submissions: Mapping[str, Submission]) -> str:
    """The file's stem: that of the file which submits the model already, else by its name."""
    same = [slug for slug, one in submissions.items() if one.model == seen.model]
    exact = [slug for slug in same if submissions[slug].revision == seen.revision]
    slug = next(iter([*exact, *same]), seen.slug)
    if not SLUG.fullmatch(slug):
        raise UsageError(f"{slug!r} is no file name: rename the folder to letters, digits, . _ -")
    return slug


def _fields(seen: Seen, stated: Stated, remarks: list[str]) -> dict[str, Any]:
    """The fields but base and contamination: as stated, else as the card declares."""
    card = {} if stated.objective == "none" else seen.card
    notes = list(stated.notes)
    if seen.conversion == CONVERT:
        notes += [f"{remark}; evaluate the converted folder" for remark in seen.remarks]
    return {
        "model": seen.model,
        "revision": seen.revision,
        "objective": stated.objective,
        "languages": list(stated.languages) or _card_languages(card, remarks),
        "datasets": list(stated.datasets) or _card_list(card, "datasets", "datasets", remarks),
        "licence": stated.licence or next(
            iter(_card_list(seen.card, "license", "licence", remarks)), None
        ),
        "protocol": stated.protocol,
        "conversion": seen.conversion,
        "recipe": stated.recipe,
        "seed": stated.seed,
        "matched": stated.matched,
        "notes": notes,
    }  # fmt: skip


def _card_list(card: Mapping[str, Any], key: str, name: str, remarks: list[str]) -> list[str]:
    """Texts that a card declares under a key, cleaned; what is used is remarked on."""
    value = card.get(key)
    listed = value if isinstance(value, list) else [value]
    texts = ["".join(c for c in one if c.isprintable()).strip() for one in listed if
             isinstance(one, str)]  # fmt: skip
    found = list(dict.fromkeys(text[:MAX_TEXT] for text in texts if text))[:MAX_LISTED]
    if found:
        remarks.append(f"{name} from the model card: {', '.join(found)}")
    return found


def _card_languages(card: Mapping[str, Any], remarks: list[str]) -> list[str]:
    """The card's languages that are known here: of the model, so perhaps not of its training."""
    told: list[str] = []
    languages = []
    for code in _card_list(card, "language", "languages", told):
        try:
            languages.append(code if code == MULTILINGUAL else canonical(code))
        except UsageError:
            remarks.append(f"the model card's language {code!r} is not known here: left out")
    if languages:
        remarks += [f"{told[0]}; give --language where its training data had others"]
    return list(dict.fromkeys(languages))


def _base(
    seen: Seen, stated: Stated, submissions: Mapping[str, Submission], remarks: list[str]
) -> dict[str, Any]:
    """The base at a commit: as submitted already where it is, else as it is now."""
    base = stated.base
    if base is None:
        if stated.objective == "none":
            return {}
        told: list[str] = []
        named = _card_list(seen.card, "base_model", "base", told)
        if len(named) != 1:
            why = f"the model card names {len(named)}" if named else "none is stated"
            remarks.append(f"no base: {why}; give --base for its contrasts and contamination")
            return {}
        remarks += told
        base = named[0]
    try:
        name, revision = parse_model(base)
        info = model_info(name, revision)
    except HarnessError as error:
        if stated.base is None:
            remarks.append(f"the model card's base is left out: {error}")
            return {}
        raise type(error)(f"base: {error}") from error
    slug = find_slug(info.id, None, submissions)
    if revision is None and slug is not None:
        return {"base": info.id, "base_revision": submissions[slug].revision}
    return {"base": info.id, "base_revision": info.sha}


def _contaminated(datasets: Iterable[str], stated: Iterable[str], remarks: list[str]) -> list[str]:
    tasks = list(stated)
    for place, task in target_data(datasets := list(datasets)):
        if task not in tasks:
            tasks.append(task)
            remarks.append(f"contaminated: {task}, since {datasets[place]!r} is its data")
    return tasks
