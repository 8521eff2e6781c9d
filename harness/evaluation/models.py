"""What is evaluated: the names and objects that a caller gives → checkpoints with their plans."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.data.folders import hub_cache
from harness.errors import UsageError, one_line
from harness.evaluation.options import check_text
from harness.evaluation.plan import Plan, make_plan
from harness.evaluation.request import Request

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint

DEMO_MODEL = "xharness/demo"


class Encodes(Protocol):
    """An object that makes one vector per text."""

    def encode(self, texts: list[str], /) -> Any:
        """An array, a tensor or a list of vectors: float[n, d] for n texts."""


Model = str | os.PathLike[str] | Encodes


def plan_model(model: Model, request: Request, *, download: bool = True) -> Plan:
    """Resolve and vet a checkpoint and plan its run; no weight is loaded.

    ``download``: whether data that is not on disk is fetched; the checkpoint always is.
    """
    if isinstance(model, (str, os.PathLike)):
        checkpoint = find_checkpoint(
            os.fspath(model), request.runtime.cache, offline=request.location.offline
        )
    else:
        from harness.inference.objects import given_model

        _check_object_options(request)
        checkpoint = given_model(model)
    return make_plan(checkpoint, request, download=download)


def find_checkpoint(model: str, cache: Path, *, offline: bool) -> Checkpoint:
    """The checkpoint that a model name stands for; ``xharness/demo`` is built on the spot."""
    from harness.checkpoint.resolve import resolve

    check_text("model", model)
    if model == DEMO_MODEL:
        from harness.checkpoint.demo import build

        model = str(build(cache / "demo"))
    return resolve(model, cache=hub_cache(cache), offline=offline)


def listed_models(model: Model | Iterable[Model]) -> list[Any]:
    """Names as text, objects as they are; each name once.

    Raises:
        UsageError: there is none, or one that cannot be evaluated.
    """
    from harness.inference.objects import TAKES, can_encode

    several = isinstance(model, (Sequence, Set, Iterator)) and not isinstance(model, (str, bytes))
    given = list(model) if several and not can_encode(model) else [model]  # type: ignore[arg-type]
    if not given:
        raise UsageError(f"no model: {TAKES}")
    for one in given:
        if not isinstance(one, (str, os.PathLike)) and not can_encode(one):
            shown = one_line(repr(one), 60)
            raise UsageError(f"cannot evaluate {shown} ({type(one).__name__}): {TAKES}")
    names = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in given]
    # An object is its own only equal: it need not be one that can be compared or hashed.
    return list({one if isinstance(one, str) else id(one): one for one in names}.values())


def _check_object_options(request: Request) -> None:
    """UsageError for an option about what an object decides for itself."""
    from harness.inference.protocol import Protocol

    asked = request.protocol
    if asked != Protocol(prompts=asked.prompts) or any(asked.prompts.values()):
        raise UsageError(
            "an object with encode has its own pooling, layer, prompts and dtype: leave out "
            "protocol, pooling, layer, prompt_query, prompt_document and dtype"
        )
    if request.finetune:
        raise UsageError("finetune trains checkpoints: give a Hub id or a folder, not an object")
