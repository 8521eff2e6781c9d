"""Weights that are only pickled → a folder with safetensors, opened in a process of its own."""

from __future__ import annotations

import hashlib
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

from harness.checkpoint.address import parse_model
from harness.checkpoint.files import ADAPTER_CONFIG, SHARDED, counted, pickles_in, vet_pointers
from harness.checkpoint.resolve import Checkpoint, file_names, resolve
from harness.checkpoint.snapshot import pickled
from harness.checkpoint.vet import read_config
from harness.checkpoint.weights import INDEX, MAX_BYTES, read_header
from harness.errors import HarnessError, IncompleteError, NotFoundError, RefusedError, UsageError
from harness.io.files import building
from harness.submissions.submission import CONVERT

MEMORY = 3, 1 << 30  # times the largest file, and bytes on top
SECONDS = 120, 10_000_000  # of CPU, and bytes in one more
MOST = 3  # times its pickle that a safetensors file may have: tied weights are written twice
# What the process keeps of the environment: no token, no cache, no proxy.
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True)
class Converted:
    """The new folder as a checkpoint, and in words what the pickle was opened without."""

    checkpoint: Checkpoint
    isolation: tuple[str, ...]


def convert(model: str, out: Path, *, cache: Path | None = None) -> Converted:
    """Convert the pickles of a folder or Hub id (``@revision``) to safetensors in a new folder.

    Never by itself: nothing else calls this. The folder appears whole or not at all; each file of
    weights says what it was converted from, with the sha256 of the pickle.

    Raises:
        UsageError: in continuous integration, ``out`` exists, or there are safetensors already.
        NotFoundError: no such model, gated, or unreachable.
        RefusedError: the pickle holds anything but tensors, or the result would not be accepted.
        IncompleteError: the disk is full.
    """
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        raise UsageError(
            f"CI is set: `{CONVERT}` opens pickles of strangers only where a person asked for it"
        )
    if out.exists():
        raise UsageError(f"{out} exists: give a folder that does not")
    name, revision = parse_model(model)
    if Path(name).expanduser().is_dir():
        folder, source = Path(name).expanduser().resolve(), ""
        names = file_names(folder)
    elif Path(name).expanduser().is_file():
        raise UsageError(f"{name} is a file: give the folder that holds config.json and weights")
    elif name.startswith((".", "/", "~")) or name.endswith("/"):
        raise NotFoundError(f"{name} does not exist: give a folder, or a Hub id (org/name)")
    else:
        found = pickled(name, revision, cache=cache)
        folder, source = found.folder, f"{found.id}@{found.commit}"
        names = file_names(folder)
    names = [name for name in names if (folder / name).is_file()]
    pickles = pickles_in(names)
    if any(file.endswith(".safetensors") for file in counted(names)):
        raise UsageError(f"{model} has safetensors already: evaluate it as it is")
    if not pickles:
        raise RefusedError(f"{model} has no pytorch_model.bin: there is nothing to convert")
    if not any(Path(file).name in ("config.json", ADAPTER_CONFIG) for file in names):
        raise RefusedError(f"{model} has no config.json: it names no architecture")
    vet_pointers(folder, [*counted(names), *pickles])
    if (folder / "config.json").is_file() and not (folder / ADAPTER_CONFIG).is_file():
        read_config(folder / "config.json")  # what is refused anyway is not opened
    with building(out) as partial:
        new = partial / out.name
        new.mkdir()
        for file in counted(names):
            (new / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / file, new / file)
        isolation = _opened(folder, pickles, new, source)
        _write_indices(new, pickles)
        try:
            made = resolve(str(new), cache=cache)
        except HarnessError as error:
            raise type(error)(f"converted, but not kept: {error}") from error
        new.chmod(0o755)
        new.rename(out)
    return Converted(replace(made, folder=out.resolve()), isolation)


def target_of(file: str) -> str:
    """``0_Transformer/pytorch_model-00001-of-00002.bin`` → the safetensors file it becomes."""
    folder, slash, base = file.rpartition("/")
    base = base.removesuffix(".bin").replace("pytorch_model", "model")
    return f"{folder}{slash}{base}.safetensors"


def _opened(folder: Path, pickles: Sequence[str], target: Path, source: str) -> tuple[str, ...]:
    """Run the process that opens the pickles; what it said of its isolation."""
    sizes = {file: (folder / file).stat().st_size for file in pickles}
    largest = max(sizes.values())
    said = {"converted_by": CONVERT, "format": "pt"} | ({"source": source} if source else {})

    def metadata(file: str) -> dict[str, str]:
        return said | {"converted_from": file, "pickle_sha256": _sha256(folder / file)}

    job: Mapping[str, Any] = {
        "target": str(target),
        "memory": min(MEMORY[0] * largest + MEMORY[1], MAX_BYTES),
        "seconds": SECONDS[0] + sum(sizes.values()) // SECONDS[1],
        "most": MOST * largest + (1 << 20),
        "files": [
            {
                "pickle": str((folder / file).resolve()),
                "name": target_of(file),
                "metadata": metadata(file),
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
    """An index for weights in several files, from what the files hold."""
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
