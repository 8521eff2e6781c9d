"""The gradient of a large embedding is the same, in memory that is kept."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from harness.training import gradients
from harness.training.gradients import kept_gradients

ROWS, WIDTH = 50, 8
# Rows come twice, the one of padding too, and some not before the last step or never.
STEPS = ([[0, 3, 3, 1], [7, 1, 0, 0]], [[5, 5, 5, 9]], [[3, 2, 1, 0], [49, 9, 9, 3]])


class Model(torch.nn.Module):
    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = torch.nn.Embedding(ROWS, WIDTH, padding_idx=1)
        self.inner = torch.nn.Linear(WIDTH, WIDTH)
        self.again = self.words  # a second name of one module is no second use
        self.outer = torch.nn.Linear(WIDTH, ROWS if tied else WIDTH)
        if tied:
            self.outer.weight = self.words.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.outer(self.inner(self.words(ids)).tanh())
        return out


def trained(
    kept: bool, *, tied: bool = False, twice: bool = False
) -> tuple[list[torch.Tensor], list[int]]:
    """All parameters after every step of AdamW, and where the embedding's gradient was."""
    model = Model(tied=tied)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 0.1, 1.0, 3)
    states, places = [], []
    with kept_gradients(model) if kept else nullcontext():
        for ids in STEPS:
            loss = model(torch.tensor(ids)).square().sum()
            if twice:
                loss = loss + model(torch.tensor(ids).flip(1)[:, 1:]).exp().sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            assert model.words.weight.grad is not None
            assert not model.words.weight.grad.is_sparse
            places.append(model.words.weight.grad.data_ptr())
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            states.append(torch.cat([one.detach().flatten() for one in model.parameters()]))
    assert not model.words.sparse
    return states, places


@pytest.mark.parametrize("tied", [False, True])
def test_the_same_steps_to_the_last_bit(tied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "LARGE", ROWS * WIDTH)
    own, places = trained(kept=True, tied=tied)
    plain, _ = trained(kept=False, tied=tied)
    for one, other in zip(own, plain, strict=True):
        assert torch.equal(one, other)
    assert tied or len(set(places)) == 1


def test_the_same_steps_where_a_step_looks_up_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "LARGE", ROWS * WIDTH)
    own, _ = trained(kept=True, twice=True)
    plain, _ = trained(kept=False, twice=True)
    torch.testing.assert_close(own, plain, rtol=1e-5, atol=1e-6)


def test_small_and_frozen_embeddings_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(tied=False)
    with kept_gradients(model):
        assert not model.words.sparse
    monkeypatch.setattr(gradients, "LARGE", 1)
    model.words.requires_grad_(False)
    with kept_gradients(model):
        assert not model.words.sparse
