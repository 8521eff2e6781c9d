"""Folds: the numbers of scoring, and draws that are right and shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis.draws import (
    BLOCK,
    DRAWS,
    cluster_keys,
    cluster_sums,
    interval,
    one_interval,
    replicates,
    weighted,
)  # fmt: skip
from harness.analysis.fold import fold
from harness.errors import DataError
from harness.metrics.mining import best_threshold
from harness.metrics.per_example import PerExample, mean
from harness.results.outcomes import OutcomeFile
from harness.results.scores import score_file
from tests.board.boards import answers, hits, measure

LANGS = ("en", "de", "es", "ru", "ar", "hi", "zh", "sw")


def weights(keys: Any) -> Any:
    """float64[n, DRAWS]: the weights of each draw, as sums of one cluster alone."""
    return weighted(np.eye(len(keys)), keys)


def passages(unit: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {
            "example_id": f"{unit}{i}", "lang": unit, "cluster": f"p:{i // 3}",
            "direction": f"{unit}-all",
            "ranks": sorted(rng.choice(40, size=3, replace=False) + 1),
            "relevant": 3,
            "top_ids": [f"{rng.choice(LANGS)}:{n}" for n in range(10)],
        }
        for i in range(30)
    ]  # fmt: skip


def mined(unit: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = [
        {
            "source_id": f"{unit}-{i}", "target_id": f"en-{i}", "lang": unit,
            "margin": None if i > 27 else float(rng.normal(1.0 + (i % 3 == 0), 0.3)),
            "gold": i % 3 == 0 or i > 27, "split": split,
        }
        for split in ("dev", "test")
        for i in range(30)
    ]  # fmt: skip
    dev = [row for row in rows if row["split"] == "dev" and row["margin"] is not None]
    margins = np.array([row["margin"] for row in dev], dtype=np.float32)
    threshold = best_threshold(margins, np.array([row["gold"] for row in dev]), 12).value
    return [row | {"kept": bool(row["margin"] and row["margin"] >= threshold)} for row in rows]


def files(root: Path) -> list[Path]:
    rng = np.random.default_rng(3)
    return [
        measure(root, "a/b", {u: hits(u, rng.integers(0, 2, 25)) for u in LANGS[1:]}),
        measure(root, "a/b", {u: passages(u, rng) for u in LANGS}, task="demo_passages"),
        measure(root, "a/b", {u: answers(u, rng.random(21).round(2)) for u in LANGS},
                task="demo_qa", layer=None),
        measure(root, "a/b", {u: mined(u, rng) for u in ("de", "ru", "zh")}, task="demo_mining"),
    ]  # fmt: skip


def test_the_numbers_are_those_of_scoring(tmp_path: Path) -> None:
    columns = ["lang", "direction", "metric", "value", "n"]
    for path in files(tmp_path):
        wanted = score_file(OutcomeFile(path)).select(columns).to_pylist()
        found = fold(OutcomeFile(path)).table.select(columns).to_pylist()
        assert found == wanted, path.name


def test_parts_of_an_unfinished_file_fold_too(tmp_path: Path) -> None:
    path = measure(tmp_path, "a/b", {"de": hits("de", [1, 0])})
    file = OutcomeFile(path)
    rows = file.read("de")
    meta = file.meta()
    file.remove()
    file.write_part("de", rows, meta)
    folded = fold(file, tmp_path / "kept")
    assert not folded.merged
    assert not folded.complete
    assert not (tmp_path / "kept").exists()


def test_what_clusters_add_sums_to_the_headline(tmp_path: Path) -> None:
    for path in files(tmp_path):
        headline = [row for row in fold(OutcomeFile(path)).table.to_pylist() if row["parts"]]
        assert headline
        for row in headline:
            assert sum(row["parts"]) == pytest.approx(row["value"], abs=1e-5), path.name
            assert len(row["keys"]) == len(set(row["keys"]))
            assert np.mean(row["draws"]) == pytest.approx(row["value"], abs=0.05)
            assert row["low"] <= row["value"] <= row["high"]


def test_weights_belong_to_the_cluster_alone() -> None:
    keys = cluster_keys(["x:1", "x:2", "x:3"])
    together = weights(keys)
    assert np.array_equal(together[1], weights(keys[1:2])[0])
    assert together.shape == (3, DRAWS)
    assert (together > 0).all()


def test_weights_are_standard_exponential() -> None:
    drawn = weights(cluster_keys([f"c:{i}" for i in range(400)]))
    assert drawn.mean() == pytest.approx(1.0, abs=0.01)
    assert drawn.var() == pytest.approx(1.0, abs=0.02)
    assert np.median(drawn) == pytest.approx(np.log(2), abs=0.02)
    assert abs(np.corrcoef(drawn[:50])[np.triu_indices(50, 1)]).max() < 0.2


def test_sums_are_exact_in_any_order() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(500)
    keys = cluster_keys([f"c:{i % 90}" for i in range(500)])
    order = rng.permutation(500)
    assert np.array_equal(
        replicates([mean(values)], keys), replicates([mean(values[order])], keys[order])
    )


def test_weights_are_the_same_in_whatever_block_they_are_drawn() -> None:
    keys = cluster_keys([f"c:{i}" for i in range(2 * BLOCK + 3)])
    values = np.round(np.random.default_rng(0).random((2, len(keys))) * 64) / 64
    order = np.arange(len(keys))[::-1]
    found = weighted(values, keys)
    assert np.array_equal(found, weighted(values[:, order], keys[order]))
    few = np.concatenate([weights(keys[i : i + 1]) for i in (0, BLOCK, 2 * BLOCK)])
    chosen = np.zeros((3, len(keys)))
    chosen[range(3), [0, BLOCK, 2 * BLOCK]] = 1
    assert np.array_equal(weighted(chosen, keys), few)


def test_replicates_weight_both_sums_of_a_ratio() -> None:
    keys = cluster_keys(["x:1", "x:2", "x:1"])
    above, below = np.array([2.0, 0, 2]), np.array([3.0, 1, 2])
    ratio = PerExample(above, below, np.ones(3))
    drawn = replicates([mean(above), ratio, mean(below)], keys)
    of_row = weights(keys)
    assert drawn[0] == pytest.approx((above @ of_row) / of_row.sum(axis=0))
    assert drawn[1] == pytest.approx((above @ of_row) / (below @ of_row))
    assert drawn[2] == pytest.approx((below @ of_row) / of_row.sum(axis=0))
    nothing = PerExample(np.zeros(3), np.zeros(3), np.ones(3))
    assert replicates([nothing], keys).tolist() == [[0.0] * DRAWS]


def test_cluster_sums_by_hand() -> None:
    keys = np.array([7, 3, 7], dtype=np.uint64)
    sums, distinct = cluster_sums(np.array([[1.0, 0.5, 0.25]]), keys)
    assert distinct.tolist() == [3, 7]
    assert sums.tolist() == [[0.5, 1.25]]


def test_interval_is_that_of_numpy() -> None:
    drawn = np.random.default_rng(1).random((4, DRAWS))
    low, high = interval(drawn)
    wanted = np.quantile(drawn, [0.025, 0.975], axis=-1)
    assert low == pytest.approx(wanted[0], abs=1e-6)
    assert high == pytest.approx(wanted[1], abs=1e-6)


def test_a_single_parallel_item_has_no_interval(tmp_path: Path) -> None:
    """Five questions on one paragraph say nothing about other paragraphs."""
    keys = cluster_keys(["x:1", "x:1"])
    drawn = replicates([mean(np.array([0.0, 1.0]))], keys)
    assert np.isnan(drawn).all()
    assert np.isnan(interval(drawn)).all()
    assert one_interval(drawn[0]) == (None, None)
    rows = {lang: answers(lang, np.array([0.25, 0.75])) for lang in LANGS}
    for own in rows.values():
        for row in own:
            row["cluster"] = "demo:1"
    found = fold(OutcomeFile(measure(tmp_path, "a/b", rows, task="demo_qa", layer=None)))
    lines = [row for row in found.table.to_pylist() if row["metric"] == "f1"]
    assert {row["value"] for row in lines} == {0.5}
    assert {(row["low"], row["high"]) for row in lines} == {(None, None)}


def test_interval_has_the_width_of_theory() -> None:
    """Of a rate over n independent clusters: 2 · 1.96 · √(p (1 − p) / n)."""
    rng = np.random.default_rng(5)
    widths = []
    for trial in range(20):
        values = mean(rng.random(900) < 0.3)
        keys = cluster_keys([f"{trial}:{i}" for i in range(900)])
        low, high = interval(replicates([values], keys))
        widths.append(float((high - low)[0]))
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.sqrt(0.3 * 0.7 / 900), rel=0.05)


def test_rows_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    rows = hits("de", [1, 1, 0, 0])
    rows[1]["top_ids"] = rows[0]["top_ids"]  # one candidate, right for two sentences
    path = measure(tmp_path, "hand/x", {"de": rows, "sw": hits("sw", [1, 0, 0, 0])})
    with pytest.raises(DataError, match=f"{path.name} contradicts itself"):
        fold(OutcomeFile(path))
    with pytest.raises(DataError, match=f"{path.name} contradicts itself"):
        score_file(OutcomeFile(path))


def test_an_answer_without_a_score_is_named(tmp_path: Path) -> None:
    rows = [row | {"f1": None} for row in answers("de", [1, 0])]
    path = measure(tmp_path, "hand/x", {"de": rows}, task="demo_qa", layer=None)
    for read in (fold, score_file):
        with pytest.raises(DataError, match="2 examples have no f1"):
            read(OutcomeFile(path))
