"""What ends a training, and how it is told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.cards.training import Recipe
from harness.errors import IncompleteError
from harness.training.curve import LossLog
from harness.training.progress import Silent
from harness.training.saves import save_now
from harness.training.trainer import Settings, run_steps


class OneStep:
    """As much of steps as is asked for before training."""

    rank, world = 0, 1

    def __len__(self) -> int:
        return 1


def ended(error: BaseException, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def train(self, **options: Any) -> None:
            raise error

    monkeypatch.setattr("harness.training.scheduled.ScheduledTrainer", lambda *args: Failing())
    steps: Any = OneStep()
    settings = Settings(Recipe(), 0, False, "cpu")
    run_steps(None, steps, settings, folder, LossLog(folder / "loss.tsv"), Silent())


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_out_of_memory_has_a_remedy(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(IncompleteError, match="out of memory at a batch of 16: lower --batch-size"):
        ended(error, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered",
        "expected memory format channels_last",
        "DataLoader worker killed: insufficient shared memory (shm)",
    ],
)
def test_what_only_speaks_of_memory_is_itself(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match=text.split("(")[0]):
        ended(RuntimeError(text), tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("planned", "since", "cost", "saves"),
    [
        (True, 1.0, 0.0, True),  # what the first one costs is not known yet
        (True, 1.0, 0.5, True),  # a cheap one
        (True, 79.0, 4.0, False),  # more than a twentieth of the time
        (True, 80.0, 4.0, True),
        (False, 80.0, 4.0, False),
        (False, 901.0, 4.0, True),  # no longer than a quarter of an hour without one,
        (False, 901.0, 60.0, False),  # unless it is dear
        (False, 1_200.0, 60.0, True),
    ],
)
def test_saves_are_as_rare_as_they_are_dear(
    planned: bool, since: float, cost: float, saves: bool
) -> None:
    assert save_now(planned, since, cost) is saves
