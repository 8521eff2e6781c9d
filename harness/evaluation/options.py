"""Declares the options of an evaluation once, for Python and for the command line.

The fields of `Options` are the parameters of ``harness.evaluate`` and ``harness.plan``, and the
options of ``xharness eval`` and ``xharness plan``, with their types, defaults, choices and help.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, fields
from functools import cache, wraps
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Concatenate,
    Literal,
    NamedTuple,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from harness.errors import UsageError
from harness.evaluation.devices import choose_devices, node_device
from harness.evaluation.reporting import Reporter
from harness.inference.protocol import Dtype, Pooling, ProtocolName

if TYPE_CHECKING:
    from harness.evaluation.request import Request

PathName = str | Path
Names = str | Iterable[str] | None
EngineName = Literal["local", "ray"]

Declared = ParamSpec("Declared")
Given = TypeVar("Given")
Result = TypeVar("Result")


class Option(NamedTuple):
    """How an option is shown on the command line: ``flag`` where it is not the field's name."""

    help: str
    flag: str = ""
    metavar: str | None = None


@dataclass(frozen=True)
class Options:
    """What may be asked of an evaluation; `None` leaves a choice to its default.

    A field without an `Option` is one of Python alone: ``progress`` says on stderr how the run
    goes, and ``reporter`` receives the events in its place.
    """

    tasks: Annotated[
        Names,
        Option(
            "A task, or the path of a card (./task.yaml); repeat it, or a,b for several.", "--task"
        ),
    ] = None
    _: KW_ONLY
    suite: Annotated[str | None, Option("A suite of tasks. Default: xtreme-r.")] = None
    languages: Annotated[
        Names, Option("A language code, such as de; repeat it, or de,fr for several.", "--lang")
    ] = None
    split: Annotated[str | None, Option("Split to evaluate (default: the task's).")] = None
    protocol: Annotated[ProtocolName, Option("How texts become vectors.")] = "standard"
    pooling: Annotated[Pooling | None, Option("Pooling (default: the protocol's).")] = None
    layer: Annotated[
        int | str, Option("Layer to pool: a number, auto, or all.", metavar="K|auto|all")
    ] = "auto"
    prompt_query: Annotated[str | None, Option("Text put before every query.")] = None
    prompt_document: Annotated[str | None, Option("Text put before every document.")] = None
    dtype: Annotated[Dtype, Option("Precision of the weights and of the forward pass.")] = "float32"
    device: Annotated[
        str | None,
        Option(
            "cpu, cuda or mps; several GPUs, each with a process of its own (cuda:0,cuda:1); or "
            "all of them.",
            metavar="D[,D...]|all",
        ),
    ] = None
    workers: Annotated[
        int | None,
        Option("CPU processes that share languages and texts; each loads the model."),
    ] = None
    batch_tokens: Annotated[
        int | None,
        Option("Token budget per batch, padding included; halved on out-of-memory."),
    ] = None
    limit: Annotated[
        int | None,
        Option("Only the first N queries of each language; they are searched in the whole pool."),
    ] = None
    smoke: Annotated[
        bool,
        Option(
            "Try the whole path on a few texts of each task, in seconds; nothing is kept.",
            "--smoke",
        ),
    ] = False
    seed: Annotated[int, Option("Random seed of a tuning, or of a sample of rows.")] = 0
    data: Annotated[
        PathName | None,
        Option("Folder with the official files (or set XHARNESS_DATA).", metavar="DIR"),
    ] = None
    out: Annotated[PathName, Option("Where results are kept.", metavar="DIR")] = (
        "leaderboard/results"
    )
    cache_dir: Annotated[
        PathName | None, Option("Where downloads and vectors are kept.", metavar="DIR")
    ] = None
    offline: Annotated[bool, Option("Make no connection at all.", "--offline")] = False
    finetune: Annotated[
        bool,
        Option(
            "Measure what needs a head (QA, classification, multiple choice, tagging), LAReQA and "
            "Mewsli-X in the tuned track: a fresh head or dual encoder is trained first, by one "
            "recipe on every checkpoint, and kept in the cache. Tatoeba is measured both ways.",
            "--finetune/--no-finetune",
        ),
    ] = False
    fresh: Annotated[
        bool, Option("Measure again what is finished, in the languages asked for.", "--fresh")
    ] = False
    engine: Annotated[
        EngineName,
        Option("This machine alone, or Ray (the cluster at RAY_ADDRESS, else this machine)."),
    ] = "local"
    reporter: Reporter | None = None
    progress: bool = False


def takes_options(
    declared: Callable[Declared, Options],
) -> Callable[[Callable[[Given, Options], Result]], Callable[Concatenate[Given, Declared], Result]]:
    """Give a function of something and `Options` every option as a parameter of its own."""

    def decorate(
        function: Callable[[Given, Options], Result],
    ) -> Callable[Concatenate[Given, Declared], Result]:
        own = inspect.signature(function)
        first = next(iter(own.parameters.values()))
        options = [
            parameter.replace(annotation=hints()[name])
            for name, parameter in inspect.signature(Options).parameters.items()
        ]
        signature = own.replace(parameters=[first, *options])

        @wraps(function)
        def called(*positional: Any, **named: Any) -> Result:
            given = signature.bind(*positional, **named).arguments
            return function(given.pop(first.name), Options(**given))

        called.__signature__ = signature  # type: ignore[attr-defined]
        return called

    return decorate


@cache  # every command asks, and reading annotations takes longer than all else in importing it
def hints() -> Mapping[str, Any]:
    """Return the type of each field of `Options`."""
    return get_type_hints(Options)


@cache
def shown_options() -> Mapping[str, Option]:
    """Return how the command line shows each field of `Options`, but for those of Python alone."""
    shown = get_type_hints(Options, include_extras=True)
    found = {
        field.name: getattr(shown[field.name], "__metadata__", ()) for field in fields(Options)
    }
    return {name: metadata[0] for name, metadata in found.items() if metadata}


def listed(names: Names) -> tuple[str, ...]:
    """Return one name, several or none, as a tuple; ``de,fr`` is two. A path may hold a comma."""
    if names is None:
        return ()
    given = (names,) if isinstance(names, str) else tuple(names)
    found: list[str] = []
    for name in given:
        if not isinstance(name, str):
            raise UsageError(f"{name!r:.80} is no name: give text")
        path = "/" in name or name.endswith((".yaml", ".yml"))
        parts = [part.strip() for part in name.split(",") if part.strip()]
        found += parts if parts and not path else [name]
    return tuple(found)


def make_request(options: Options) -> Request:
    """Return the options as a checked request.

    Raises:
        UsageError: an option has a value that does not exist or cannot be had.
    """
    _check_types(options)
    from harness.data.folders import cache_folder, data_folder
    from harness.data.layout import DataLocation
    from harness.evaluation.engines import choose
    from harness.evaluation.request import Request, Runtime, Selection
    from harness.inference.protocol import Protocol

    choose(options.engine)
    for name in ("prompt_query", "prompt_document", "data", "out", "cache_dir"):
        check_text(f"--{name.replace('_', '-')}", getattr(options, name))
    folder, results = data_folder(options.data), Path(options.out)
    if options.engine != "local":  # workers do not start in this folder
        folder, results = folder and folder.absolute(), results.absolute()
    chosen, worker_devices = _devices(options)
    _check_finetune(options, chosen)
    cache = cache_folder(options.cache_dir)
    return Request(
        Selection(
            suite=options.suite,
            tasks=listed(options.tasks),
            languages=listed(options.languages),
            split=options.split,
            limit=options.limit,
            smoke=options.smoke,
        ),
        Protocol(
            name=options.protocol,
            pooling=options.pooling,
            layer=_layer(options.layer),  # type: ignore[arg-type]
            prompts={"query": options.prompt_query, "document": options.prompt_document},
            dtype=options.dtype,
        ),
        Runtime(
            out=results,
            cache=cache,
            device=chosen,
            worker_devices=worker_devices,
            batch_tokens=options.batch_tokens,
            fresh=options.fresh,
        ),
        DataLocation(folder, cache, options.offline),
        seed=options.seed,
        finetune=options.finetune,
    )


def _devices(options: Options) -> tuple[str, tuple[str, ...]]:
    """Return the device, and those of the worker processes of this machine where there are
    several.
    """
    if options.engine == "local":
        return choose_devices(options.device, options.workers)
    device = node_device(options.device)
    if options.workers is not None:
        raise UsageError(
            f"--workers {options.workers} with --engine {options.engine}: leave it out, the "
            "cluster has a worker for each of its GPUs or cores"
        )
    return device, ()


def _check_finetune(options: Options, device: str) -> None:
    """Raise UsageError for what does not go together with a tuning."""
    if not options.finetune:
        return
    if ":" in device:
        raise UsageError(
            f"device {device!r} with --finetune: choose the GPU with CUDA_VISIBLE_DEVICES"
        )
    if options.smoke:
        raise UsageError("--smoke with --finetune: leave one out, a tuning has no small pool")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("--finetune trains in one process: start it without torchrun")


def _check_types(options: Options) -> None:
    """Raise UsageError for a value of a type that its option does not take: Python passes any."""
    for name in shown_options():
        value, types = getattr(options, name), tuple(_types(hints()[name]))
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise UsageError(
                f"{name} = {value!r:.80} is of type {type(value).__name__}: give "
                f"{' or '.join(dict.fromkeys(one.__name__.removesuffix('Type') for one in types))}"
            )
        if value == "" and not name.startswith("prompt_"):  # "" as a folder is this one
            raise UsageError(f"{name} is empty: give a value, or leave it out")


def _types(hint: Any) -> Iterator[type]:
    """Yield the classes that values of a type hint have."""
    if get_origin(hint) in (Union, UnionType):
        for part in get_args(hint):
            yield from _types(part)
    elif get_origin(hint) is Literal:
        yield from map(type, get_args(hint))
    else:
        yield get_origin(hint) or hint


def check_text(what: str, text: object) -> None:
    """Raise UsageError for text that UTF-8 cannot hold: a shell hands other bytes on as half pairs.

    No tokenizer takes it, and no metadata or message can keep it.
    """
    from harness.io.strict_json import has_half_pair

    if text is not None and has_half_pair(str(text)):
        raise UsageError(f"{what} {str(text)[:80]!a} is not UTF-8: give text in UTF-8")


def _layer(layer: int | str) -> int | str:
    if isinstance(layer, int) or layer in ("auto", "all"):
        return layer
    if layer.isdecimal() and len(layer) < 10:
        return int(layer)
    raise UsageError(f"--layer {layer[:40]}: give a number, auto or all")
