"""Finds a checkpoint by its name, pins it to a commit or a digest, and vets it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from harness.checkpoint.address import as_path, is_folder, parse_model
from harness.checkpoint.files import (
    ADAPTER_CONFIG,
    FOREIGN,
    counted,
    vet_files,
    vet_listing,
    vet_pointers,
)
from harness.checkpoint.guard import naming
from harness.checkpoint.heads import (
    OUTPUTS,
    Head,
    architecture,
    linear_note,
    read_head,
    span_head_note,
)
from harness.checkpoint.native import Native, read_native
from harness.checkpoint.ported import own_code_note
from harness.checkpoint.snapshot import HUB_ID, Snapshot, snapshot
from harness.checkpoint.trial import try_out, unbounded
from harness.checkpoint.vet import has_tokenizer, vet, vet_adapter, vet_tokenizer
from harness.checkpoint.weights import INDEX, WEIGHTS
from harness.errors import HarnessError, NotFoundError, RefusedError, UsageError
from harness.io.files import digest

Fetch = Callable[[str, str | None], Snapshot]  # finds the files of a Hub id at a revision


@dataclass(frozen=True)
class Base:
    """The model that an adapter was trained on, at a commit or a digest."""

    id: str
    revision: str


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that passed vetting; no weight has been read.

    ``revision``: a commit of 40 hex digits, or ``local:`` and a sha256 over the files that count.
    ``local``: it is a folder, not a repository of the Hub. ``parameters``: the number of values in
    the weights (of the base, for an adapter). ``native``: what it declares about its own use.
    ``head_note``: why there is no question-answering head, or nothing. ``base``, ``base_folder``:
    the base of an adapter, and the folder with the base's weights. ``remarks``: sentences for a
    user of its results. ``head``: a head for classes, choices or tags, or a linear head of ours.
    """

    id: str
    revision: str
    folder: Path
    local: bool
    model_type: str
    architecture: str
    parameters: int
    native: Native | None = None
    has_qa_head: bool = False
    head_note: str = ""
    base: Base | None = None
    base_folder: Path | None = None
    remarks: tuple[str, ...] = ()
    head: Head | None = None

    @property
    def slug(self) -> str:
        """The name of the folder with its results: ``org__name``, or ``local__<folder>``."""
        return f"local__{self.id}" if self.local else self.id.replace("/", "__")

    @property
    def revision12(self) -> str:
        """The first 12 hex digits of the commit or digest."""
        return self.revision.removeprefix("local:")[:12]

    @property
    def label(self) -> str:
        """``id@revision12``, for messages and displays."""
        return f"{self.id}@{self.revision12}"

    @property
    def base_label(self) -> str | None:
        """``id@revision`` of the base of an adapter, None of a whole model."""
        return f"{self.base.id}@{self.base.revision}" if self.base else None

    @property
    def linear_head(self) -> bool:
        """Whether its head is one of `linear_head`, and not of a class of transformers."""
        return self.head is not None and self.head.linear

    @property
    def weights_folder(self) -> Path:
        """The folder with the configuration and the weights (the base's, for an adapter)."""
        return self.base_folder or self.own_folder

    @property
    def own_folder(self) -> Path:
        """The folder with the checkpoint's own weights, which for an adapter are the adapter's."""
        return self.folder / (self.native.transformer if self.native else "")

    @property
    def tokenizer_folder(self) -> Path:
        """The folder with the tokenizer: an adapter may bring its own, or use its base's."""
        if self.base_folder is None or has_tokenizer(self.own_folder):
            return self.own_folder
        return self.base_folder


def resolve(
    model: str,
    *,
    cache: Path | None = None,
    offline: bool = False,
    revision: str | None = None,
    fetch: Fetch | None = None,
) -> Checkpoint:
    """Find and vet the checkpoint that ``model`` names: a Hub id, with ``@revision``, or a folder.

    The files of a Hub id are downloaded to ``cache`` (a cache folder of huggingface_hub; None: the
    default one) unless they are there; ``offline`` makes no request. ``fetch`` takes the place of
    both. The base of an adapter is found in the same way, with the same errors.

    Raises:
        UsageError: no model or revision can have this name.
        NotFoundError: the repository, revision or folder does not exist, is gated, cannot be
            reached, or is not in the cache.
        RefusedError: the checkpoint is unsafe or broken.
        IncompleteError: the disk is full, or the download broke off.
        DataError: a downloaded file does not match its digest.
    """
    name, pinned = parse_model(model)
    if pinned and revision and pinned != revision:
        raise UsageError(f"two revisions for {name}: {pinned} and {revision}")
    revision = revision or pinned
    fetch = fetch or partial(snapshot, cache=cache, offline=offline)
    path = as_path(name)
    if is_folder(name):
        if revision:
            raise UsageError(f"{name} is a folder, which has no revision {revision!r}")
        return _local(name, path, fetch)
    found = fetch(name, revision)
    return _described(found.id, found.commit, found.folder, fetch)


def _local(name: str, path: Path, fetch: Fetch, *, is_base: bool = False) -> Checkpoint:
    if not path.exists():
        raise NotFoundError(f"{name} does not exist: give a folder, or a Hub id (org/name)")
    if not path.is_dir():
        if path.suffix in FOREIGN:
            vet_listing(name, [path.name], local=True)
        raise UsageError(f"{name} is a file: give the folder that holds config.json and weights")
    folder = path.resolve()
    names = file_names(folder)
    vet_listing(name, names, local=True)
    with naming(name):
        vet_files(folder, names)
    vet_pointers(folder, counted(names))
    # The digest comes last because it takes long, and a refusal should not.
    found = _described(folder.name, "local:", folder, fetch, is_base=is_base)
    return replace(found, revision=f"local:{_digest(folder, names)}")


def file_names(folder: Path) -> list[str]:
    """List the files of a folder and of the folders in it, as a repository does.

    ``counted`` chooses those of a checkpoint; the others help to say what the folder holds instead.
    """
    names = []
    for path in folder.iterdir():
        if not path.is_dir():  # Pipes, devices and dead links are listed too, and refused later.
            names.append(path.name)
        elif not path.name.startswith(".") and os.access(path, os.R_OK | os.X_OK):
            inner = [one.name for one in path.iterdir() if not one.is_dir()]
            names.extend(f"{path.name}/{one}" for one in inner)
    return names


def _digest(folder: Path, names: list[str]) -> str:
    """Return a sha256 over name and sha256 of every file that counts; equal copies have one."""
    listed = "".join(f"{name}\0{digest(folder / name)}\n" for name in counted(names))
    return sha256(listed.encode()).hexdigest()


def _described(
    name: str, revision: str, folder: Path, fetch: Fetch, *, is_base: bool = False
) -> Checkpoint:
    """Vet the files of a folder. ``is_base``: it is the base of an adapter, and must not be one."""
    with naming(name):
        native = read_native(folder)
        own = folder / (native.transformer if native else "")
        if (own / ADAPTER_CONFIG).is_file():
            if is_base:
                raise RefusedError("it is an adapter itself: merge that one first")
            return _adapter(name, revision, folder, own, native, fetch)
        vetted = vet(own)
        vet_tokenizer(own)
        head = read_head(vetted)
    note = "" if head is not None and head.kind == "span" else span_head_note(vetted)
    found = Checkpoint(
        id=name,
        revision=revision,
        folder=folder,
        local=revision.startswith("local:"),
        model_type=str(vetted.config["model_type"]),
        architecture=architecture(vetted),
        parameters=vetted.parameters,
        native=native,
        has_qa_head=not note,
        head_note=note,
        remarks=tuple(filter(None, [own_code_note(vetted.config), linear_note(head)])),
        head=head,
    )
    return found if is_base else _tried(found)


def _tried(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint, after a process with limits has tried what may take endless time."""
    with naming(checkpoint.id):
        if reasons := unbounded(checkpoint):
            try_out(checkpoint, reasons)
    return checkpoint


def _adapter(
    name: str,
    revision: str,
    folder: Path,
    own: Path,
    native: Native | None,
    fetch: Fetch,
) -> Checkpoint:
    local = revision.startswith("local:")
    if (own / WEIGHTS).is_file() or (own / INDEX).is_file():
        raise RefusedError(
            f"it holds a whole model and an adapter ({ADAPTER_CONFIG}): keep the one that is meant"
        )
    adapter = vet_adapter(own)
    base_name = str(adapter.config["base_model_name_or_path"])
    base_revision = adapter.config.get("revision")
    # A repository of the Hub must not choose a folder of this machine. Path would raise an error
    # over a name that is too long for a file; os.path does not.
    beside = local and os.path.isdir(base_name)
    if not beside and not HUB_ID.fullmatch(base_name):
        raise RefusedError(f"its base {base_name[:80]!r} is no Hub id: set base_model_name_or_path")
    try:
        if beside:
            base = _local(base_name, Path(base_name), fetch, is_base=True)
        else:
            given = base_revision if isinstance(base_revision, str) and base_revision else None
            if base_name == name and given in (None, revision):
                raise RefusedError(f"{base_name} is the adapter itself")
            found = fetch(base_name, given)
            base = _described(found.id, found.commit, found.folder, fetch, is_base=True)
    except UsageError as error:  # No model or revision can have the name that it gives.
        raise RefusedError(f"its base cannot be used: {error}") from error
    except HarnessError as error:  # A base that cannot be reached may be there tomorrow.
        raise type(error)(f"its base cannot be used: {error}") from error
    if has_tokenizer(own):
        vet_tokenizer(own)
    # An adapter's own head is not loaded, and the base's head is not the one it was trained with.
    tensors = adapter.tensors
    own_qa_head = any(".qa_outputs." in tensor for tensor in tensors)
    own_head = any(f".{output}" in tensor for tensor in tensors for output in OUTPUTS)
    note = "the adapter's own QA head is not loaded: merge it first"
    adapted = replace(
        base,
        id=name,
        revision=revision,
        folder=folder,
        local=local,
        native=native,
        has_qa_head=base.has_qa_head and not own_qa_head,
        head_note=note if own_qa_head else base.head_note,
        base=Base(base.id, base.revision),
        base_folder=base.weights_folder,
        head=None if own_head else base.head,
    )
    return _tried(adapted)
