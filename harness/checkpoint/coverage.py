"""Checks that every weight came from the checkpoint, and that every value is a number."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from harness.checkpoint.weights import FLOATS, Tensor
from harness.errors import RefusedError

# Checkpoints of TensorFlow call the weights of a norm by these names; transformers reads both.
OLD_NAMES: Mapping[str, str] = {".gamma": ".weight", ".beta": ".bias"}


def check_coverage(
    model: Any, info: Mapping[str, Any], allowed: tuple[str, ...], scope: str
) -> None:
    """Refuse a model of which any weight did not come from the checkpoint.

    ``info``: the report of transformers about loading. ``allowed``: prefixes of weights that may be
    missing. ``scope``: the prefix, with its dot, of the weights that count.

    Raises:
        RefusedError: a weight is missing, has another shape or does not load.
    """
    missing = sorted(
        name
        for name in info["missing_keys"]
        if name.startswith(scope) and not name.startswith(allowed)
    )
    mismatched = sorted(
        (name, tuple(found), tuple(expected))
        for name, found, expected in info["mismatched_keys"]
        if name.startswith(scope)
    )
    total = sum(name.startswith(scope) for name, _ in model.named_parameters())
    if missing:
        raise RefusedError(
            f"{len(missing)} of {total} {'' if scope == '' else 'encoder '}weights are not in the "
            f"checkpoint, first: {', '.join(missing[:3])}"
        )
    if mismatched:
        name, found, expected = mismatched[0]
        raise RefusedError(
            f"{len(mismatched)} of {total} weights have another shape than config.json says, "
            f"first: {name} is {list(found)}, not {list(expected)}"
        )
    if info["error_msgs"]:
        raise RefusedError(f"weights do not load: {' '.join(str(info['error_msgs'][0]).split())}")


def check_unambiguous(
    tensors: Mapping[str, Tensor], parameters: Collection[str], prefixes: Collection[str]
) -> None:
    """Refuse weights that can be understood in more than one way.

    ``parameters``: the names in the model. ``prefixes``: prefixes that they may have in a file.

    Raises:
        RefusedError: a weight has two names, or a type that only quantized weights have.
    """
    for name, tensor in tensors.items():
        new = next((name[: -len(a)] + b for a, b in OLD_NAMES.items() if name.endswith(a)), name)
        if new != name and new in tensors:
            raise RefusedError(f"the weights hold both {name} and {new}: which is meant?")
        part = name.rpartition(".")[2]
        weighty = part in ("weight", "gamma", "beta") or (part == "bias" and len(tensor.shape) == 1)
        if weighty and tensor.dtype not in FLOATS:
            raise RefusedError(
                f"{name} is of type {tensor.dtype}: quantized weights without their scales are not "
                "read, use the unquantized checkpoint"
            )
    for parameter in parameters:
        if parameter.startswith("pooler."):
            continue
        found = [
            name
            for prefix in prefixes
            if (name := f"{prefix}{parameter}") in tensors
            # A name such as encoder.x may be a prefix and x, or a parameter of its own.
            and not any(
                name != f"{other}{parameter}" and name.removeprefix(other) in parameters
                for other in prefixes
                if name.startswith(other)
            )
        ]
        if len(found) > 1:
            raise RefusedError(f"the weights hold both {found[0]} and {found[1]}: which is meant?")


def check_finite(model: Any, allowed: tuple[str, ...]) -> None:
    """Refuse NaN and infinity in the weights, which a sum shows in one pass.

    ``allowed``: prefixes of weights that are not checked.

    Raises:
        RefusedError: a weight has such a value.
    """
    import torch

    for name, parameter in model.named_parameters():
        total = parameter.detach().sum(dtype=torch.float32).item()
        if name.startswith(allowed) or math.isfinite(total):
            continue
        bad = int((~parameter.detach().isfinite()).sum())  # Finite values may sum to infinity.
        if bad:
            raise RefusedError(
                f"NaN or infinity in {name} ({bad:,} of {parameter.numel():,} values)"
            )
