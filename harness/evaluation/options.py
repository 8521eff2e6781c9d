"""The options of `eval`, from the command line or from Python → a checked request."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from harness.data.folders import cache_folder, data_folder
from harness.errors import UsageError, unknown_name
from harness.evaluation.request import Request
from harness.io.strict_json import has_half_pair

DEFAULT_OUT = Path("leaderboard/results")


def make_request(
    *,
    tasks: Iterable[str] = (),
    languages: Iterable[str] = (),
    suite: str | None = None,
    split: str | None = None,
    protocol: str = "standard",
    pooling: str | None = None,
    layer: int | str = "auto",
    prompt_query: str | None = None,
    prompt_document: str | None = None,
    dtype: str = "float32",
    device: str | None = None,
    workers: int | None = None,
    batch_tokens: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    data: str | Path | None = None,
    out: str | Path = DEFAULT_OUT,
    cache_dir: str | Path | None = None,
    offline: bool = False,
    finetune: bool = False,
    engine: str = "local",
    fresh: bool = False,
) -> Request:
    """The options as a checked request.

    Raises:
        UsageError: an option has a value that does not exist or cannot be had.
    """
    from harness.evaluation.engines import choose
    from harness.inference.protocol import Protocol

    choose(engine)
    for name, text in {
        "--prompt-query": prompt_query, "--prompt-document": prompt_document,
        "--data": data, "--out": out, "--cache-dir": cache_dir,
    }.items():  # fmt: skip
        check_text(name, text)
    folder, results = data_folder(data), Path(out)
    worker_devices: tuple[str, ...] = ()
    if engine == "local":
        chosen, worker_devices = choose_devices(device, workers)
    else:  # workers do not start in this folder
        folder, results = folder and folder.absolute(), results.absolute()
        chosen = _node_device(device)
        if workers is not None:
            raise UsageError(
                f"--workers {workers} with --engine {engine}: leave it out, the cluster has a "
                "worker for each of its GPUs or cores"
            )
    if finetune and ":" in chosen:
        raise UsageError(
            f"device {chosen!r} with --finetune: choose the GPU with CUDA_VISIBLE_DEVICES"
        )
    if finetune and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("--finetune trains in one process: start it without torchrun")
    return Request(
        suite=suite,
        tasks=tuple(tasks),
        languages=tuple(languages),
        split=split,
        protocol=Protocol(
            name=protocol,  # type: ignore[arg-type]  # checked by Protocol
            pooling=pooling,  # type: ignore[arg-type]
            layer=_layer(layer),  # type: ignore[arg-type]
            prompts={"query": prompt_query, "document": prompt_document},
            dtype=dtype,  # type: ignore[arg-type]
        ),
        device=chosen,
        worker_devices=worker_devices,
        batch_tokens=batch_tokens,
        limit=limit,
        seed=seed,
        data=folder,
        out=results,
        cache=cache_folder(cache_dir),
        offline=offline,
        finetune=finetune,
        fresh=fresh,
    )


def check_text(what: str, text: object) -> None:
    """UsageError for text that UTF-8 cannot hold: a shell hands other bytes on as half pairs.

    No tokenizer takes it, and no metadata or message can keep it.
    """
    if text is not None and has_half_pair(str(text)):
        raise UsageError(f"{what} {str(text)[:80]!a} is not UTF-8: give text in UTF-8")


def _layer(layer: int | str) -> int | str:
    if isinstance(layer, int) or layer in ("auto", "all"):
        return layer
    if layer.isdecimal():
        return int(layer)
    raise UsageError(f"--layer {layer}: give a number, auto or all")


def _node_device(device: str | None) -> str:
    """The device of a cluster's nodes, which this machine need not have.

    Raises:
        UsageError: one is chosen by number, which the cluster does.
    """
    if device == "cuda":
        return device
    if device is not None and (device.startswith("cuda:") or "," in device or device == "all"):
        raise UsageError(f"device {device!r} with --engine ray: use cuda, Ray deals the GPUs out")
    return choose_device(device)


def choose_devices(device: str | None, workers: int | None) -> tuple[str, tuple[str, ...]]:
    """The device, and those of the worker processes where there are to be several.

    ``device``: one, several GPUs by number (``cuda:0,cuda:1``), or ``all`` GPUs of this machine
    (its processors where there is none). ``workers``: processes that share the processors.

    Raises:
        UsageError: a device is not there or named twice, or these do not go together.
    """
    import torch

    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: give a whole number from 1")
    if device == "all":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        device = ",".join(f"cuda:{number}" for number in range(count)) or "cpu"
    names = device.split(",") if device else []
    for name in names:
        choose_device(name)
        if len(names) > 1 and not name.startswith("cuda:"):
            raise UsageError(f"device {device!r}: of several, each is a GPU by number, as cuda:0")
    if len(set(names)) < len(names):
        raise UsageError(f"device {device!r}: one is named twice, give each once")
    chosen = "cuda" if len(names) > 1 else choose_device(device)
    if workers is not None and workers > 1 and chosen.split(":")[0] != "cpu":
        raise UsageError(
            f"--workers {workers} share the processors: add --device cpu, or leave it out and "
            "name the GPUs (--device cuda:0,cuda:1 or all)"
        )
    several = tuple(names) if len(names) > 1 else ("cpu",) * (workers or 1)
    if len(several) == 1:
        return chosen, ()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("several devices or --workers start processes: do it without torchrun")
    return chosen, several


def choose_device(device: str | None) -> str:
    """The device asked for, else cuda where there is one, else the CPU.

    Raises:
        UsageError: the device is not there.
    """
    import torch

    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    there: Mapping[str, Callable[[], int]] = {
        "cpu": lambda: 1,
        "cuda": lambda: torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": lambda: int(torch.backends.mps.is_available()),
    }
    kind, colon, index = device.partition(":")
    if kind not in there:
        raise unknown_name("device", device, there)
    count = there[kind]()
    if not count or (colon and index not in map(str, range(count))):
        raise UsageError(f"device {device!r} is not on this machine: use --device cpu")
    return device
