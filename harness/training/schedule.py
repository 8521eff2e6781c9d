"""Decides which rows make up every optimiser step; the seed of a run decides its whole order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError

# So many batches are sorted by length together. These are enough that the rows of a batch have
# similar lengths, and few enough that the order of the rows stays random.
POOL = 50


@dataclass(frozen=True)
class Share:
    """The share of one task in a run.

    ``lengths``: int64[rows], the tokens of each row. ``capped``: the number of rows that count for
    the share, which a cap may bound.
    """

    task: str
    lengths: npt.NDArray[np.int64]
    batch_size: int
    epochs: float
    capped: int

    @property
    def wanted(self) -> int:
        """The number of rows that its epochs take."""
        return max(1, round(self.epochs * self.capped))

    @property
    def steps(self) -> int:
        """The number of steps that these rows take; the last one may be smaller."""
        return math.ceil(self.wanted / self.batch_size)


@dataclass(frozen=True)
class Step:
    """One optimiser step: its task, and the rows of its batch as int64[batch]."""

    task: str
    rows: npt.NDArray[np.int64]


def make_schedule(shares: Sequence[Share], *, seed: int, max_steps: int | None) -> list[Step]:
    """Return all steps of a run, in order. Each is of one task.

    The steps are divided among the tasks in proportion to their capped sizes, and then shuffled:
    the proportions hold exactly, not only on average.

    Raises:
        UsageError: there are fewer steps than tasks.
    """
    total = sum(share.steps for share in shares)
    if max_steps is not None:
        total = min(total, max_steps)
    counts = apportion({share.task: share.capped for share in shares}, total)
    order = [share.task for share in shares for _ in range(counts[share.task])]
    if len(shares) > 1:
        generator = np.random.default_rng([seed, 1])
        order = [order[at] for at in generator.permutation(len(order))]
    batches = {
        share.task: iter(batch_rows(share, counts[share.task], seed=seed, number=number))
        for number, share in enumerate(shares)
    }
    return [Step(task, next(batches[task])) for task in order]


def apportion(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Divide ``total`` steps among tasks in proportion to ``sizes``, by largest remainders.

    A task that would get no step gets one from the task that has the most.

    Raises:
        UsageError: there are fewer steps than tasks.
    """
    if total < len(sizes):
        raise UsageError(
            f"--max-steps {total} cannot train all of {', '.join(sizes)}: give at least "
            f"{len(sizes)}"
        )
    whole = sum(sizes.values())
    counts = {task: total * size // whole for task, size in sizes.items()}
    remainders = sorted(sizes, key=lambda task: -(total * sizes[task] % whole))  # stable
    for task in remainders[: total - sum(counts.values())]:
        counts[task] += 1
    for task in sizes:
        if counts[task] == 0:
            counts[max(counts, key=lambda other: counts[other])] -= 1
            counts[task] = 1
    return counts


def batch_rows(share: Share, steps: int, *, seed: int, number: int) -> list[npt.NDArray[np.int64]]:
    """Return the rows of each of ``steps`` batches of one task.

    The rows are taken from shuffled passes over all of them, one after another, so that only the
    last batch of a run may be smaller. Rows of similar length are put into one batch; they are
    looked for among the rows of ``POOL`` batches. These may be of several passes: where there are
    few rows, a batch can hold one twice. To change that is to train other weights.
    """
    rows = len(share.lengths)
    wanted = share.wanted if steps == share.steps else steps * share.batch_size
    generator = np.random.default_rng([seed, 2, number])
    passes = [generator.permutation(rows) for _ in range(math.ceil(wanted / rows))]
    stream = np.concatenate([*passes, np.zeros(0, dtype=np.int64)])[:wanted]
    batches: list[npt.NDArray[np.int64]] = []
    for begin in range(0, wanted, POOL * share.batch_size):
        pool = stream[begin : begin + POOL * share.batch_size]
        # The rows that fill no batch are not sorted. Otherwise the longest rows would always be
        # left over, and a run would see them last, when the learning rate is almost zero.
        whole = len(pool) - len(pool) % share.batch_size
        alike = pool[:whole][np.argsort(share.lengths[pool[:whole]], kind="stable")]
        full = alike.reshape(-1, share.batch_size)
        batches += list(full[generator.permutation(len(full))])
        if whole < len(pool):
            batches.append(pool[whole:])
    return batches
