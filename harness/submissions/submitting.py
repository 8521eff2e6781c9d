"""A checkpoint → its submission: looked at over the network, without a weight being downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cards.languages import canonical
from harness.cards.objectives import MULTILINGUAL
from harness.checkpoint.address import parse_model
from harness.errors import HarnessError, UsageError
from harness.io.files import write_whole
from harness.io.hub import model_info
from harness.io.strict_yaml import Document, misfits, validated
from harness.submissions.problems import conflicts
from harness.submissions.remote import RemoteCheckpoint, inspect_checkpoint
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
UNWRITTEN_FILE = "submission"  # what messages call a file that is not written yet
MAX_TEXT = 200  # characters of a text from a model card
MAX_LISTED = 50  # data sets or languages from a model card


@dataclass(frozen=True)
class SubmitterClaims:
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


def propose(model: str, claims: SubmitterClaims, root: Path, *, replace: bool = False) -> Proposal:
    """Vet a checkpoint and make its submission; nothing is written.

    ``model``: a Hub id (``@revision``) or a folder. ``root`` holds ``submissions/``. ``replace``:
    whether a file that submits the same model may be replaced.

    Raises:
        UsageError: what is stated does not make sense, or the model is submitted already.
        NotFoundError: the model or its base is not there, gated, or unreachable.
        RefusedError: the checkpoint would not be evaluated, with the reason.
        DataError: a submission that is there already does not fit.
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
    found = list(conflicts(path.stem, Document(UNWRITTEN_FILE, fields, {}), after))
    if found:
        raise UsageError("; ".join(line.removeprefix(f"{UNWRITTEN_FILE}: ") for line in found))
    inherited = contamination(path.stem, after) - set(submission.contaminated)
    if inherited:
        remarks.append(f"also contaminated: {', '.join(sorted(inherited))}, by base or same data")
    return Proposal(path, submission, tuple(remarks))


def _check_values(claims: SubmitterClaims) -> None:
    """Refuse what can be no value of its field, before anything is asked of the network."""
    given = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in vars(claims).items()
        if value not in (None, ()) and key != "base"
    }
    found = misfits(Document(UNWRITTEN_FILE, {"model": "org/name", **given}, {}), Submission)
    # Fields that do not go together may still be made to by the model card.
    if wrong := [line.removeprefix(f"{UNWRITTEN_FILE}: ") for path, line in found if path]:
        raise UsageError("; ".join(wrong))


def _checked(fields: Mapping[str, Any]) -> Submission:
    said = {key: value for key, value in fields.items() if value not in (None, [])}
    document = Document(UNWRITTEN_FILE, said, {})
    if found := misfits(document, Submission):
        raise UsageError("; ".join(line.removeprefix(f"{UNWRITTEN_FILE}: ") for _, line in found))
    return validated(document, Submission)


def write(proposal: Proposal) -> None:
    """Write the file, whole or not at all."""
    write_whole(proposal.path, proposal.text)


def _slug(checkpoint: RemoteCheckpoint, submissions: Mapping[str, Submission]) -> str:
    """The file's stem: that of the file which submits the model already, else by its name."""
    same = [slug for slug, one in submissions.items() if one.model == checkpoint.model]
    exact = [slug for slug in same if submissions[slug].revision == checkpoint.revision]
    slug = next(iter([*exact, *same]), checkpoint.slug)
    if not SLUG.fullmatch(slug):
        raise UsageError(f"{slug!r} is no file name: rename the folder to letters, digits, . _ -")
    return slug


def _fields(
    checkpoint: RemoteCheckpoint, claims: SubmitterClaims, remarks: list[str]
) -> dict[str, Any]:
    """The fields without base and contamination: what is claimed, else what the card declares."""
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
    checkpoint: RemoteCheckpoint,
    claims: SubmitterClaims,
    submissions: Mapping[str, Submission],
    remarks: list[str],
) -> dict[str, Any]:
    """The base at a commit: as submitted already where it is, else as it is now."""
    base = claims.base
    if base is None:
        if claims.objective == "none":
            return {}
        told: list[str] = []
        named = _card_list(checkpoint.card, "base_model", "base", told)
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
