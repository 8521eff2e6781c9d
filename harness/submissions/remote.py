"""Vets a checkpoint that is to be submitted, from its headers and configurations alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from harness.checkpoint.address import is_folder, parse_model
from harness.checkpoint.files import ADAPTER_WEIGHTS, counted, only_pickles
from harness.checkpoint.resolve import Checkpoint, resolve
from harness.checkpoint.weights import read_metadata
from harness.errors import RefusedError
from harness.io.hub import conversions, model_info
from harness.submissions.submission import CONVERT

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo


@dataclass(frozen=True)
class RemoteCheckpoint:
    """A vetted checkpoint: the name and revision that it is submitted by, and its model card.

    ``conversion``: how its weights became safetensors, where its authors published other files.
    ``remarks``: sentences for the contributor.
    """

    model: str
    revision: str
    slug: str
    conversion: str | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def inspect_checkpoint(model: str) -> RemoteCheckpoint:
    """Resolve and vet a checkpoint as ``eval`` would, from headers and configurations alone.

    A repository that has only pickles is pinned at the Hub's pull request which converts them, if
    one is open that changes nothing else.
    """
    name, revision = parse_model(model)
    if is_folder(name):
        return _local(resolve(model))
    from harness.checkpoint.snapshot import commit_of
    from harness.submissions.outline import outline

    info = model_info(name, revision)
    remarks = []
    conversion = revision if revision and revision.startswith("refs/pr/") else None
    if only_pickles([file.rfilename for file in info.siblings or ()]):
        conversion, converted = _converted(info)
        remarks.append(
            f"{info.id} has only pickles: pinned at {conversion}, which adds safetensors"
        )
    else:
        converted = info
    with TemporaryDirectory() as folder:
        found = resolve(
            info.id,
            revision=commit_of(converted),
            fetch=lambda name, revision: outline(name, revision, within=Path(folder)),
        )
    card = dict(vars(info.card_data)) if info.card_data is not None else {}
    return RemoteCheckpoint(found.id, found.revision, found.slug, conversion, card, tuple(remarks))


def _local(found: Checkpoint) -> RemoteCheckpoint:
    whole = sorted(found.own_folder.glob("model*.safetensors"))
    files = whole or [found.own_folder / ADAPTER_WEIGHTS]
    said = read_metadata(files[0]) if files[0].is_file() else {}
    if said.get("converted_by") != CONVERT:
        return RemoteCheckpoint(found.id, found.revision, found.slug)
    name, at, commit = said.get("source", "").partition("@")
    remark = f"{found.folder.name} was converted from the pickle of {name}{at}{commit}"
    model = name if at else found.id
    return RemoteCheckpoint(model, found.revision, model.replace("/", "__"), CONVERT, {}, (remark,))


def _converted(info: ModelInfo) -> tuple[str, ModelInfo]:
    """Find the newest conversion pull request that adds safetensors and changes nothing else.

    Raises:
        RefusedError: there is none.
    """
    name = info.id
    own = {file.rfilename: file.blob_id for file in info.siblings or ()}
    why = "no conversion pull request is open"
    for reference in conversions(name):
        proposed = model_info(name, reference)
        files = {file.rfilename: file.blob_id for file in proposed.siblings or ()}
        changed = [
            file
            for file in counted({*own, *files})
            if not file.endswith((".safetensors", ".safetensors.index.json"))
            and own.get(file) != files.get(file)
        ]
        if not any(file.endswith(".safetensors") for file in counted(files)):
            why = f"{reference} adds no safetensors"
        elif changed:
            why = f"{reference} has another {changed[0]} than {info.sha[:12] if info.sha else ''}"
        else:
            return reference, proposed
    raise RefusedError(
        f"{name} has only pickles, which can run code, and {why}: open one with the Hub's "
        f"safetensors converter, or run `{CONVERT} {name} FOLDER` and submit the folder"
    )
