"""Describes the safetensors files of a checkpoint without reading a tensor.

Only bounded JSON and file headers are read; neither torch nor safetensors is imported.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, IncompleteError, RefusedError, one_line
from harness.io import strict_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"[A-Za-z0-9_-]+-\d{5}-of-\d{5}\.safetensors")

MAX_JSON = 32 << 20  # bytes; added tokens, and an index of many shards, make long files
# A header may have so many bytes, which are enough for some 80,000 tensors. The format allows ten
# times as many, but they take minutes and gigabytes to read.
MAX_HEADER = 10_000_000
MAX_DEPTH = 32  # the most levels of nesting
MAX_RANK = 16  # the most dimensions of a tensor
MAX_BYTES = 1 << 48  # the most bytes of a file, and the most values along one dimension

# Type → bytes per element, as the safetensors format defines them.
DTYPES: Mapping[str, int] = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL"), 1),
}
FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Tensor:
    """The entry of one tensor in a safetensors header."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file from its header; no tensor is read.

    What the format promises (https://github.com/huggingface/safetensors#format) is checked: the
    header has a bounded length, types are known, shapes fill their byte ranges, and the ranges fill
    the data without holes and overlaps up to the end of the file. So a truncated download is found.

    Raises:
        RefusedError: the file breaks one of these rules.
        IncompleteError: the file is there but cannot be read.
    """
    header, length, size = _read_header(path)
    header.pop("__metadata__", None)
    tensors: dict[str, Tensor] = {}
    ranges: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        tensor, begin, end = _tensor(name, entry, path.name)
        tensors[name] = tensor
        ranges.append((begin, end, name))
    position = 0
    for begin, end, name in sorted(ranges):
        if begin != position:
            raise RefusedError(
                f"{path.name}: tensor {name!r} starts at byte {begin:,} of the data, not at "
                f"{position:,}: a hole or an overlap"
            )
        position = end
    if 8 + length + position != size:
        raise RefusedError(
            f"{path.name} is {size:,} bytes but its header describes {8 + length + position:,}: "
            "truncated or damaged; delete it and download again"
        )
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file, as text by key.

    Raises:
        RefusedError: the header is broken.
        IncompleteError: the file is there but cannot be read.
    """
    metadata = _read_header(path)[0].get("__metadata__")
    if not isinstance(metadata, dict):
        return {}
    return {key: value for key, value in metadata.items() if isinstance(value, str)}


def _read_header(path: Path) -> tuple[dict[str, Any], int, int]:
    """Return the header of a safetensors file as JSON, its length, and the file's size in bytes."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or 8 + length > size:
                raise RefusedError(
                    f"{path.name} is not a whole safetensors file: its header would be "
                    f"{length:,} bytes, the file is {size:,}"
                )
            if length > MAX_HEADER:
                raise RefusedError(
                    f"the header of {path.name} is {length:,} bytes, more than the "
                    f"{MAX_HEADER:,} accepted: save the weights in shards"
                )
            data = file.read(length)
    except OSError as error:
        raise _unreadable(path, error) from error
    header = parse_json(data, f"the header of {path.name}")
    if not isinstance(header, dict):
        raise RefusedError(f"the header of {path.name} is not a JSON object")
    return header, length, size


def _tensor(name: str, entry: Any, file: str) -> tuple[Tensor, int, int]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise RefusedError(f"{file}: the header entry of tensor {name!r} is malformed")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise RefusedError(
            f"{file}: tensor {name!r} has type {str(dtype)[:20]!r}; known: {', '.join(DTYPES)}"
        )
    if not (_naturals(shape) and _naturals(offsets) and len(offsets) == 2):
        raise RefusedError(f"{file}: tensor {name!r} has a malformed shape or byte range")
    begin, end = offsets
    if end - begin != math.prod(shape) * DTYPES[dtype]:
        raise RefusedError(
            f"{file}: tensor {name!r} of shape {shape} and type {dtype} has {end - begin:,} bytes"
        )
    return Tensor(dtype, tuple(shape)), begin, end


def _naturals(value: Any) -> bool:
    # The bounds keep the product of a shape small enough to be computed.
    return (
        isinstance(value, list)
        and len(value) <= MAX_RANK
        and all(type(item) is int and 0 <= item <= MAX_BYTES for item in value)
    )


def read_weights(folder: Path) -> tuple[tuple[Path, ...], dict[str, Tensor]]:
    """Return the safetensors files of a folder and their tensors.

    There is one file, or there are the shards that an index names.

    Raises:
        RefusedError: there are no weights, a file is broken, a shard is missing or outside of the
            folder, or the index does not match the shards.
    """
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,), read_header(folder / WEIGHTS)
    index = read_json(folder / INDEX)
    where = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(where, dict) or not where:
        raise RefusedError(f"{INDEX} has no weight_map")
    shards = sorted({str(shard) for shard in where.values()})
    for shard in shards:
        if not SHARD.fullmatch(shard):
            raise RefusedError(f"{INDEX} names {shard[:80]!r}, which is no shard of this folder")
        if not (folder / shard).is_file():
            raise RefusedError(f"{INDEX} names {shard}, which is not there: download it again")
    headers = {shard: read_header(folder / shard) for shard in shards}
    tensors: dict[str, Tensor] = {}
    for name, shard in where.items():
        if name not in headers[shard]:
            raise RefusedError(f"{INDEX} says that {name!r} is in {shard}, but it is not")
    for shard, header in headers.items():
        for name, tensor in header.items():
            if name in tensors or where.get(name) != shard:
                raise RefusedError(f"{shard} holds {name!r}, which {INDEX} does not place there")
            tensors[name] = tensor
    return tuple(folder / shard for shard in shards), tensors


def read_json(path: Path, *, limit: int = MAX_JSON) -> Any:
    """Read a JSON file strictly: size and depth are bounded; duplicate keys and NaN are errors.

    Raises:
        RefusedError: the file breaks these rules, or is not there.
        IncompleteError: the file is there but cannot be read.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= limit else b""
    except OSError as error:
        raise _unreadable(path, error) from error
    if size > limit:
        raise RefusedError(f"{path.name} is {size:,} bytes, more than the {limit:,} accepted")
    return parse_json(data, path.name)


def read_object(path: Path, *, limit: int = MAX_JSON) -> dict[str, Any]:
    """Read a JSON file that must be an object; it raises as `read_json` does."""
    value = read_json(path, limit=limit)
    if not isinstance(value, dict):
        raise RefusedError(f"{path.name} is not a JSON object")
    return value


def _unreadable(path: Path, error: OSError) -> HarnessError:
    # The checkpoint is at fault where a file is missing. Where the file is there, this machine or
    # its disk is at fault, and another attempt may succeed.
    absent = isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError))
    kind = RefusedError if absent else IncompleteError
    return kind(f"{path.name} cannot be read: {error.strerror}")


def parse_json(data: bytes, name: str) -> Any:
    """Parse JSON strictly, see ``strict_json``; ``name``: how messages call it."""
    try:
        value = strict_json.parse(data.decode("utf-8"))
    except ValueError as error:
        raise RefusedError(f"{name} is not valid JSON: {one_line(error, 200)}") from error
    if _deeper(value, MAX_DEPTH):
        raise RefusedError(f"{name} is nested more than {MAX_DEPTH} levels deep")
    return value


def _deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_deeper(item, levels - 1) for item in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_deeper(item, levels - 1) for item in value)
    return False
