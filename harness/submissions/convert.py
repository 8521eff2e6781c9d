"""Converts pickled weights to a folder with safetensors; a separate process opens the pickles."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.checkpoint.address import as_path, parse_model
from harness.checkpoint.files import ADAPTER_CONFIG, SHARDED, counted, pickles_in, vet_pointers
from harness.checkpoint.resolve import Checkpoint, file_names, resolve
from harness.checkpoint.snapshot import pickled
from harness.checkpoint.vet import read_config
from harness.checkpoint.weights import INDEX, MAX_BYTES, read_header
from harness.errors import HarnessError, IncompleteError, NotFoundError, RefusedError, UsageError
from harness.io.files import building, digest
from harness.submissions.submission import CONVERT

# The process may use this many times the size of the largest file, and so many bytes beyond that.
MEMORY_TIMES, MEMORY_BEYOND = 3, 1 << 30
# The process may use this many seconds of a processor, and one more for every so many bytes.
SECONDS, BYTES_PER_SECOND = 120, 10_000_000
# A safetensors file may be this many times as large as its pickle: tied weights are written twice.
MOST = 3
# The process gets these variables of the environment, and so no token, no cache and no proxy.
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True)
class Converted:
    """The new folder as a checkpoint, and the rights that the process had given up, in words."""

    checkpoint: Checkpoint
    isolation: tuple[str, ...]


def convert(model: str, out: Path, *, cache: Path | None = None) -> Converted:
    """Convert the pickles of a folder or Hub id (``@revision``) to safetensors in a new folder.

    Only the command `xharness convert` calls this. The folder appears when it is complete, or not
    at all. Each file of weights says what it was converted from, with the sha256 of the pickle.

    Raises:
        UsageError: this is continuous integration, ``out`` exists, or the model has safetensors.
        NotFoundError: the model does not exist, is gated, or cannot be reached.
        RefusedError: a pickle holds something else than tensors, or the result is refused.
        IncompleteError: the disk is full.
    """
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        raise UsageError(
            f"CI is set: `{CONVERT}` opens pickles of strangers only where a person asked for it"
        )
    if out.exists():
        raise UsageError(f"{out} exists: give a folder that does not")
    name, revision = parse_model(model)
    if as_path(name).is_dir():
        folder, source = as_path(name).resolve(), ""
        names = file_names(folder)
    elif as_path(name).is_file():
        raise UsageError(f"{name} is a file: give the folder that holds config.json and weights")
    elif name.startswith((".", "/", "~")) or name.endswith("/"):
        raise NotFoundError(f"{name} does not exist: give a folder, or a Hub id (org/name)")
    else:
        found = pickled(name, revision, cache=cache)
        folder, source = found.folder, f"{found.id}@{found.commit}"
    names = [name for name in file_names(folder) if (folder / name).is_file()]
    pickles = pickles_in(names)
    if any(file.endswith(".safetensors") for file in counted(names)):
        raise UsageError(f"{model} has safetensors already: evaluate it as it is")
    if not pickles:
        raise RefusedError(f"{model} has no pytorch_model.bin: there is nothing to convert")
    if not any(Path(file).name in ("config.json", ADAPTER_CONFIG) for file in names):
        raise RefusedError(f"{model} has no config.json: it names no architecture")
    vet_pointers(folder, [*counted(names), *pickles])
    if (folder / "config.json").is_file() and not (folder / ADAPTER_CONFIG).is_file():
        read_config(folder / "config.json")  # No pickle is opened where this is refused.
    with building(out) as partial:
        new = partial / out.name
        new.mkdir()
        for file in counted(names):
            (new / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / file, new / file)
        isolation = _opened(folder, pickles, new, source)
        _write_indices(new, pickles)
        try:
            converted = resolve(str(new), cache=cache)
        except HarnessError as error:
            raise type(error)(f"converted, but not kept: {error}") from error
        new.chmod(0o755)
        new.rename(out)
    return Converted(replace(converted, folder=out.resolve()), isolation)


def target_of(file: str) -> str:
    """Return the name that a pickle such as ``pytorch_model.bin`` has as a safetensors file."""
    folder, slash, base = file.rpartition("/")
    base = base.removesuffix(".bin").replace("pytorch_model", "model")
    return f"{folder}{slash}{base}.safetensors"


def _opened(folder: Path, pickles: Sequence[str], target: Path, source: str) -> tuple[str, ...]:
    """Run the process that opens the pickles; return the rights that it gave up, in words."""
    sizes = {file: (folder / file).stat().st_size for file in pickles}
    largest = max(sizes.values())
    origin = {"converted_by": CONVERT, "format": "pt"} | ({"source": source} if source else {})
    job: Mapping[str, Any] = {
        "target": str(target),
        "memory": min(MEMORY_TIMES * largest + MEMORY_BEYOND, MAX_BYTES),
        "seconds": SECONDS + sum(sizes.values()) // BYTES_PER_SECOND,
        "most": MOST * largest + (1 << 20),
        "files": [
            {
                "pickle": str((folder / file).resolve()),
                "name": target_of(file),
                "metadata": origin
                | {"converted_from": file, "pickle_sha256": digest(folder / file)},
            }
            for file in pickles
        ],
    }
    with TemporaryDirectory() as home:
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment |= {
            "HOME": home,
            "TMPDIR": home,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "harness.submissions.unpickle"],
                input=json.dumps(job),
                cwd=home,
                env=environment,
                capture_output=True,
                text=True,
                timeout=4 * job["seconds"],
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RefusedError(
                f"{pickles[0]} is refused: it was still being read after {error.timeout:.0f} s"
            ) from error
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        if shutil.disk_usage(target).free < 1 << 20:
            raise IncompleteError("the disk is full: free some, run again") from None
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise RefusedError(
            f"{pickles[0]} is refused: the process that read it ended with {done.returncode}"
            f" ({lines[-1][:200]})"
        ) from None
    if answer["refused"]:
        raise RefusedError(f"{pickles[0]} is refused: {answer['refused']}")
    return tuple(answer["isolation"])


def _write_indices(folder: Path, pickles: Sequence[str]) -> None:
    """Write an index for weights in several files, from what the files hold."""
    shards: dict[str, list[str]] = {}
    for file in pickles:
        where, _, base = file.rpartition("/")
        if SHARDED.fullmatch(base):
            shards.setdefault(where, []).append(target_of(file))
    for where, files in shards.items():
        places = {
            name: Path(file).name for file in sorted(files) for name in read_header(folder / file)
        }
        text = json.dumps({"metadata": {}, "weight_map": places}, indent=2, sort_keys=True)
        (folder / where / INDEX).write_text(f"{text}\n", encoding="utf-8")
