"""The options of `eval`: a device that is there, by a number that it has."""

from __future__ import annotations

import pytest
import torch

from harness.errors import UsageError
from harness.evaluation.options import choose_device, make_request


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


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


@pytest.mark.parametrize("name", ["prompt_query", "prompt_document", "data", "out", "cache_dir"])
def test_text_that_utf8_cannot_hold(name: str) -> None:
    # As a shell hands on the byte 0xff.
    with pytest.raises(UsageError, match="is not UTF-8") as caught:
        make_request(**{name: "query\udcff: "})  # type: ignore[arg-type]
    assert str(caught.value).isprintable()
