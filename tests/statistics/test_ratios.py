"""Mining runs: F1 by hand under weights and swaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError, IncompleteError, UsageError
from harness.kinds import KINDS
from harness.kinds.mining import SCHEMA
from harness.statistics import contrast
from harness.statistics.paired import pair
from harness.statistics.ratios import PairedRatios, averaged, coupled
from harness.statistics.resampling import resample


def mined(*pairs: str, split: str = "test", lang: str = "de") -> pa.Table:
    """Rows of `source target flags`: g for gold, k for kept, m for a gold pair that was missed."""
    rows: list[dict[str, Any]] = []
    for source, target, flags in (line.split() for line in pairs):
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


def paired(a: pa.Table, b: pa.Table, metric: str = "f1", task: str = "") -> PairedRatios:
    found = pair([a], [b], metric, "mining", task=task)
    assert isinstance(found, PairedRatios)
    return found


# Gold: s1 t1, s2 t2, s3 t3. A keeps two of them and one wrong; B keeps one and two wrong.
A = mined("s1 t1 gk", "s2 t2 gk", "s3 t3 m", "s4 t9 k", "s5 t8 x")
B = mined("s1 t1 gk", "s2 t7 k", "s2 t2 m", "s3 t3 g", "s6 t6 k")


def test_a_language_with_nothing_to_find_or_found_differs_by_nothing() -> None:
    """As its score is: the mean over languages had no value, and the smallest p there is."""
    tags = {"de": ["B-PER", "O"], "fr": ["O", "O"]}
    schema = KINDS["tagging"].schema

    def tagged(found: str) -> pa.Table:
        rows = [
            {"example_id": f"{lang}{i}", "lang": lang, "cluster": f"t:{i}", "gold": gold,
             "prediction": [found, "O"] if lang == "de" else gold}
            for lang, gold in tags.items() for i in range(3)
        ]  # fmt: skip
        return pa.Table.from_pylist(rows, schema=schema)

    one, other = tagged("B-PER"), tagged("O")
    draws = resample(
        [pair([one], [other], "f1_span", "tagging", task="t")], np.random.default_rng(0), 400
    )
    estimate = contrast.macro(draws)
    assert draws.observed.tolist() == [1.0, 0.0]
    assert (estimate.difference, estimate.low, estimate.high) == (0.5, 0.5, 0.5)
    assert estimate.p == pytest.approx(0.25, abs=0.1)  # all three signs alike
    assert [part.estimate.p for part in contrast.by_language(draws)][1] == 1.0


def test_by_hand() -> None:
    found = paired(A, B, task="b")
    assert found.clusters.tolist() == [f"b:de:s{i}" for i in range(1, 7)]
    assert found.numerator_a[:, 0].tolist() == [2, 2, 0, 0, 0, 0]
    assert found.numerator_b[:, 0].tolist() == [2, 0, 0, 0, 0, 0]
    assert found.denominator_a[:, 0].tolist() == [2, 2, 1, 1, 0, 0]
    assert found.denominator_b[:, 0].tolist() == [2, 2, 1, 0, 0, 1]
    assert found.counted[:, 0].tolist() == [1, 1, 1, 0, 0, 0]
    assert found.present[:, 0].tolist() == [True] * 4 + [False, True]
    assert found.observed == pytest.approx([2 * 2 / 6 - 2 * 1 / 6])
    assert found.sizes.tolist() == [3]
    # A and B differ by 2 right pairs and by 2 in the denominators, which are 6 in either run.
    assert found.magnitude == pytest.approx([2 * (2 + 2) / 6])
    assert (found.metric, found.langs) == ("f1", ("de",))


@pytest.mark.parametrize(
    ("metric", "a", "b"), [("precision", 2 / 3, 1 / 3), ("recall", 2 / 3, 1 / 3)]
)
def test_other_ratios_by_hand(metric: str, a: float, b: float) -> None:
    assert paired(A, B, metric).observed == pytest.approx([a - b])


def test_weights_and_swaps_by_hand() -> None:
    found = paired(A, B)
    # s2 twice, s3 not at all: A has tp 3, kept 4, gold 3; B has tp 1, kept 4, gold 3.
    weights = np.array([[1.0, 2, 0, 1, 1, 1]])
    assert found.weighted_differences(weights @ found.weighted_columns()) == pytest.approx(
        np.array([[6 / 7 - 2 / 7]])
    )
    # s4 swapped: A then keeps 2 pairs, B keeps 4.
    signs = np.array([[1.0, 1, 1, -1, 1, 1], [1, 1, 1, 1, 1, 1], [-1, -1, -1, -1, -1, -1]])
    swapped = found.flipped_differences(signs @ found.flipped_columns())
    assert swapped[:, 0] == pytest.approx([4 / 5 - 2 / 7, 1 / 3, -1 / 3])


def test_draws_are_of_the_same_weights_for_both_runs() -> None:
    draws = resample([paired(A, A, task="b")], np.random.default_rng(0), 500)
    assert np.nanmax(np.abs(draws.bootstrap)) == 0
    assert np.abs(draws.flipped).max() == 0


def test_refusals() -> None:
    with pytest.raises(IncompleteError, match="in one run only: 1 of de"):
        paired(A, mined("s1 t1 gk", "s2 t2 m"))
    with pytest.raises(IncompleteError, match="no language in common"):
        paired(A, mined("s1 t1 gk", lang="fr"))
    with pytest.raises(DataError, match="0 gold pairs of a language"):
        paired(mined("s1 t1 k"), mined("s1 t1 k"))
    with pytest.raises(UsageError, match="f1 is a ratio of sums"):
        pair([A], [B, A], "f1", "mining")
    both = pa.concat_tables([A, mined("s1 t1 gk", lang="fr")])
    assert paired(both, B).left_out == ("fr",)


def tagged(*predictions: str) -> pa.Table:
    """Two German sentences of three words and one, all NOUN; a letter for each predicted tag."""
    rows = [
        {
            "example_id": f"test:{number}", "lang": "de", "cluster": f"t:test:{number}",
            "gold": ["NOUN"] * len(letters),
            "prediction": ["NOUN" if letter == "n" else "VERB" for letter in letters],
        }
        for number, letters in enumerate(predictions)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=KINDS["tagging"].schema)


def test_seeds_of_a_ratio_whose_denominator_is_of_the_data() -> None:
    """Of 4 words the seeds have 3 and 1 right, the mean is 2; the base has 1."""
    seeds, base = [tagged("nnn", "v"), tagged("vvv", "n")], tagged("nvv", "v")
    found = pair(seeds, [base], "accuracy", "tagging", task="t")
    assert isinstance(found, PairedRatios)
    assert found.numerator_a[:, 0].tolist() == [1.5, 0.5]
    assert found.denominator_a[:, 0].tolist() == [3, 1]
    assert found.observed == pytest.approx([2 / 4 - 1 / 4])
    weighted = pair(seeds, [base], "accuracy", "tagging", weights=([0.25, 0.75], None))
    assert weighted.observed == pytest.approx([(0.25 * 3 + 0.75 * 1) / 4 - 1 / 4])
    with pytest.raises(UsageError, match="f1_span is a ratio of sums"):
        pair(seeds, [base], "f1_span", "tagging")


def test_a_longer_sentence_in_another_run_is_other_data() -> None:
    with pytest.raises(DataError, match="another size in another run"):
        pair([tagged("nnn", "n"), tagged("nn", "n")], [tagged("nnn", "n")], "accuracy", "tagging")


# Several runs a side


def f1(run: pa.Table, times: dict[str, int]) -> float:
    """F1 of a mining run in which a source comes so many times, counted pair by pair."""
    found = kept = gold = 0
    for row in run.to_pylist():
        weight = times[row["source_id"]]
        found += weight * (row["gold"] and row["kept"])
        kept += weight * row["kept"]
        gold += weight * row["gold"]
    return 2 * found / (kept + gold) if kept + gold else 0.0


C = mined("s1 t1 g", "s2 t2 gk", "s3 t3 gk", "s5 t9 k")


def test_the_mean_of_several_runs_by_hand() -> None:
    """A side's mean is over the F1 of its runs, in every resample, and no F1 of their sums."""
    a, b, weights = [A, C], [B, A, C], ([0.25, 0.75], [0.5, 0.25, 0.25])
    pairs = list(coupled(*weights))
    both = averaged([paired(a[i], b[j]) for i, j, _ in pairs], [w for *_, w in pairs])

    def difference(times: dict[str, int]) -> float:
        means = [
            sum(share * f1(run, times) for run, share in zip(side, shares, strict=True))
            for side, shares in zip((a, b), weights, strict=True)
        ]
        return means[0] - means[1]

    names = [name.rpartition(":")[2] for name in both.clusters]
    assert both.observed == pytest.approx([difference(dict.fromkeys(names, 1))])
    drawn = np.random.default_rng(0).integers(0, 4, (5, len(names)))
    wanted = [[difference(dict(zip(names, row.tolist(), strict=True)))] for row in drawn]
    assert both.weighted_differences(drawn @ both.weighted_columns()) == pytest.approx(
        np.array(wanted)
    )
    half = np.arange(len(names)) < 3
    chosen = {name: int(kept) for name, kept in zip(names, half, strict=True)}
    assert both.part(half).observed == pytest.approx([difference(chosen)])


def test_one_run_a_side_is_its_own_mean() -> None:
    one, mean = paired(A, B, task="b"), averaged([paired(A, B, task="b")], [1.0])
    alone, several = (resample([it], np.random.default_rng(3), 200) for it in (one, mean))
    assert np.array_equal(alone.bootstrap, several.bootstrap, equal_nan=True)
    assert np.array_equal(alone.flipped, several.flipped)
    assert alone.magnitude == pytest.approx(several.magnitude)


SHARES = st.lists(st.integers(1, 9), min_size=1, max_size=6).map(
    lambda parts: [part / sum(parts) for part in parts]
)


@given(SHARES, SHARES)
def test_coupled_runs_have_their_own_weights_on_either_side(a: list[float], b: list[float]) -> None:
    pairs = list(coupled(a, b))
    for place, side in enumerate((a, b)):
        sums = [sum(pair[2] for pair in pairs if pair[place] == run) for run in range(len(side))]
        assert sums == pytest.approx(side)
    assert len(pairs) < len(a) + len(b)
