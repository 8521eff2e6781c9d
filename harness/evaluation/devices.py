"""Chooses the device of a run, and those of its worker processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from harness.errors import UsageError, unknown_name

# Other name of a device → the name that torch knows.
OTHER_DEVICES: Mapping[str, str] = {
    **dict.fromkeys(("gpu", "gpus", "nvidia", "rocm", "hip"), "cuda"),
    **dict.fromkeys(("metal", "apple", "m1"), "mps"),
    "cuda": "cuda",
    "cpus": "cpu",
}


def node_device(device: str | None) -> str:
    """Return the device of a cluster's nodes, which this machine need not have.

    Raises:
        UsageError: one is chosen by number, which the cluster does.
    """
    if device == "cuda":
        return device
    if device is not None and (device.startswith("cuda:") or "," in device or device == "all"):
        raise UsageError(f"device {device!r} with --engine ray: use cuda, Ray deals the GPUs out")
    return choose_device(device)


def choose_devices(device: str | None, workers: int | None) -> tuple[str, tuple[str, ...]]:
    """Return the device, and those of the worker processes where there are to be several.

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
        device = "cuda" if count else "cpu"
        if count > 1:
            device = ",".join(f"cuda:{number}" for number in range(count))
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
    """Return the device asked for, else cuda where there is one, else the CPU.

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
        if kind.lower() in OTHER_DEVICES:
            meant = OTHER_DEVICES[kind.lower()] + colon + index
            raise UsageError(f"unknown device {device!r}: did you mean {meant}?")
        raise unknown_name("device", device, there)
    count = there[kind]()
    if not count or (colon and index not in map(str, range(count))):
        raise UsageError(f"device {device!r} is not on this machine: use --device cpu")
    return device
