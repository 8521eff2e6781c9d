"""Gets the files of a model repository at one commit, from the cache or by a download.

One request pins the revision to a commit and lists the files. They are vetted by their names before
anything is downloaded, and compared with the listed digests after that.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.checkpoint.files import counted, pickles_in, vet_listing, vet_sizes
from harness.errors import DataError, IncompleteError, NotFoundError, RefusedError, UsageError
from harness.io.files import existing, write_whole
from harness.io.hub import asked, git_blob_id, model_info, quiet

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
COMMIT = re.compile(r"[0-9a-f]{40}")
REVISION = re.compile(r"(?!.*\.\.)[\w][\w./-]{0,249}")
SPARE = 256 << 20  # bytes of the disk that stay free


@dataclass(frozen=True)
class Snapshot:
    """The files of repository ``id`` at ``commit`` (40 hex digits), in ``folder``."""

    id: str
    commit: str
    folder: Path


def snapshot(
    name: str, revision: str | None, *, cache: Path | None = None, offline: bool = False
) -> Snapshot:
    """Get the files of model ``name`` that count, at ``revision`` (the main branch by default).

    No request is made for a commit whose files are all in the cache. ``cache``: a cache folder of
    huggingface_hub, by default its own.

    Raises:
        UsageError: no repository or revision can have this name.
        NotFoundError: the repository or revision does not exist, is gated, cannot be reached, or
            is not in the cache when offline.
        RefusedError: its files are not those of a checkpoint that is read here.
        IncompleteError: the disk is full, or the download broke off.
        DataError: a downloaded file does not match its digest.
    """
    from huggingface_hub import constants

    _check_names(name, revision)
    root = _root(cache)
    offline = offline or constants.is_offline_mode()
    if offline or (revision and COMMIT.fullmatch(revision)):
        found = _cached(name, revision or "main", root, trust_disk=offline)
        if found is not None:
            return found
    if offline:
        wanted = f"{name}@{revision}" if revision else name
        raise NotFoundError(
            f"{wanted} is not in the cache at {root}: run `xharness prefetch {wanted}` online first"
        )
    return _download(_pending(name, revision, root), revision, root)


@dataclass(frozen=True)
class Pending:
    """A repository at a commit, with all files that count and those that are not in the cache."""

    id: str
    commit: str
    wanted: tuple[str, ...]
    missing: tuple[RepoSibling, ...]

    @property
    def size(self) -> int:
        """The number of bytes to download."""
        return sum(file.size or 0 for file in self.missing)


def pending(name: str, revision: str | None, *, cache: Path | None = None) -> Pending:
    """Return what ``snapshot`` would download, with one request. It raises as ``snapshot`` does."""
    _check_names(name, revision)
    return _pending(name, revision, _root(cache))


def _check_names(name: str, revision: str | None) -> None:
    if not HUB_ID.fullmatch(name):
        raise UsageError(f"{name!r} is neither a Hub id (org/name) nor a folder that exists")
    if revision is not None and not REVISION.fullmatch(revision):
        raise UsageError(f"{revision!r} is no revision: give a branch, a tag or a commit")


def _root(cache: Path | None) -> Path:
    from huggingface_hub import constants

    return Path(cache or constants.HF_HUB_CACHE).expanduser()


def _storage(name: str, root: Path) -> Path:
    return root / f"models--{name.replace('/', '--')}"


def _missing(
    id_: str, commit: str, wanted: Iterable[str], files: Mapping[str, RepoSibling], root: Path
) -> Pending:
    """Compare the ``wanted`` files with the cache; ``files``: what the Hub lists, by name."""
    folder, wanted = _storage(id_, root) / "snapshots" / commit, tuple(wanted)
    missing = tuple(files[name] for name in wanted if not (folder / name).is_file())
    return Pending(id_, commit, wanted, missing)


def _cached(name: str, revision: str, root: Path, *, trust_disk: bool) -> Snapshot | None:
    """Return the files of the revision in the cache, or None where one of them is missing.

    Where the cache has no listing of the files, which a download leaves there, it is not known
    whether one is missing; ``trust_disk`` takes them all the same.
    """
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    reference = _storage(name, root) / "refs" / revision
    if COMMIT.fullmatch(revision):
        commit = revision
    elif reference.is_file():
        commit = reference.read_text().strip()
    else:
        return None
    folder = _storage(name, root) / "snapshots" / commit
    if not COMMIT.fullmatch(commit) or not folder.is_dir():
        return None
    try:
        tree = get_cached_repo_tree(name, revision=commit, cache_dir=root)
    except CachedRepoTreeNotFoundError:
        return Snapshot(name, commit, folder) if trust_disk else None
    names = [file.path for file in tree]
    vet_listing(f"{name}@{commit[:12]}", names)
    whole = all((folder / name).is_file() for name in counted(names))
    return Snapshot(name, commit, folder) if whole else None


def _pending(name: str, revision: str | None, root: Path) -> Pending:
    info = model_info(name, revision)
    commit = commit_of(info)
    name = info.id  # A repository that was renamed answers with its new name.
    files = {file.rfilename: file for file in info.siblings or ()}
    vet_listing(f"{name}@{commit[:12]}", files)
    try:
        vet_sizes({file: listed.size or 0 for file, listed in files.items()})
    except RefusedError as error:
        raise RefusedError(f"{name}@{commit[:12]}: {error}") from error
    return _missing(name, commit, counted(files), files, root)


def commit_of(info: ModelInfo) -> str:
    """Return the commit (40 hex digits) of the Hub's answer. NotFoundError where it has none."""
    if not COMMIT.fullmatch(info.sha or ""):
        raise NotFoundError(f"the Hub names no commit for {info.id}: try again later")
    return str(info.sha)


def pickled(name: str, revision: str | None, *, cache: Path | None = None) -> Snapshot:
    """Get the files of a model that has only pickled weights, with these pickles.

    Only `xharness convert` uses this. It raises as ``snapshot`` does, and UsageError where there
    are safetensors.
    """
    _check_names(name, revision)
    root = _root(cache)
    info = model_info(name, revision)
    files = {file.rfilename: file for file in info.siblings or ()}
    if any(file.endswith(".safetensors") for file in counted(files)):
        raise UsageError(f"{info.id} has safetensors already: evaluate it as it is")
    pickles = pickles_in(files)
    if not pickles:
        vet_listing(f"{info.id}@{commit_of(info)[:12]}", files)
    wanted = sorted({*counted(files), *pickles})
    return _download(_missing(info.id, commit_of(info), wanted, files, root), revision, root)


def _download(found: Pending, revision: str | None, root: Path) -> Snapshot:
    from huggingface_hub import snapshot_download

    name, commit, missing = found.id, found.commit, found.missing
    folder = _storage(name, root) / "snapshots" / commit
    _check_space(name, missing, root)

    def fetch() -> str:
        return snapshot_download(
            name, revision=commit, cache_dir=root, allow_patterns=list(found.wanted)
        )

    with quiet():
        asked(fetch, name, commit, statuses=())
    damaged = [file.rfilename for file in missing if not intact(folder / file.rfilename, file)]
    if damaged:
        raise DataError(
            f"{name}: {', '.join(damaged)} came with another digest than listed, and was deleted: "
            "run again"
        )
    # snapshot_download gets a commit and so writes no branch, which later offline runs need.
    _note(_storage(name, root) / "refs" / (revision or "main"), commit)
    return Snapshot(name, commit, folder)


def check_room(what: str, found: Sequence[Pending], *, cache: Path | None = None) -> None:
    """Refuse downloads that do not fit on the disk together. ``cache`` as for ``snapshot``.

    Raises:
        IncompleteError: there is not enough space.
    """
    _check_space(what, [file for one in found for file in one.missing], _root(cache))


def _check_space(name: str, missing: Sequence[RepoSibling], root: Path) -> None:
    needed = sum(file.size or 0 for file in missing)
    parent = existing(root)
    free = shutil.disk_usage(parent).free
    if needed and needed + SPARE > free:
        raise IncompleteError(
            f"{name} needs {needed / 1e9:.1f} GB and {parent} has {free / 1e9:.1f} GB free: make "
            "room, or give another --cache-dir"
        )


def intact(path: Path, file: RepoSibling) -> bool:
    """Return whether a new file has the digest that was listed; delete one that does not."""
    with path.open("rb") as stream:
        if file.lfs is not None:
            expected, actual = file.lfs.sha256, hashlib.file_digest(stream, "sha256").hexdigest()
        elif file.blob_id is not None:
            expected, actual = file.blob_id, git_blob_id(stream.read())
        else:
            return True
    if actual != expected:
        path.resolve().unlink()  # This is the blob, which the cache would use again.
        path.unlink(missing_ok=True)
    return actual == expected


def _note(reference: Path, commit: str) -> None:
    if COMMIT.fullmatch(reference.name):
        return
    try:
        write_whole(reference, commit)
    except OSError:
        return  # The cache is read-only, and the next run looks the branch up again.
