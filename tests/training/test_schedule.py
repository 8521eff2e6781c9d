"""The order of a run."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.training.schedule import POOL, Share, apportion, make_schedule


def share(task: str, rows: int, *, batch: int = 4, epochs: float = 1.0, cap: int = 10**9) -> Share:
    lengths = np.arange(rows, dtype=np.int64) % 17
    return Share(task, lengths, batch, epochs, min(rows, cap))


def test_every_row_once_an_epoch_and_only_the_last_batch_is_smaller() -> None:
    steps = make_schedule([share("a", 10, batch=4, epochs=3)], seed=0, max_steps=None)
    assert [len(step.rows) for step in steps] == [4] * 7 + [2]
    assert Counter(np.concatenate([step.rows for step in steps]).tolist()) == {
        row: 3 for row in range(10)
    }


@given(st.integers(1, 400), st.integers(1, 9), st.floats(0.1, 4), st.integers(0, 3))
def test_epochs_are_kept_to_the_row(rows: int, batch: int, epochs: float, seed: int) -> None:
    one = share("a", rows, batch=batch, epochs=epochs)
    steps = make_schedule([one], seed=seed, max_steps=None)
    seen = Counter(np.concatenate([step.rows for step in steps]).tolist())
    assert sum(seen.values()) == max(1, round(rows * epochs))
    assert max(seen.values()) - min(seen.get(row, 0) for row in range(rows)) <= 1
    assert all(len(step.rows) == batch for step in steps[:-1])


def test_rows_of_a_batch_are_about_as_long() -> None:
    one = share("a", 4 * POOL, batch=4)
    mean = np.mean(
        [np.ptp(one.lengths[s.rows]) for s in make_schedule([one], seed=0, max_steps=None)]
    )
    assert mean < 1  # of lengths 0 to 16


def test_the_last_smaller_batch_is_not_of_the_longest_rows() -> None:
    one = share("a", 170, batch=4)
    last = [make_schedule([one], seed=seed, max_steps=None)[-1].rows for seed in range(200)]
    assert {len(rows) for rows in last} == {2}
    assert np.mean([one.lengths[rows].mean() for rows in last]) == pytest.approx(8, abs=0.8)


def test_the_seed_decides_the_order() -> None:
    def rows(seed: int) -> list[list[int]]:
        return [s.rows.tolist() for s in make_schedule([share("a", 40)], seed=seed, max_steps=None)]

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)


def test_one_task_per_step_in_proportion_to_capped_size() -> None:
    tasks = [share("small", 40), share("large", 4000, cap=360), share("middle", 80)]
    steps = make_schedule(tasks, seed=0, max_steps=None)
    # 10 + 90 + 20 steps, in the proportion 40 : 360 : 80.
    assert Counter(step.task for step in steps) == {"small": 10, "large": 90, "middle": 20}
    first = Counter(step.task for step in steps[:60])
    assert 30 < first["large"] < 58  # mixed, not one after the other
    # The cap is on the share: rows beyond it are drawn too.
    large = np.concatenate([step.rows for step in steps if step.task == "large"])
    assert large.max() > 360


def test_fewer_steps_keep_the_proportions() -> None:
    tasks = [share("a", 40), share("b", 120)]
    steps = make_schedule(tasks, seed=0, max_steps=8)
    assert Counter(step.task for step in steps) == {"a": 2, "b": 6}


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [
        ({"a": 1, "b": 1, "c": 1}, 4, {"a": 2, "b": 1, "c": 1}),
        ({"a": 7, "b": 3}, 5, {"a": 4, "b": 1}),  # 3.5 and 1.5: the first of equal remainders
        ({"a": 999, "b": 1}, 10, {"a": 9, "b": 1}),  # a share of 0.01 is a step
        ({"a": 1, "b": 999, "c": 1}, 3, {"a": 1, "b": 1, "c": 1}),
    ],
)
def test_largest_remainders(sizes: dict[str, int], total: int, expected: dict[str, int]) -> None:
    assert apportion(sizes, total) == expected


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=9), st.integers(0, 60))
def test_every_task_has_a_step(sizes: list[int], more: int) -> None:
    counts = apportion({str(at): size for at, size in enumerate(sizes)}, len(sizes) + more)
    assert sum(counts.values()) == len(sizes) + more
    assert min(counts.values()) >= 1


def test_a_small_task_beside_a_large_one_is_trained() -> None:
    steps = make_schedule([share("a", 4000), share("b", 1)], seed=0, max_steps=None)
    assert Counter(step.task for step in steps) == {"a": 1000, "b": 1}
    steps = make_schedule([share("a", 4000), share("b", 1)], seed=0, max_steps=2)
    assert Counter(step.task for step in steps) == {"a": 1, "b": 1}


def test_fewer_steps_than_tasks_are_refused() -> None:
    with pytest.raises(UsageError, match="--max-steps 1 cannot train all of a, b: give at least 2"):
        make_schedule([share("a", 40), share("b", 120)], seed=0, max_steps=1)
