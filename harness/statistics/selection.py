"""The best of several variants, without the optimism of a choice that is measured on its own data.

The largest of several differences is too large even where no variant does anything: it is chosen
for its luck on these items. Here one half of the items chooses, and the other half, which had no
say in it, measures what was chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from harness.statistics.resampling import Comparison


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen, and the half of its comparison that did not choose.

    ``name``: the variant with the largest mean difference on the choosing half; ``other``: its
    comparison on the other half.
    """

    name: str
    other: Comparison

    @property
    def difference(self) -> float:
        """The mean difference over languages on the items that did not choose, in [−1, 1]."""
        return float(self.other.observed.mean())


def choose(candidates: Mapping[str, Comparison], seed: int) -> Choice | None:
    """Choose the variant with the largest mean difference on one half of the clusters.

    ``candidates``: name → its comparison with the base, all of them on one task. Of equal ones the
    first name. None where a language has no example in one of the halves, so that there is no mean
    over all languages.
    """
    choosing = halves({str(name) for one in candidates.values() for name in one.clusters}, seed)
    parts = {}
    for name, one in sorted(candidates.items()):
        chosen = np.isin(one.clusters, choosing)
        parts[name] = (one.part(chosen), one.part(~chosen))
    if any(not (half.sizes > 0).all() for pair in parts.values() for half in pair):
        return None
    best = max(parts, key=lambda name: float(parts[name][0].observed.mean()))
    return Choice(best, parts[best][1])


def halves(clusters: Iterable[str], seed: int) -> npt.NDArray[np.str_]:
    """The half of the clusters that chooses, one more of an odd number; the rest measures.

    In the order of sha256 over seed and name, so that it depends on nothing but these.
    """
    order = sorted(clusters, key=lambda name: sha256(f"{seed}:{name}".encode()).digest())
    return np.array(order[: (len(order) + 1) // 2], dtype=np.str_)
