"""Says which files of a checkpoint count, and refuses files by their names, kinds and sizes.

No file is read here, except to find out whether it is a pointer of Git LFS.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from harness.checkpoint.weights import INDEX, MAX_JSON, SHARD, WEIGHTS
from harness.errors import IncompleteError, RefusedError
from harness.io.files import is_lfs_pointer, pointer_words

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
SENTENCE_CONFIGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
# Each of these is enough for a fast tokenizer: its own file, a sentencepiece model, a vocabulary.
TOKENIZERS = (
    "tokenizer.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
)
# These files decide what a tokenizer does; transformers reads no other file here.
TOKENIZER_FILES = (
    *TOKENIZERS,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "bpe.codes",
)
COUNTED = frozenset(
    {
        "config.json",
        "modules.json",
        "config_sentence_transformers.json",
        *SENTENCE_CONFIGS,
        ADAPTER_CONFIG,
        ADAPTER_WEIGHTS,
        WEIGHTS,
        INDEX,
        *TOKENIZER_FILES,
    }
)
MODULE_FOLDER = re.compile(r"\d+_[A-Za-z]+")
PICKLE, ADAPTER_PICKLE = "pytorch_model.bin", "adapter_model.bin"
SHARDED = re.compile(r"pytorch_model-\d{5}-of-\d{5}\.bin")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
# Ending of weights that are not read here → the usual name of the format. A message names the
# first of these that a folder has.
FOREIGN: Mapping[str, str] = {
    ".gguf": "GGUF, of llama.cpp",
    ".onnx": "ONNX",
    ".tflite": "TensorFlow Lite",
    ".mlmodel": "Core ML",
    ".xml": "OpenVINO",
    ".h5": "TensorFlow",
    ".msgpack": "Flax",
    ".ot": "Rust",
}

MAX_CONFIG = 1 << 20  # the most bytes of a configuration
MAX_TOKENIZER = 512 << 20
MAX_HOLES = 1 << 30  # the most bytes of a file that may be holes, which the disk does not hold
# Name of a file that counts → the most bytes it may have. The header of weights says their size.
LIMITS: Mapping[str, int] = {
    **dict.fromkeys(COUNTED - {WEIGHTS, ADAPTER_WEIGHTS}, MAX_CONFIG),
    **dict.fromkeys(("tokenizer_config.json", "added_tokens.json", INDEX), MAX_JSON),
    **dict.fromkeys((*TOKENIZERS, "merges.txt", "bpe.codes"), MAX_TOKENIZER),
}


def counted(names: Iterable[str]) -> list[str]:
    """Return the files that make up a checkpoint, sorted; ``names``: all, with ``/`` for folders.

    They are configurations, tokenizer and safetensors, at the top and in folders of modules
    (``1_Pooling``). Pickles, code, chat templates, other formats, and variants of the weights such
    as ``fp16`` never count.
    """
    names = set(names)
    chosen = []
    for name in names:
        folder, _, base = name.rpartition("/")
        if folder and not MODULE_FOLDER.fullmatch(folder):
            continue
        prefix = f"{folder}/" if folder else ""
        if SHARD.fullmatch(base):
            # transformers reads the single file where both are there, and so the shards count only
            # without it.
            if f"{prefix}{INDEX}" in names and f"{prefix}{WEIGHTS}" not in names:
                chosen.append(name)
        elif base in COUNTED and not (base == INDEX and f"{prefix}{WEIGHTS}" in names):
            chosen.append(name)
    return sorted(chosen)


def only_pickles(names: Collection[str]) -> bool:
    """Return whether a repository has pickles that `xharness convert` reads, and no safetensors."""
    ready = any(name.endswith(".safetensors") for name in counted(names))
    return bool(pickles_in(names)) and not ready


def pickles_in(names: Iterable[str]) -> list[str]:
    """Return the pickles of a model, its modules or an adapter that `xharness convert` reads.

    Where there is a single file, shards of the same weights are left out.
    """
    names = set(names)
    found = []
    for name in names:
        folder, slash, base = name.rpartition("/")
        if folder and not MODULE_FOLDER.fullmatch(folder):
            continue
        whole = f"{folder}{slash}{PICKLE}"
        if base in (PICKLE, ADAPTER_PICKLE) or (SHARDED.fullmatch(base) and whole not in names):
            found.append(name)
    return sorted(found)


def vet_listing(label: str, names: Collection[str], *, local: bool = False) -> None:
    """Refuse a repository, or a local folder, by its file names, before anything is downloaded.

    Raises:
        RefusedError: there are no safetensors, no weights at all, or no configuration. Where there
            are pickles, the message says how to convert them.
    """
    chosen = [name for name in counted(names) if "/" not in name or name.startswith("0_")]
    if not any(name.endswith(".safetensors") for name in chosen):
        pickles = sorted(
            name for name in names if name.endswith(PICKLES) and not _is_ir(name, names)
        )
        elsewhere = sorted(name for name in names if name.endswith(".safetensors"))
        foreign = [name for suffix in FOREIGN for name in sorted(names) if name.endswith(suffix)]
        if pickles:
            name = label if local else label.split("@")[0]
            request = f"pin its safetensors conversion pull request ({name}@refs/pr/N), or run "
            raise RefusedError(
                f"{label} has no weights but pickles ({pickles[0]}), which can run code: "
                f"{'run ' if local else request}`xharness convert {name} FOLDER`"
            )
        deeper = next((n.rpartition("/")[0] for n in elsewhere if n.endswith(f"/{WEIGHTS}")), None)
        if local and deeper is not None:
            raise RefusedError(
                f"{label} has no weights, but its folder {deeper} has: give {label.rstrip('/')}"
                f"/{deeper}"
            )
        if foreign:
            form = FOREIGN["." + foreign[0].rpartition(".")[2]]
            raise RefusedError(
                f"{label} has no weights that are read here, only {foreign[0]} ({form}): a "
                f"checkpoint needs {WEIGHTS}, take the one that this was exported from"
            )
        if elsewhere:
            raise RefusedError(
                f"{label} has no weights that are read here, only {elsewhere[0]}: a checkpoint "
                f"needs {WEIGHTS}"
            )
        holds = ", ".join(sorted(names)[:3]) or "nothing"
        raise RefusedError(f"{label} has no weights: it holds {holds}; it needs {WEIGHTS}")
    bases = {name.rpartition("/")[2] for name in chosen}
    if ADAPTER_CONFIG not in bases and "config.json" not in bases:
        raise RefusedError(f"{label} has no config.json: it names no architecture")


def _is_ir(name: str, names: Collection[str]) -> bool:
    """Return whether a .bin is of an OpenVINO model, with its .xml beside it, and not a pickle."""
    return name.endswith(".bin") and f"{name.removesuffix('.bin')}.xml" in names


def vet_pointers(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder in which Git LFS has left pointers in place of files.

    Raises:
        RefusedError: a file of ``names`` is one.
    """
    for name in names:
        if is_lfs_pointer(folder / name):
            raise RefusedError(pointer_words(name, folder))


def vet_sizes(sizes: Mapping[str, int]) -> None:
    """Refuse files (name → bytes) by their size, before one of them is read or downloaded.

    Raises:
        RefusedError: names the file and what is accepted.
    """
    for name in counted(sizes):
        most = LIMITS.get(name.rpartition("/")[2])
        if most is not None and sizes[name] > most:
            raise RefusedError(f"{name} is {sizes[name]:,} bytes, more than the {most:,} accepted")


def vet_files(folder: Path, names: Iterable[str]) -> None:
    """Refuse files of a folder that are endless or too large, before one of them is read.

    Raises:
        RefusedError: a file that counts is a device, a pipe or a link to nothing, is too large, or
            is mostly holes.
        IncompleteError: this machine cannot read it.
    """
    sizes = {}
    for name in counted(names):
        try:
            status = (folder / name).stat()
        except FileNotFoundError:
            raise RefusedError(f"{name} is a link to nothing") from None
        except OSError as error:
            raise IncompleteError(f"{name} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise RefusedError(f"{name} is a device or a pipe, not a file")
        sizes[name] = status.st_size
        # A block has 512 bytes on every disk; some systems do not count blocks.
        held = getattr(status, "st_blocks", 0) * 512
        if status.st_size - held > MAX_HOLES and _has_holes(folder / name, status.st_size):
            raise RefusedError(
                f"{name} is {status.st_size:,} bytes, of which the disk holds {held:,}: the rest "
                "are holes, which no weights have"
            )
    vet_sizes(sizes)


def _has_holes(path: Path, size: int) -> bool:
    if not hasattr(os, "SEEK_HOLE"):
        return False
    with path.open("rb") as file:
        return os.lseek(file.fileno(), 0, os.SEEK_HOLE) < size
