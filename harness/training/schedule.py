"""Which rows every optimiser step is made of: the whole order of a run, from its seed alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError

# Batches that are sorted by length together: enough that rows of a batch are alike, few enough
# that the order stays one of chance.
POOL = 50


@dataclass(frozen=True)
class Share:
    """A task's part of a run.

    ``lengths``: int64[rows]; ``capped``: how many rows count for its share.
    """

    task: str
    lengths: npt.NDArray[np.int64]
    batch_size: int
    epochs: float
    capped: int

    @property
    def wanted(self) -> int:
        """Rows that its epochs take, over the rows that count."""
        return max(1, round(self.epochs * self.capped))

    @property
    def steps(self) -> int:
        """Steps for these rows; the last one may be smaller."""
        return math.ceil(self.wanted / self.batch_size)


@dataclass(frozen=True)
class Step:
    """One optimiser step: its task and the rows of its batch."""

    task: str
    rows: npt.NDArray[np.int64]


def make_schedule(shares: Sequence[Share], *, seed: int, max_steps: int | None) -> list[Step]:
    """Every step of a run, in order. One task per step, in proportion to capped size.

    All the steps of a run are shared out (largest remainders, one at least), and shuffled: the
    proportions hold exactly, not only on average.

    Raises:
        UsageError: fewer steps than tasks.
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
    """``total`` steps over tasks in proportion to ``sizes``, by largest remainders.

    A task too small for a step has one of the task with the most: it would be none of the run's.

    Raises:
        UsageError: fewer steps than tasks.
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
    """The rows of so many batches of one task.

    Shuffled passes over all rows, end to end, so that only the last batch of a run may be smaller;
    neighbouring batches of about the same length are formed within ``POOL`` of them.
    """
    rows = len(share.lengths)
    wanted = share.wanted if steps == share.steps else steps * share.batch_size
    generator = np.random.default_rng([seed, 2, number])
    passes = [generator.permutation(rows) for _ in range(math.ceil(wanted / rows))]
    stream = np.concatenate([*passes, np.zeros(0, dtype=np.int64)])[:wanted]
    batches: list[npt.NDArray[np.int64]] = []
    for begin in range(0, wanted, POOL * share.batch_size):
        pool = stream[begin : begin + POOL * share.batch_size]
        # What fills no batch is left as it comes: of the sorted rows it would always be the
        # longest, which a run would then see last, at a learning rate of next to nothing.
        whole = len(pool) - len(pool) % share.batch_size
        alike = pool[:whole][np.argsort(share.lengths[pool[:whole]], kind="stable")]
        full = alike.reshape(-1, share.batch_size)
        batches += list(full[generator.permutation(len(full))])
        if whole < len(pool):
            batches.append(pool[whole:])
    return batches
