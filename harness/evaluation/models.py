"""Turns the names and objects that a caller gives into checkpoints with their plans."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.data.folders import hub_cache
from harness.errors import HarnessError, NotFoundError, RefusedError, UsageError, one_line
from harness.evaluation.options import check_text
from harness.evaluation.plan import check_applies, make_plan
from harness.evaluation.planned import Plan
from harness.evaluation.request import Request, Runtime

if TYPE_CHECKING:
    from harness.checkpoint.resolve import Checkpoint

DEMO_MODEL = "xharness/demo"


class Encodes(Protocol):
    """An object that makes one vector per text."""

    def encode(self, texts: list[str], /) -> Any:
        """Return an array, a tensor or a list of vectors: float[n, d] for n texts."""


Model = str | os.PathLike[str] | Encodes


def plan_model(model: Model, request: Request, *, download: bool = True) -> Plan:
    """Resolve and vet a checkpoint and plan its run; no weight is loaded.

    ``download``: whether data that is not on disk is fetched; the checkpoint always is.
    """
    return make_plan(find_model(model, request), request, download=download)


def plan_models(
    models: Sequence[Model], request: Request, runtime: Runtime, failures: list[HarnessError]
) -> Iterator[Plan]:
    """Return the plan of each model, one after another; all models are resolved and vetted before.

    ``runtime``: where the runs take place; checkpoints come from where the request says.
    ``failures`` gets the error of each model that cannot be evaluated: it costs no other model.

    Raises:
        UsageError: what was asked for makes no sense, mostly for all models.
        IncompleteError: the models do not fit on the disk together.
    """
    from harness.evaluation.space import check_space
    from harness.io.files import check_folder

    check_folder("--out", runtime.out)
    check_folder("--cache-dir", runtime.cache)
    found: list[Checkpoint] = []
    if len(models) > 1:
        _check_room([one for one in models if isinstance(one, str)], request)
    for one in models:
        with collecting(failures):
            checkpoint = find_model(one, request)
            if len(models) > 1:
                check_applies(checkpoint, request)
            found.append(checkpoint)

    def plans() -> Iterator[Plan]:
        for checkpoint in found:
            planned: list[Plan] = []
            with collecting(failures):
                plan = make_plan(checkpoint, replace(request, runtime=runtime))
                check_space(plan)
                planned.append(plan)
            yield from planned

    return plans()


@contextmanager
def collecting(failures: list[HarnessError]) -> Iterator[None]:
    """Keep an error that is one model's for later; raise one about the options."""
    try:
        yield
    except UsageError:
        raise
    except HarnessError as error:
        failures.append(error)


def _check_room(names: Sequence[str], request: Request) -> None:
    """Refuse models that are not on the disk yet and do not fit there together."""
    from harness.checkpoint.address import is_folder, parse_model
    from harness.checkpoint.snapshot import Pending, check_room, pending

    if request.location.offline:
        return
    cache = hub_cache(request.runtime.cache)
    asked = [parse_model(name) for name in names if name != DEMO_MODEL and not is_folder(name)]
    found: list[Pending] = []
    for name, revision in asked:
        with suppress(NotFoundError, RefusedError):  # its own error, when it is resolved
            found.append(pending(name, revision, cache=cache))
    check_room(", ".join(one.id for one in found if one.missing), found, cache=cache)


def find_model(model: Model, request: Request) -> Checkpoint:
    """Return a checkpoint, resolved and vetted, or what stands for an object with ``encode``."""
    if isinstance(model, (str, os.PathLike)):
        return find_checkpoint(
            os.fspath(model), request.runtime.cache, offline=request.location.offline
        )
    from harness.inference.objects import given_model

    _check_object_options(request)
    return given_model(model)


def find_checkpoint(model: str, cache: Path, *, offline: bool) -> Checkpoint:
    """Return the checkpoint that a model name stands for; ``xharness/demo`` is built on the
    spot.
    """
    from harness.checkpoint.resolve import resolve

    check_text("model", model)
    if model == DEMO_MODEL:
        from harness.checkpoint.demo import build

        model = str(build(cache / "demo"))
    return resolve(model, cache=hub_cache(cache), offline=offline)


def listed_models(model: Model | Iterable[Model]) -> list[Any]:
    """Return the names as text, objects as they are; each name once.

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
    # Objects are told apart by identity, since they need not be comparable or hashable.
    return list({one if isinstance(one, str) else id(one): one for one in names}.values())


def _check_object_options(request: Request) -> None:
    """Raise UsageError for an option about what an object decides for itself."""
    from harness.inference.protocol import Protocol

    asked = request.protocol
    if asked != Protocol(prompts=asked.prompts) or any(asked.prompts.values()):
        raise UsageError(
            "an object with encode has its own pooling, layer, prompts and dtype: leave out "
            "protocol, pooling, layer, prompt_query, prompt_document and dtype"
        )
    if request.finetune:
        raise UsageError("finetune trains checkpoints: give a Hub id or a folder, not an object")
