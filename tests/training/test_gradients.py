"""The steps over a large embedding are the same, by rows and in memory that is kept."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from harness.training import gradients
from harness.training.gradients import MOMENTS, clip_norm, kept_gradients, update_rows

ROWS, WIDTH = 50, 16
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
    kept: bool,
    *,
    tied: bool = False,
    twice: bool = False,
    decay: float = 0.1,
    most: float = 1.0,
    resumed: bool = False,
) -> tuple[list[torch.Tensor], list[int]]:
    """All parameters after every step of AdamW, and where the embedding's gradient was."""
    model = Model(tied=tied)

    def made() -> torch.optim.AdamW:
        own = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=decay, fused=True)
        update_rows(own, gradients_kept)
        return own

    states, places = [], []
    with kept_gradients(model) if kept else nullcontext({}) as gradients_kept:
        optimiser = made()
        schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 0.1, 1.0, 3)
        for ids in STEPS:
            loss = model(torch.tensor(ids)).square().sum()
            if twice:
                loss = loss + model(torch.tensor(ids).flip(1)[:, 1:]).exp().sum()
            loss.backward()
            if kept:
                norm = clip_norm(model.parameters(), most, gradients_kept)
            else:
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), most)
            assert model.words.weight.grad is not None
            assert not model.words.weight.grad.is_sparse
            places.append(model.words.weight.grad.data_ptr())
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            moments = optimiser.state[model.words.weight]
            whole = [*model.parameters(), *moments.values(), norm]
            states.append(torch.cat([one.detach().flatten() for one in whole]))
            if resumed:
                saved = optimiser.state_dict()
                optimiser = made()
                optimiser.load_state_dict(saved)
                schedule.optimizer = optimiser
    assert not model.words.sparse
    return states, places


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("most", [1.0, 1e6])
@pytest.mark.parametrize("resumed", [False, True])
def test_the_same_steps_to_the_last_bit(
    tied: bool, decay: float, most: float, resumed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "LARGE", ROWS * WIDTH)
    options = {"tied": tied, "decay": decay, "most": most}
    own, places = trained(kept=True, resumed=resumed, **options)
    plain, _ = trained(kept=False, **options)
    for one, other in zip(own, plain, strict=True):
        assert torch.equal(one, other)
    assert tied or len(set(places)) == 1


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_many_steps_over_many_rows_to_the_last_bit(
    threads: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates and decays of a real schedule; with the larger share most rows are soon in use."""
    monkeypatch.setattr(gradients, "LARGE", 1)
    monkeypatch.setattr(gradients, "BLOCK", 64)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = []
        for kept in (True, False):
            generator = torch.Generator().manual_seed(5)
            words = torch.nn.Embedding(3_001, 48)
            torch.nn.init.normal_(words.weight, generator=generator)
            optimiser = torch.optim.AdamW(words.parameters(), weight_decay=0.01, fused=True)
            with kept_gradients(words) if kept else nullcontext({}) as own:
                update_rows(optimiser, own)
                for step in range(12):
                    optimiser.param_groups[0]["lr"] = 3e-4 * (1 - step / 13)
                    ids = torch.randint(3_001, (int(3_001 * share),), generator=generator)
                    words(ids).square().sum().backward()
                    optimiser.step()
                    optimiser.zero_grad()
            found.append(words.weight.detach())
        assert torch.equal(*found)
    finally:
        torch.set_num_threads(before)


def test_the_same_steps_where_a_step_looks_up_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "LARGE", ROWS * WIDTH)
    own, _ = trained(kept=True, twice=True)
    plain, _ = trained(kept=False, twice=True)
    torch.testing.assert_close(own, plain, rtol=1e-5, atol=1e-6)


def test_moments_that_are_loaded_later_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "LARGE", 1)
    found = []
    for kept in (True, False):
        words = torch.nn.Embedding.from_pretrained(torch.ones(60, 16), freeze=False)
        optimiser = torch.optim.AdamW(words.parameters(), lr=0.1, fused=True)
        with kept_gradients(words) if kept else nullcontext({}) as own:
            update_rows(optimiser, own)
            for ids in ([1, 2], [3]):
                words(torch.tensor(ids)).square().sum().backward()
                optimiser.step()
                optimiser.zero_grad()
                saved = optimiser.state_dict()
                for name in MOMENTS:
                    moment = saved["state"][0][name]
                    assert moment.is_sparse == kept
                    saved["state"][0][name] = moment = moment.to_dense()
                    moment[50] = 1.0
                optimiser.load_state_dict(saved)
        found.append(words.weight.detach())
    assert torch.equal(*found)
    assert not torch.equal(found[0][50], found[0][51])


def test_rows_that_are_no_multiple_of_a_vector_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torch's kernel computes the last values of a tensor otherwise: they may be other ones."""
    monkeypatch.setattr(gradients, "LARGE", 1)
    with kept_gradients(torch.nn.Embedding(50, 30)) as kept:
        assert kept == {}


def test_small_and_frozen_embeddings_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(tied=False)
    with kept_gradients(model):
        assert not model.words.sparse
    monkeypatch.setattr(gradients, "LARGE", 1)
    model.words.requires_grad_(False)
    with kept_gradients(model):
        assert not model.words.sparse
