"""The process that opens pickles: it has no network, no token, and bounded memory.

``python -m harness.submissions.unpickle`` reads a job as JSON from stdin, writes safetensors files,
and prints the result as one line of JSON. ``harness.submissions.convert`` starts it.
"""

from __future__ import annotations

import json
import math
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from harness.io.limits import bound
from harness.submissions import sandbox

if TYPE_CHECKING:
    from torch import Tensor

MOST_TENSORS = 100_000
LONGEST_NAME = 1024
# Types of torch that are written, with the format's names; weights.DTYPES has their sizes.
NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip


class Refused(Exception):
    """The pickle is not a plain mapping of names to tensors."""


def main() -> None:
    """Give up all rights that are not needed, then convert the job's files one after another."""
    job = json.load(sys.stdin)
    had = [sandbox.leave_network(), sandbox.refuse_calls()]
    import torch

    torch.set_num_threads(1)
    had.append(sandbox.refuse_events(Path(job["target"])))
    had.append(bound(job["memory"], job["seconds"], job["most"]))
    print(json.dumps({"isolation": [text for text in had if text], "refused": attempt(job)}))


def attempt(job: Mapping[str, Any]) -> str:
    """Convert the job's files; return why one of them is refused, or nothing."""
    try:
        for file in job["files"]:
            place = Path(job["target"]) / file["name"]
            convert(Path(file["pickle"]), place, file["metadata"], job["most"])
    except Refused as error:
        return str(error)
    except MemoryError:
        return "it needs more memory than a checkpoint of its size"
    except Exception as error:
        return f"{type(error).__name__}: {_reason(str(error))}"
    return ""


def convert(pickle: Path, target: Path, metadata: dict[str, str], most: int) -> None:
    """Write the tensors of a pickle as safetensors, in a fixed order: the bytes are always equal.

    The format is described at https://github.com/huggingface/safetensors#format. Tensors that share
    memory are written separately. ``most``: the bytes that all tensors may have together.

    Raises:
        Refused: the pickle holds something else than named tensors, or more than ``most``.
    """
    tensors = checked(load(pickle), most)
    header: dict[str, Any] = {"__metadata__": metadata}
    position = 0
    # Wide types come first, so that each tensor starts at a multiple of its width.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    for name in order:
        tensor = tensors[name]
        end = position + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": NAMES[_type(tensor)],
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with target.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            _write(file, tensors[name])


def load(pickle: Path) -> Any:
    """Read a pickle that torch wrote; nothing in it is called but constructors of tensors."""
    import torch

    mapped = zipfile.is_zipfile(pickle)  # Files from before 2020 cannot be mapped into memory.
    return torch.load(pickle, map_location="cpu", weights_only=True, mmap=mapped)


def checked(content: Any, most: int) -> dict[str, Tensor]:
    """Return the content as a mapping of names to tensors; Refused for any other content."""
    import torch

    if not isinstance(content, dict) or not content:
        raise Refused(f"it holds {_a(content)}, not a mapping of names to tensors")
    if len(content) > MOST_TENSORS:
        raise Refused(f"it holds {len(content):,} tensors")
    total = 0
    for name, tensor in content.items():
        if not isinstance(name, str) or len(name) > LONGEST_NAME or name == "__metadata__":
            raise Refused(f"{str(name)[:80]!r} is no name of a tensor")
        if not isinstance(tensor, torch.Tensor):
            raise Refused(f"{name!r} is {_a(tensor)}, not a tensor: save the state_dict alone")
        if tensor.layout != torch.strided or tensor.is_quantized or _type(tensor) not in NAMES:
            raise Refused(f"{name!r} has type {tensor.dtype}, layout {tensor.layout}")
        size = math.prod(tensor.shape) * tensor.element_size()
        if size > tensor.untyped_storage().nbytes():
            raise Refused(f"{name!r} spans {size:,} bytes, more than the file holds of it")
        total += size
    if total > most:
        raise Refused(f"its tensors come to {total:,} bytes, far more than the file has")
    return dict(content)


def _write(file: IO[bytes], tensor: Tensor) -> None:
    import torch

    plain = tensor.detach().contiguous().reshape(-1)
    if plain.numel():
        file.write(plain.view(torch.uint8).numpy().data)


def _reason(text: str) -> str:
    """Return torch's reason without its advice, which is to load the file with less care."""
    text = " ".join(text.split())
    for start in (" trusted source. ", "WeightsUnpickler error: "):
        text = text.rpartition(start)[2]
    for end in (" Check the documentation", " Please use", " This file can still"):
        text = text.partition(end)[0]
    return text[:200]


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _a(value: object) -> str:
    return f"a {type(value).__name__}"


if __name__ == "__main__":
    main()
