"""Makes the submission of a checkpoint, which is looked up online; no weights are downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cards.languages import canonical
from harness.cards.objectives import MULTILINGUAL
from harness.checkpoint.address import parse_model
from harness.errors import HarnessError, UsageError
from harness.io.hub import model_info
from harness.io.strict_yaml import Document, misfits, validated
from harness.submissions.folder import read_submissions
from harness.submissions.problems import conflicts
from harness.submissions.remote import RemoteCheckpoint, inspect_checkpoint
from harness.submissions.submission import (
    CONVERT,
    SLUG,
    Submission,
    contamination,
    find_slug,
    target_data,
)
from harness.submissions.submission_yaml import as_yaml

FOLDER = "submissions"
UNWRITTEN_FILE = "submission"  # the name that messages give a file which is not written yet
MAX_TEXT = 200  # the most characters that are taken of a text in a model card
MAX_LISTED = 50  # the most data sets or languages that are taken from a model card


@dataclass(frozen=True)
class SubmitterClaims:
    """What the contributor says; the model card decides a field that is None or empty."""

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
    """A submission and the file that it belongs in; ``remarks``: sentences for the contributor."""

    path: Path
    submission: Submission
    remarks: tuple[str, ...]

    @property
    def text(self) -> str:
        """The text of the file."""
        return as_yaml(self.submission)


def propose(model: str, claims: SubmitterClaims, root: Path, *, replace: bool = False) -> Proposal:
    """Vet a checkpoint and make its submission; nothing is written.

    ``model``: a Hub id (``@revision``) or a folder. ``root``: the folder that holds
    ``submissions/``. ``replace``: whether a file that submits the same model may be replaced.

    Raises:
        UsageError: a claim is impossible or contradicts another, or the model is submitted already.
        NotFoundError: the model or its base does not exist, is gated, or cannot be reached.
        RefusedError: the checkpoint would not be evaluated.
        DataError: another submission in the folder is wrong.
    """
    _check_values(claims)
    submissions = read_submissions(root / FOLDER)
    checkpoint = inspect_checkpoint(model)
    path = root / FOLDER / f"{_slug(checkpoint, submissions)}.yaml"
    if path.exists() and not replace:
        raise UsageError(f"{path} submits {checkpoint.model} already: give --force to replace it")
    remarks = list(checkpoint.remarks)
    fields = _fields(checkpoint, claims, remarks)
    fields |= _base(checkpoint, claims, submissions, remarks)
    fields["contaminated"] = _contaminated(fields["datasets"], claims.contaminated, remarks)
    submission = _checked(fields)
    after = {**submissions, path.stem: submission}
    _refuse(conflicts(path.stem, Document(UNWRITTEN_FILE, fields, {}), after))
    inherited = contamination(path.stem, after) - set(submission.contaminated)
    if inherited:
        remarks.append(f"also contaminated: {', '.join(sorted(inherited))}, by base or same data")
    return Proposal(path, submission, tuple(remarks))


def _check_values(claims: SubmitterClaims) -> None:
    """Refuse values that their fields cannot have, before anything is asked of the network."""
    given = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in vars(claims).items()
        if value not in (None, ()) and key != "base"
    }
    found = misfits(Document(UNWRITTEN_FILE, {"model": "org/name", **given}, {}), Submission)
    # A field may need another one, which the model card can still give: this is checked later.
    _refuse(line for path, line in found if path)


def _checked(fields: Mapping[str, Any]) -> Submission:
    given = {key: value for key, value in fields.items() if value not in (None, [])}
    document = Document(UNWRITTEN_FILE, given, {})
    _refuse(line for _, line in misfits(document, Submission))
    return validated(document, Submission)


def _refuse(problems: Iterable[str]) -> None:
    """Raise UsageError with the problems of the file that is not written yet, if there are any."""
    if wrong := [line.removeprefix(f"{UNWRITTEN_FILE}: ") for line in problems]:
        raise UsageError("; ".join(wrong))


def _slug(checkpoint: RemoteCheckpoint, submissions: Mapping[str, Submission]) -> str:
    """Return the file's stem: that of the file which submits the model already, or a new one."""
    same = [slug for slug, one in submissions.items() if one.model == checkpoint.model]
    exact = [slug for slug in same if submissions[slug].revision == checkpoint.revision]
    slug = next(iter([*exact, *same]), checkpoint.slug)
    if not SLUG.fullmatch(slug):
        raise UsageError(f"{slug!r} is no file name: rename the folder to letters, digits, . _ -")
    return slug


def _fields(
    checkpoint: RemoteCheckpoint, claims: SubmitterClaims, remarks: list[str]
) -> dict[str, Any]:
    """Return the fields without base and contamination: the claims, else what the card says."""
    card = {} if claims.objective == "none" else checkpoint.card
    notes = list(claims.notes)
    if checkpoint.conversion == CONVERT:
        notes += [f"{remark}; evaluate the converted folder" for remark in checkpoint.remarks]
    return {
        "model": checkpoint.model,
        "revision": checkpoint.revision,
        "objective": claims.objective,
        "languages": list(claims.languages) or _card_languages(card, remarks),
        "datasets": list(claims.datasets) or _card_list(card, "datasets", "datasets", remarks),
        "licence": claims.licence or next(
            iter(_card_list(checkpoint.card, "license", "licence", remarks)), None
        ),
        "protocol": claims.protocol,
        "conversion": checkpoint.conversion,
        "recipe": claims.recipe,
        "seed": claims.seed,
        "matched": claims.matched,
        "notes": notes,
    }  # fmt: skip


def _card_list(card: Mapping[str, Any], key: str, name: str, remarks: list[str]) -> list[str]:
    """Return the texts that a card has under a key, cleaned; a remark says that they are used."""
    value = card.get(key)
    listed = value if isinstance(value, list) else [value]
    texts = ["".join(c for c in one if c.isprintable()).strip() for one in listed if
             isinstance(one, str)]  # fmt: skip
    found = list(dict.fromkeys(text[:MAX_TEXT] for text in texts if text))[:MAX_LISTED]
    if found:
        remarks.append(f"{name} from the model card: {', '.join(found)}")
    return found


def _card_languages(card: Mapping[str, Any], remarks: list[str]) -> list[str]:
    """Return the card's languages that are known here.

    They are those of the model, and its training data may have had others.
    """
    from_card: list[str] = []
    languages = []
    for code in _card_list(card, "language", "languages", from_card):
        try:
            languages.append(code if code == MULTILINGUAL else canonical(code))
        except UsageError:
            remarks.append(f"the model card's language {code!r} is not known here: left out")
    if languages:
        remarks += [f"{from_card[0]}; give --language where its training data had others"]
    return list(dict.fromkeys(languages))


def _base(
    checkpoint: RemoteCheckpoint,
    claims: SubmitterClaims,
    submissions: Mapping[str, Submission],
    remarks: list[str],
) -> dict[str, Any]:
    """Return the base at a commit: the one that is submitted already, else its newest one."""
    base = claims.base
    if base is None:
        if claims.objective == "none":
            return {}
        from_card: list[str] = []
        named = _card_list(checkpoint.card, "base_model", "base", from_card)
        if len(named) != 1:
            why = f"the model card names {len(named)}" if named else "none is stated"
            remarks.append(f"no base: {why}; give --base for its contrasts and contamination")
            return {}
        remarks += from_card
        base = named[0]
    try:
        name, revision = parse_model(base)
        info = model_info(name, revision)
    except HarnessError as error:
        if claims.base is None:
            remarks.append(f"the model card's base is left out: {error}")
            return {}
        raise type(error)(f"base: {error}") from error
    slug = find_slug(info.id, None, submissions)
    if revision is None and slug is not None:
        return {"base": info.id, "base_revision": submissions[slug].revision}
    return {"base": info.id, "base_revision": info.sha}


def _contaminated(datasets: Iterable[str], claims: Iterable[str], remarks: list[str]) -> list[str]:
    tasks = list(claims)
    for place, task in target_data(datasets := list(datasets)):
        if task not in {one.partition("/")[0] for one in tasks}:
            tasks.append(task)
            remarks.append(f"contaminated: {task}, since {datasets[place]!r} is its data")
    return tasks
