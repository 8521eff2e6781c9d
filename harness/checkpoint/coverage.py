"""Did every weight come from the checkpoint, and is every one a number?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.errors import RefusedError


def check_coverage(
    model: Any, info: Mapping[str, Any], allowed: tuple[str, ...], scope: str
) -> None:
    """Refuse a model of which any weight did not come from the checkpoint.

    ``info``: what transformers' loading says; ``allowed``: prefixes of what may be missing;
    ``scope``: the prefix of what counts, with its dot.

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


def check_finite(model: Any, allowed: tuple[str, ...]) -> None:
    """Refuse NaN and infinity in the weights; a sum finds them in one pass.

    Raises:
        RefusedError: a weight that is not under an ``allowed`` prefix has one.
    """
    import torch

    for name, parameter in model.named_parameters():
        total = parameter.detach().sum(dtype=torch.float32).item()
        if name.startswith(allowed) or math.isfinite(total):
            continue
        bad = int((~parameter.detach().isfinite()).sum())  # finite values may sum to infinity
        if bad:
            raise RefusedError(
                f"NaN or infinity in {name} ({bad:,} of {parameter.numel():,} values)"
            )
