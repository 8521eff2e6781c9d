"""The numbers of cross-lingual alignment: what pairs of vectors give, and their means.

The cosine of translation pairs (arXiv 2506.15415) says little on its own: in an anisotropic space
any two texts have a cosine near 1. It stands beside the cosine of random pairs, the gap between
the two, and the rank of the translation among the texts of its language.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.data.examples import Bitext
from harness.inference.batching import distinct
from harness.inference.search import distinct_vectors, rank_all
from harness.kinds.kind import degenerate
from harness.results.scores import MACRO
from harness.statistics.resampling import BLOCK, cluster_weights, percentile_interval

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

# What a pair of texts contributes; every number of a language is a mean over its pairs.
METRICS = ("cosine", "random", "gap", "recall@10", "accuracy", "mrr")
RANKED = METRICS.index("recall@10")  # this one and those after it come from ranks
RESAMPLES = 2_000  # enough for 95 % intervals; 10,000 of 25 layers in 112 languages are a gigabyte


@dataclass(frozen=True)
class Row:
    """One layer of one language, or the unweighted mean over the languages (``lang`` = macro).

    ``unit``: words or sentences. ``pairs``: how many there are, summed over languages in a mean.
    ``values``: the metrics in [0, 1] (cosines in [−1, 1]), ``median_rank`` (relative to the pool,
    a half by chance) and ``chance`` (recall@10 of a random order); nan where there is none: the
    ranks of vectors that are all (nearly) equal, random pairs of a single text. ``intervals``: the
    95 % interval of each metric.
    """

    unit: str
    lang: str
    layer: int
    pairs: int
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


def measure(english: Float32, source: Float32, bitext: Bitext) -> tuple[Floats, float]:
    """What each pair contributes, float64[n, 6] by METRICS, and the median rank over the pool.

    ``english``, ``source``: float32[n, d], L2-normalised, row i the texts of pair i; equal texts
    have equal vectors. Ranks are of English → language among the n texts, as the task's own
    retrieval has them. Random pairs are all pairs of texts that are not translations: neither side
    may be equal to that of the pair it is taken from.
    """
    size = len(english)
    e, x = english.astype(np.float64), source.astype(np.float64)
    cosine = np.einsum("nd,nd->n", e, x)
    random = _random(e, x, bitext)
    values = np.full((size, len(METRICS)), np.nan)
    values[:, :RANKED] = np.stack([cosine, random, cosine - random], axis=1)
    if degenerate(np.concatenate([english, source])):
        return values, float("nan")
    found = rank_all(english, distinct_vectors(source), [[i] for i in range(size)], top=1)
    ranks = np.concatenate(found.ranks)
    values[:, RANKED:] = np.stack([ranks <= 10, ranks == 1, 1 / ranks], axis=1)
    return values, float(np.median(ranks)) / size


def _random(e: Floats, x: Floats, bitext: Bitext) -> Floats:
    """float64[n] whose mean is the exact mean cosine over all random pairs (i, j).

    That mean is a U-statistic: an example is in it twice, as i and as j. Example i stands for
    θ + n (Σ_j c_ij + Σ_j c_ji − 2 θ m_i) / Σ m, with m_i its random pairs and θ the mean, so that
    reweighting the examples moves their mean as it moves θ itself, to first order (Hoeffding 1948;
    the infinitesimal jackknife).
    """
    sides = bitext.english, bitext.source, tuple(zip(bitext.english, bitext.source, strict=True))
    near_x, near_e, near = np.zeros_like(x), np.zeros_like(e), np.zeros(len(e))
    # Texts with an equal side: either side, less those counted twice.
    for texts, sign in zip(sides, (1, 1, -1), strict=True):
        group = _groups(texts)
        near_x += sign * _sums(group, x)[group]
        near_e += sign * _sums(group, e)[group]
        near += sign * np.bincount(group)[group]
    pairs = len(e) - near
    both = np.einsum("nd,nd->n", e, x.sum(axis=0) - near_x)
    both += np.einsum("nd,nd->n", x, e.sum(axis=0) - near_e)
    total = pairs.sum()
    if not total:
        return np.full(len(e), np.nan)
    mean = both.sum() / (2 * total)
    values: Floats = mean + len(e) * (both - 2 * mean * pairs) / total
    return values


def _groups(texts: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    """int64[n]: a number for each text, the same for equal ones, from 0 without gaps."""
    position: dict[Hashable, int] = {}
    return np.array([position.setdefault(text, len(position)) for text in texts], dtype=np.int64)


def _sums(group: npt.NDArray[np.int64], vectors: Floats) -> Floats:
    """float64[g, d]: the sum of each group's vectors."""
    sums = np.zeros((int(group.max()) + 1, vectors.shape[1]))
    np.add.at(sums, group, vectors)
    return sums


def summarise(
    unit: str,
    bitexts: Mapping[str, Bitext],
    measured: Mapping[str, Sequence[tuple[Floats, float]]],
    rng: np.random.Generator,
) -> list[Row]:
    """The rows of all layers and languages, and those of the mean over languages.

    ``measured``: language → what ``measure`` gave at layers 0, 1, … The intervals resample English
    texts: one weight for all the pairs of a text, in every language. Over a single text they are
    nan: all of its resamples are the same.
    """
    if not bitexts:
        return []
    values = {lang: np.hstack([v for v, _ in layers]) for lang, layers in measured.items()}
    medians = {lang: [median for _, median in layers] for lang, layers in measured.items()}
    draws = _bootstrap(
        [values[lang] for lang in bitexts], [b.english for b in bitexts.values()], rng
    )
    means = {lang: values[lang].mean(axis=0) for lang in bitexts}
    sizes = {lang: len(bitext.english) for lang, bitext in bitexts.items()}
    chance = {lang: min(10, size) / size for lang, size in sizes.items()}
    columns: dict[str, tuple[Floats, Sequence[float], float, int, Floats]] = {
        lang: (means[lang], medians[lang], chance[lang], sizes[lang], draws[:, at])
        for at, lang in enumerate(bitexts)
    }
    texts = {lang: set(bitext.english) for lang, bitext in bitexts.items()}
    texts[MACRO] = set().union(*texts.values())
    columns[MACRO] = (
        np.mean(list(means.values()), axis=0),
        np.mean(list(medians.values()), axis=0).tolist(),
        float(np.mean(list(chance.values()))),
        sum(sizes.values()),
        draws.mean(axis=1),
    )
    rows = []
    for lang, (mean, median, guess, size, drawn) in columns.items():
        known = drawn if len(texts[lang]) > 1 else drawn[:0]
        for layer in range(len(median)):
            at = slice(layer * len(METRICS), (layer + 1) * len(METRICS))
            named = dict(zip(METRICS, mean[at].tolist(), strict=True))
            bounds = [percentile_interval(column) for column in known[:, at].T]
            rows.append(
                Row(
                    unit=unit,
                    lang=lang,
                    layer=layer,
                    pairs=size,
                    values=named | {"median_rank": median[layer], "chance": guess},
                    intervals=dict(zip(METRICS, bounds, strict=True)),
                )
            )
    return rows


def _bootstrap(
    values: Sequence[Floats], texts: Sequence[Sequence[str]], rng: np.random.Generator
) -> Floats:
    """float64[R, L, J]: the means of each language's columns, float64[n, J], under resampling.

    nan where a resample holds no pair of the language.
    """
    unique, inverse = distinct([text for one in texts for text in one])
    own = np.split(inverse, np.cumsum([len(one) for one in texts])[:-1])
    sums = []
    for group, one in zip(own, values, strict=True):
        clusters, within = np.unique(group, return_inverse=True)
        counted = np.hstack([one, np.ones((len(one), 1))])
        sums.append((clusters, _sums(within, counted)))
    draws = np.empty((RESAMPLES, len(values), values[0].shape[1]))
    step = max(1, BLOCK // len(unique))
    for start in range(0, RESAMPLES, step):
        weights = cluster_weights(len(unique), min(step, RESAMPLES - start), rng)
        for at, (clusters, columns) in enumerate(sums):
            totals = weights[:, clusters] @ columns
            drawn = np.where(totals[:, -1:] > 0, totals[:, -1:], np.nan)
            draws[start : start + len(weights), at] = totals[:, :-1] / drawn
    return draws
