"""Mining runs: F1 by hand under weights and swaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness.errors import DataError, IncompleteError
from harness.kinds.mining import SCHEMA
from harness.statistics.mined import pair_mining
from harness.statistics.resampling import resample


def mined(*pairs: str, split: str = "test", lang: str = "de") -> pa.Table:
    """Rows of `source target flags`: g for gold, k for kept, m for a gold pair that was missed."""
    rows: list[dict[str, Any]] = []
    for source, target, flags in (pair.split() for pair in pairs):
        rows.append(
            {
                "source_id": source,
                "target_id": target,
                "lang": lang,
                "margin": None if "m" in flags else 1.0,
                "gold": "g" in flags or "m" in flags,
                "kept": "k" in flags,
                "split": split,
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


# Gold: s1 t1, s2 t2, s3 t3. A keeps two of them and one wrong; B keeps one and two wrong.
A = mined("s1 t1 gk", "s2 t2 gk", "s3 t3 m", "s4 t9 k", "s5 t8 x")
B = mined("s1 t1 gk", "s2 t7 k", "s2 t2 m", "s3 t3 g", "s6 t6 k")


def test_by_hand() -> None:
    paired = pair_mining(A, B, "test", task="b")
    assert paired.clusters.tolist() == [f"b:de:s{i}" for i in range(1, 7)]
    assert paired.hits_a[:, 0].tolist() == [1, 1, 0, 0, 0, 0]
    assert paired.hits_b[:, 0].tolist() == [1, 0, 0, 0, 0, 0]
    assert paired.kept_a[:, 0].tolist() == [1, 1, 0, 1, 0, 0]
    assert paired.kept_b[:, 0].tolist() == [1, 1, 0, 0, 0, 1]
    assert paired.gold[:, 0].tolist() == [1, 1, 1, 0, 0, 0]
    assert paired.observed == pytest.approx([2 * 2 / 6 - 2 * 1 / 6])
    assert paired.metric == "f1"


def test_weights_and_swaps_by_hand() -> None:
    paired = pair_mining(A, B, "test")
    # s2 twice, s3 not at all: A has tp 3, kept 4, gold 3; B has tp 1, kept 4, gold 3.
    weights = np.array([[1.0, 2, 0, 1, 1, 1]])
    assert paired.weighted_differences(weights @ paired.weighted_columns()) == pytest.approx(
        np.array([[6 / 7 - 2 / 7]])
    )
    # s4 swapped: A then keeps 2 pairs, B keeps 4.
    signs = np.array([[1.0, 1, 1, -1, 1, 1], [1, 1, 1, 1, 1, 1], [-1, -1, -1, -1, -1, -1]])
    swapped = paired.flipped_differences(signs @ paired.flipped_columns())
    assert swapped[:, 0] == pytest.approx([4 / 5 - 2 / 7, 1 / 3, -1 / 3])


def test_draws_are_of_the_same_weights_for_both_runs() -> None:
    draws = resample([pair_mining(A, A, "test", task="b")], np.random.default_rng(0), 500)
    assert np.nanmax(np.abs(draws.bootstrap)) == 0
    assert np.abs(draws.flipped).max() == 0


def test_only_the_split_counts() -> None:
    a = pa.concat_tables([A, mined("s1 t1 gk", split="dev")])
    b = pa.concat_tables([B, mined("s1 t1 g", split="dev")])
    assert pair_mining(a, b, "test").observed == pytest.approx([1 / 3])
    in_sample = pair_mining(a, b, "dev")
    assert in_sample.observed == pytest.approx([1.0])
    assert in_sample.metric == "f1_oracle"


def test_refusals() -> None:
    with pytest.raises(DataError, match="1 gold pairs are in one run only"):
        pair_mining(A, mined("s1 t1 gk", "s2 t2 m"), "test")
    with pytest.raises(IncompleteError, match="no language in common on split dev"):
        pair_mining(A, B, "dev")
    with pytest.raises(DataError, match="no gold pairs of de"):
        pair_mining(mined("s1 t1 k"), mined("s1 t1 k"), "test")
    both = pa.concat_tables([A, mined("s1 t1 gk", lang="fr")])
    assert pair_mining(both, B, "test").left_out == ("fr",)
