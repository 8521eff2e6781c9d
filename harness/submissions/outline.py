"""An outline of a model repository: enough of every file to vet it, without its weights.

Configurations are complete, safetensors files have only their header, and vocabularies have
nothing. Every file has the size that the Hub lists (the rest is a hole that takes no disk), so that
vetting finds exactly what it would find after a download.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from harness.checkpoint.files import TOKENIZERS, counted, vet_listing
from harness.checkpoint.snapshot import Snapshot, commit_of, intact
from harness.checkpoint.weights import MAX_HEADER, MAX_JSON
from harness.errors import DataError, RefusedError
from harness.io.hub import first_bytes, model_info

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

# These files are vetted only by their presence and size.
VOCABULARIES = frozenset({*TOKENIZERS, "merges.txt", "bpe.codes"})
FIRST = 1 << 17  # bytes that are read first; nearly every header is shorter


def outline(name: str, revision: str | None, *, within: Path) -> Snapshot:
    """Write the outline of model ``name`` at ``revision`` into a folder under ``within``.

    Raises:
        NotFoundError: the repository or revision does not exist, is gated, or cannot be reached.
        RefusedError: its files are not those of a checkpoint that is read here.
        DataError: a configuration does not match its digest.
    """
    info = model_info(name, revision)
    commit = commit_of(info)
    files = {file.rfilename: file for file in info.siblings or ()}
    vet_listing(f"{info.id}@{commit[:12]}", files)
    folder = within / commit
    for file in counted(files):
        _write(folder / file, info.id, commit, files[file])
    return Snapshot(info.id, commit, folder)


def _write(path: Path, name: str, commit: str, file: RepoSibling) -> None:
    size = file.size or 0
    base = path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    if base in VOCABULARIES:
        path.touch()
    elif base.endswith(".safetensors"):
        path.write_bytes(_header(name, commit, file.rfilename, size))
    elif size <= MAX_JSON:
        path.write_bytes(first_bytes(name, commit, file.rfilename, size))
        if not intact(path, file):
            raise DataError(
                f"{name}: {file.rfilename} came with another digest than listed: run again"
            )
    else:
        path.touch()  # Vetting refuses it by its size.
    try:
        os.truncate(path, size)
    except OSError as error:
        raise RefusedError(
            f"{name}: {file.rfilename} would be {size:,} bytes: {error.strerror}"
        ) from error


def _header(name: str, commit: str, file: str, size: int) -> bytes:
    """Return a safetensors file up to the end of its header; all bytes read if that is broken."""
    data = first_bytes(name, commit, file, min(FIRST, size))
    end = 8 + int.from_bytes(data[:8], "little")
    if end <= len(data):
        return data[:end]
    if len(data) < 8 or end > size or end > 8 + MAX_HEADER:
        return data  # Vetting says what is wrong with it.
    return first_bytes(name, commit, file, end)
