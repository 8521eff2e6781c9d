"""Time and memory of one contrast with 10,000 resamples; `bench_board.py` keeps the figures.

    python benchmarks/bench_contrast.py

Synthetic outcomes: 41 languages of 1,000 examples over 28,000 clusters (as Tatoeba), 12 languages
over 240 clusters (as XQuAD). Beside it a plain numpy bootstrap with the same number of resamples.
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
from paired import Row, command, in_turn, seconds, show

from harness.statistics.contrast import by_language, macro
from harness.statistics.paired import Paired
from harness.statistics.ranks import tie_groups
from harness.statistics.resampling import RESAMPLES, resample

SHAPES = ((240, 12, 240, 0.3), (28_000, 41, 1_000, 4.0))  # the last: seconds at most
MIB = 500  # at most, by the larger one
BLOCK = 250  # resamples that the plain bootstrap holds at a time


def synthetic(clusters: int, langs: int, per_language: int, rng: np.random.Generator) -> Paired:
    """Differences of −1, 0 or 1 in ``per_language`` clusters of each language."""
    counts = np.zeros((clusters, langs))
    for lang in range(langs):
        counts[rng.choice(clusters, per_language, replace=False), lang] = 1
    return Paired(
        task="synthetic",
        metric="recall@10",
        langs=tuple(f"l{lang}" for lang in range(langs)),
        left_out=(),
        clusters=np.array([f"x:{cluster:06d}" for cluster in range(clusters)]),
        sums=counts * rng.integers(-1, 2, size=counts.shape),
        counts=counts,
    )


def contrast(paired: Paired) -> None:
    """Everything that one contrast shows: macro and languages, bootstrap and permutation."""
    draws = resample([paired], np.random.default_rng(0))
    macro(draws)
    by_language(draws)


def plain(paired: Paired) -> npt.NDArray[np.float64]:
    """The interval of each language and of their mean by the textbook: draw clusters, weight, sum.

    float64[2, languages + 1]. It makes no permutation test, which ``contrast`` does as well.
    """
    rng = np.random.default_rng(0)
    clusters = len(paired.clusters)
    both = np.concatenate([paired.sums, paired.counts], axis=1)
    drawn = []
    for start in range(0, RESAMPLES, BLOCK):
        rows = range(min(BLOCK, RESAMPLES - start))
        picked = [rng.integers(0, clusters, clusters) for _ in rows]
        counts = np.stack([np.bincount(one, minlength=clusters) for one in picked])
        sums, sizes = np.split(counts.astype(np.float64) @ both, 2, axis=1)
        means = sums / sizes
        drawn.append(np.concatenate([means, means.mean(axis=1, keepdims=True)], axis=1))
    interval: npt.NDArray[np.float64] = np.quantile(np.concatenate(drawn), [0.025, 0.975], axis=0)
    return interval


def agreement(paired: Paired) -> str:
    """Both intervals of the mean over languages: other draws, the same quantity."""
    whole = macro(resample([paired], np.random.default_rng(0)))
    low, high = plain(paired)[:, -1]
    return (
        f"Interval of the mean [{100 * whole.low:.2f}, {100 * whole.high:.2f}] points, plain "
        f"[{100 * low:.2f}, {100 * high:.2f}]."
    )


def made(number: int) -> Paired:
    """The synthetic outcomes of a shape."""
    clusters, langs, per_language, _ = SHAPES[number]
    return synthetic(clusters, langs, per_language, np.random.default_rng(0))


def rows() -> list[Row]:
    """What is kept: seconds against their targets, beside the plain bootstrap, and memory."""
    found = []
    for number, (clusters, langs, _, most) in enumerate(SHAPES):
        paired = made(number)
        pairs = in_turn(lambda one=paired: contrast(one), lambda one=paired: plain(one))
        name = f"contrast, {clusters:,} clusters × {langs} languages"
        found.append(
            pairs.row(
                name=name,
                ours=f"{RESAMPLES:,} resamples and permutations, every language",
                theirs=f"plain numpy, {RESAMPLES:,} resamples, no permutations",
                equal=agreement(paired),
            )
        )
        found.append(
            Row(
                name=f"{name}, seconds",
                ours="the same",
                theirs="",
                meaning="s, at most the target",
                ratio=pairs.ours,
                target=most,
            )
        )
    peak = command([sys.executable, __file__, "--large"]).peak / (1 << 20)
    found.append(
        Row(
            name="contrast, the larger one, memory",
            ours="a whole process",
            theirs="",
            meaning="MiB, at most the target",
            ratio=(peak,),
            target=MIB,
        )
    )
    return found


def ranking() -> float:
    """Seconds of ranking 500 checkpoints over 28,000 clusters."""
    rng = np.random.default_rng(0)
    names = [f"checkpoint {number:03d}" for number in range(500)]
    profiles = (rng.random((28_000, 500)) < np.linspace(0.3, 0.6, 500)) / 28_000
    return seconds(lambda: tie_groups(names, profiles, np.random.default_rng(0)))


def main() -> None:
    """Print the rows."""
    if "--large" in sys.argv[1:]:
        contrast(made(1))
        return
    for row in rows():
        print(show(row))
    print(f"tie groups of 500 checkpoints over 28,000 clusters: {ranking():.2f} s")


if __name__ == "__main__":
    main()
