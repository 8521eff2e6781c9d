"""Devices: one that is there, by a number that it has, and those of several processes."""

from __future__ import annotations

import pytest
import torch

from harness.errors import UsageError
from harness.evaluation.devices import choose_device, choose_devices


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("device", ["cpu", "cpu:0", "cuda", "cuda:0", "cuda:1"])
def test_a_device_that_is_there(device: str) -> None:
    assert choose_device(device) == device
    assert choose_device(None) == "cuda"


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    "device",
    ["cuda:2", "cuda:-1", "cuda:x", "cuda:", "cuda:01", "cuda:1:0", "cuda:²", "cpu:foo", "cpu:1"],
)
def test_a_device_by_a_number_that_it_has_not(device: str) -> None:
    with pytest.raises(UsageError, match=f"device '{device}' is not on this machine") as caught:
        choose_device(device)
    assert "\n" not in str(caught.value)


def test_no_gpu_and_no_such_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(None) == "cpu"
    with pytest.raises(UsageError, match="'cuda' is not on this machine: use --device cpu"):
        choose_device("cuda")
    with pytest.raises(UsageError, match="unknown device 'gpu:0'"):
        choose_device("gpu:0")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("device", "workers", "chosen"),
    [
        (None, None, ("cuda", ())),
        ("cuda:1", 1, ("cuda:1", ())),
        ("cuda:1,cuda:0", None, ("cuda", ("cuda:1", "cuda:0"))),
        ("all", None, ("cuda", ("cuda:0", "cuda:1"))),
        ("cpu", 1, ("cpu", ())),
        ("cpu", 3, ("cpu", ("cpu", "cpu", "cpu"))),
    ],
)
def test_devices_and_the_processes_that_they_have(
    device: str | None, workers: int | None, chosen: tuple[str, tuple[str, ...]]
) -> None:
    assert choose_devices(device, workers) == chosen


def test_all_devices_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_devices("all", None) == ("cpu", ())
    assert choose_devices("all", 2) == ("cpu", ("cpu", "cpu"))


def test_all_of_one_gpu_is_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_devices("all", None) == choose_devices("cuda", None) == ("cuda", ())
