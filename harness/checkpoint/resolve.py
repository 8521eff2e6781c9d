"""What a checkpoint is: weights pinned by commit or digest, vetted, with what they declare."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
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

# How the files of a Hub id at a revision are had.
Fetch = Callable[[str, str | None], Snapshot]


@dataclass(frozen=True)
class Base:
    """The pinned model that an adapter was trained on."""

    id: str
    revision: str


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that passed vetting; no weight has been read.

    ``revision`` is a 40-hex commit, or ``local:`` and a sha256 over the files that count.
    ``parameters`` counts the values in the weights (of the base, for an adapter).
    ``head_note`` says why there is no QA head, or is empty. ``head``: another head, with the names
    of its classes. ``base_folder`` holds the base's
    weights where this is an adapter. ``remarks``: what a user of its results is to know.
    """

    id: str
    revision: str
    folder: Path
    local: bool
    model_type: str
    architecture: str
    parameters: int
    native: Native | None
    has_qa_head: bool
    head_note: str
    base: Base | None
    base_folder: Path | None
    remarks: tuple[str, ...] = ()
    head: Head | None = None

    @property
    def slug(self) -> str:
        """The results folder: ``org__name``, or ``local__<folder>``."""
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
    def linear_head(self) -> bool:
        """Whether its head is one of `linear_head`, none of transformers'."""
        return self.head is not None and self.head.linear

    @property
    def weights_folder(self) -> Path:
        """Where the model's config and weights lie (the base's, for an adapter)."""
        return self.base_folder or self.own_folder

    @property
    def own_folder(self) -> Path:
        """Where the checkpoint's own weights lie: the adapter's, where it is one."""
        return self.folder / (self.native.transformer if self.native else "")

    @property
    def tokenizer_folder(self) -> Path:
        """Where the tokenizer lies: an adapter may bring its own or use its base's."""
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
    """The checkpoint that ``model`` names: a Hub id (``@revision`` or ``revision=``) or a folder.

    Files of a Hub id are downloaded to ``cache`` (a huggingface cache folder; None: the
    default one) unless they are there; ``offline`` makes no request at all. ``fetch`` takes the
    place of both: how the files of a Hub id are had.

    Raises:
        UsageError: no possible model or revision.
        NotFoundError: no such repository, revision or folder; gated; unreachable; not cached.
        RefusedError: unsafe or broken, with the reason.
        IncompleteError: not enough disk, or the download broke off.
        DataError: a downloaded file does not match its digest.

    The base that an adapter names is had in the same way, and fails in the same ways.
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
    try:
        vet_files(folder, names)
    except HarnessError as error:
        raise type(error)(f"{name}: {error}") from error
    vet_pointers(folder, counted(names))
    # Hashed last: what is refused is refused at once.
    found = _described(folder.name, "local:", folder, fetch, is_base=is_base)
    return replace(found, revision=f"local:{_digest(folder, names)}")


def file_names(folder: Path) -> list[str]:
    """Files of a folder and of the folders in it, as a repository lists them.

    ``counted`` chooses those of a checkpoint; the others say what the folder is, where it is none.
    """
    names = []
    for path in folder.iterdir():
        if not path.is_dir():  # pipes, devices and links to nothing are listed too, to be refused
            names.append(path.name)
        elif not path.name.startswith(".") and os.access(path, os.R_OK | os.X_OK):
            inner = [one.name for one in path.iterdir() if not one.is_dir()]
            names.extend(f"{path.name}/{one}" for one in inner)
    return names


def _digest(folder: Path, names: list[str]) -> str:
    """sha256 over name and sha256 of every file that counts: equal for equal copies."""
    whole = hashlib.sha256()
    for name in counted(names):
        with (folder / name).open("rb") as file:
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def _described(
    name: str, revision: str, folder: Path, fetch: Fetch, *, is_base: bool = False
) -> Checkpoint:
    """``is_base``: of an adapter, and so to be no adapter itself; none is looked for further."""
    local = revision.startswith("local:")
    try:
        native = read_native(folder)
        own = folder / (native.transformer if native else "")
        if (own / ADAPTER_CONFIG).is_file():
            if is_base:
                raise RefusedError("it is an adapter itself: merge that one first")
            return _adapter(name, revision, folder, own, native, fetch)
        vetted = vet(own)
        vet_tokenizer(own)
        head = read_head(vetted)
    except HarnessError as error:
        raise type(error)(f"{name}: {error}") from error
    note = "" if head is not None and head.kind == "span" else span_head_note(vetted)
    found = Checkpoint(
        id=name,
        revision=revision,
        folder=folder,
        local=local,
        model_type=str(vetted.config["model_type"]),
        architecture=architecture(vetted),
        parameters=vetted.parameters,
        native=native,
        has_qa_head=not note,
        head_note=note,
        base=None,
        base_folder=None,
        remarks=tuple(filter(None, [own_code_note(vetted.config), linear_note(head)])),
        head=head,
    )
    return found if is_base else _tried(found)


def _tried(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, once a process with limits has done what reading it does not bound."""
    try:
        if reasons := unbounded(checkpoint):
            try_out(checkpoint, reasons)
    except HarnessError as error:
        raise type(error)(f"{checkpoint.id}: {error}") from error
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
    # A repository on the Hub has no say over folders of this machine. os.path, since Path raises
    # over a name that is too long for a file.
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
    except UsageError as error:  # what it names can be no model or revision
        raise RefusedError(f"its base cannot be used: {error}") from error
    except HarnessError as error:  # a base that is out of reach may be there tomorrow
        raise type(error)(f"its base cannot be used: {error}") from error
    if has_tokenizer(own):
        vet_tokenizer(own)
    heads = any(".qa_outputs." in tensor for tensor in adapter.tensors)
    note = "the adapter's own QA head is not loaded: merge it first" if heads else base.head_note
    adapted = Checkpoint(
        id=name,
        revision=revision,
        folder=folder,
        local=local,
        model_type=base.model_type,
        architecture=base.architecture,
        parameters=base.parameters,
        native=native,
        has_qa_head=not note,
        head_note=note,
        base=Base(base.id, base.revision),
        base_folder=base.weights_folder,
        remarks=base.remarks,
        # The adapter's own head is not loaded, and the base's is not the one that it was tuned for.
        head=None
        if any(f".{one}" in name for name in adapter.tensors for one in OUTPUTS)
        else base.head,
    )
    return _tried(adapted)
