"""Alignment: by hand, against brute force, and where the answer is known."""

from __future__ import annotations

from math import cos, isnan, radians, sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from harness.alignment.align import align, choose_words
from harness.alignment.numbers import MACRO, METRICS, measure, summarise
from harness.data.examples import Bitext
from harness.errors import UsageError
from harness.evaluation.options import Options

Float32 = npt.NDArray[np.float32]


def at_angles(*degrees: float) -> Float32:
    """Unit vectors of two dimensions."""
    return np.array([[cos(radians(d)), np.sin(radians(d))] for d in degrees], dtype=np.float32)


def unit(vectors: npt.NDArray[np.float64]) -> Float32:
    normed = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normed.astype(np.float32)


def bitext(size: int, lang: str = "de") -> Bitext:
    return Bitext(lang, tuple(f"x{i}" for i in range(size)), tuple(f"e{i}" for i in range(size)))


def means(values: npt.NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(METRICS, values.mean(axis=0).tolist(), strict=True))


def test_two_dimensions_by_hand() -> None:
    # English at 0°, 90°; their translations at 60°, 90°.
    values, median = measure(at_angles(0, 90), at_angles(60, 90), bitext(2))
    # Pairs: cos 60° and cos 0°. Random: 0° with 90°, and 90° with 60°, which is cos 30°.
    found = means(values)
    assert found["cosine"] == pytest.approx((0.5 + 1) / 2)
    assert found["random"] == pytest.approx((0 + sqrt(3) / 2) / 2)
    assert found["gap"] == pytest.approx(0.75 - sqrt(3) / 4)
    # Both translations come first: 60° is nearer to 0° than 90° is.
    assert (found["accuracy"], found["mrr"], found["recall@10"], median) == (1, 1, 1, 0.5)


def test_ranks_by_hand() -> None:
    # English 0°, its translation at 80° behind the other one's at 50°; English 40° finds its own.
    values, median = measure(at_angles(0, 40), at_angles(80, 50), bitext(2))
    found = means(values)
    assert (found["accuracy"], found["mrr"], median) == (0.5, 0.75, 1.5 / 2)


def test_random_pairs_are_exact_and_leave_out_translations() -> None:
    rng = np.random.default_rng(3)
    english = ("a", "b", "a", "c", "d", "b")
    source = ("p", "q", "r", "s", "p", "q")
    by_text = {text: rng.normal(size=4) + 1 for text in (*english, *source)}
    e = unit(np.array([by_text[text] for text in english]))
    x = unit(np.array([by_text[text] for text in source]))
    brute = [
        float(e[i].astype(np.float64) @ x[j].astype(np.float64))
        for i in range(6)
        for j in range(6)
        if english[i] != english[j] and source[i] != source[j]
    ]
    values, _ = measure(e, x, Bitext("de", source, english))
    assert means(values)["random"] == pytest.approx(np.mean(brute), abs=1e-12)
    assert means(values)["gap"] == pytest.approx(means(values)["cosine"] - np.mean(brute))


def test_an_example_stands_for_both_its_parts_in_random_pairs() -> None:
    # To first order, more weight on one example moves the mean as it moves the pairs' own.
    rng = np.random.default_rng(4)
    size = 7
    e, x = unit(rng.normal(size=(size, 3)) + 0.5), unit(rng.normal(size=(size, 3)) + 0.5)
    values, _ = measure(e, x, bitext(size))
    cosines = e.astype(np.float64) @ x.T.astype(np.float64)
    np.fill_diagonal(cosines, 0)

    def mean(weights: npt.NDArray[np.float64]) -> float:
        pairs = np.outer(weights, weights)
        np.fill_diagonal(pairs, 0)
        return float((pairs * cosines).sum() / pairs.sum())

    column = values[:, METRICS.index("random")]
    for i in range(size):
        weights = np.ones(size)
        weights[i] += 1e-6
        moved = (mean(weights) - mean(np.ones(size))) / 1e-6
        assert moved == pytest.approx((column[i] - column.mean()) / size, abs=1e-5)


def test_an_isotropic_random_model_has_no_gap_and_ranks_by_chance() -> None:
    rng = np.random.default_rng(5)
    size = 400
    e, x = unit(rng.normal(size=(size, 64))), unit(rng.normal(size=(size, 64)))
    (row, _) = summarise(
        "sentences", {"de": bitext(size)}, {"de": [measure(e, x, bitext(size))]}, rng
    )
    low, high = row.intervals["gap"]
    assert low < 0 < high
    assert high - low < 0.04
    assert abs(row.values["random"]) < 0.01
    assert row.values["median_rank"] == pytest.approx(0.5, abs=0.08)
    assert row.intervals["recall@10"][0] < row.values["chance"] < row.intervals["recall@10"][1]


def test_an_anisotropic_random_model_has_high_cosines_and_no_gap() -> None:
    rng = np.random.default_rng(6)
    shift = np.zeros(64)
    shift[0] = 80
    e, x = (unit(rng.normal(size=(300, 64)) + shift) for _ in range(2))
    found = means(measure(e, x, bitext(300))[0])
    assert found["cosine"] > 0.98
    assert abs(found["gap"]) < 0.001
    assert found["recall@10"] < 0.1


def test_equal_texts_have_cosine_one() -> None:
    rng = np.random.default_rng(7)
    vectors = unit(rng.normal(size=(50, 16)))
    same = Bitext("de", *(tuple(f"t{i}" for i in range(50)),) * 2)
    found = means(measure(vectors, vectors, same)[0])
    assert found["cosine"] == pytest.approx(1, abs=1e-6)
    assert found["accuracy"] == 1


def test_vectors_that_are_all_equal_have_cosines_and_no_ranks() -> None:
    vectors = np.repeat(at_angles(30), 5, axis=0)
    values, median = measure(vectors, vectors, bitext(5))
    found = means(values)
    assert found["cosine"] == pytest.approx(1) == found["random"]
    assert found["gap"] == pytest.approx(0, abs=1e-6)
    assert all(isnan(value) for value in (found["recall@10"], found["mrr"], median))


def test_a_single_pair_has_no_random_pairs() -> None:
    values, _ = measure(at_angles(0), at_angles(60), bitext(1))
    found = means(values)
    assert found["cosine"] == pytest.approx(0.5)
    assert isnan(found["random"])
    assert isnan(found["gap"])


def test_the_mean_is_over_languages_and_texts_are_drawn_together() -> None:
    rng = np.random.default_rng(8)
    few, many = bitext(10, "hi"), bitext(30, "de")  # the first ten English texts are the same
    measured = {}
    for one in (few, many):
        size = len(one.source)
        measured[one.lang] = [
            measure(unit(rng.normal(size=(size, 8))), unit(rng.normal(size=(size, 8))), one)
            for _ in range(3)
        ]
    rows = summarise("words", {"hi": few, "de": many}, measured, np.random.default_rng(0))
    assert [(row.lang, row.layer) for row in rows] == [
        (lang, layer) for lang in ("hi", "de", "macro") for layer in range(3)
    ]
    for layer in range(3):
        hindi, german, macro = (row for row in rows if row.layer == layer)
        assert macro.pairs == 40
        for name, value in macro.values.items():
            assert value == pytest.approx((hindi.values[name] + german.values[name]) / 2)
        for name, (low, high) in macro.intervals.items():
            assert low <= macro.values[name] <= high
        # Three times the pairs: a narrower interval.
        spans = [row.intervals["cosine"][1] - row.intervals["cosine"][0] for row in (hindi, german)]
        assert spans[1] < spans[0]
    again = summarise("words", {"hi": few, "de": many}, measured, np.random.default_rng(0))
    assert again == rows


def test_the_interval_is_that_of_the_mean() -> None:
    # Of n independent values the standard error of their mean is s / √n.
    rng = np.random.default_rng(9)
    size = 500
    e, x = unit(rng.normal(size=(size, 4))), unit(rng.normal(size=(size, 4)))
    values, median = measure(e, x, bitext(size))
    row = summarise("words", {"de": bitext(size)}, {"de": [(values, median)]}, rng)[0]
    for at, name in enumerate(METRICS):
        low, high = row.intervals[name]
        expected = 2 * 1.96 * values[:, at].std() / sqrt(size)
        assert high - low == pytest.approx(expected, rel=0.12), name


def test_repeated_english_texts_are_one_cluster() -> None:
    # The same pair 20 times tells no more than once: resampling clusters sees no spread to lose.
    vectors = at_angles(0, 40)
    e, x = np.repeat(vectors, 20, axis=0), np.repeat(at_angles(10, 120), 20, axis=0)
    repeated = Bitext("de", ("p",) * 20 + ("q",) * 20, ("a",) * 20 + ("b",) * 20)
    row = summarise(
        "words", {"de": repeated}, {"de": [measure(e, x, repeated)]}, np.random.default_rng(0)
    )[0]
    low, high = row.intervals["cosine"]
    # Of two clusters half the resamples hold one alone.
    assert (low, high) == pytest.approx((cos(radians(80)), cos(radians(10))), abs=1e-5)


def test_a_single_english_text_has_no_interval() -> None:
    # German has one text of the two that Hindi has: alone it varies in no resample.
    e, x = at_angles(0, 40), at_angles(10, 120)
    two, one = Bitext("hi", ("p", "q"), ("a", "b")), Bitext("de", ("p",), ("c",))
    measured = {"hi": [measure(e, x, two)], "de": [measure(e[:1], x[:1], one)]}

    def known(*bitexts: Bitext) -> dict[str, bool]:
        given = {bitext.lang: bitext for bitext in bitexts}
        values = {lang: measured[lang] for lang in given}
        rows = summarise("words", given, values, np.random.default_rng(0))
        return {row.lang: not np.isnan(row.intervals["cosine"]).any() for row in rows}

    assert known(two, one) == {"hi": True, "de": False, MACRO: True}
    assert known(one) == {"de": False, MACRO: False}


def test_languages_without_words_are_named() -> None:
    chinese = Bitext("zh", ("一",) * 30, tuple(f"one {i}" for i in range(30)))
    german = Bitext("de", ("eins zwei", "eins drei"), ("one two", "one three"))
    words, left_out = choose_words({"zh": chinese, "de": german})
    assert words == {}
    assert left_out == {"zh": "no spaces between words", "de": "1 word pairs"}


def test_from_python() -> None:
    with pytest.raises(UsageError, match="no translation pairs"):
        align("xharness/demo", "lareqa", Options())


def test_real_tatoeba_has_words_in_most_languages(data_dir: Path, tmp_path: Path) -> None:
    from harness.cards.catalogue import read_card
    from harness.data.load import DataLocation, load

    langs = ("de", "hi", "ru", "zh")
    examples = load(
        read_card("tatoeba"), "test", langs, DataLocation(data_dir, tmp_path, offline=True)
    ).examples
    words, left_out = choose_words(examples)  # type: ignore[arg-type]
    assert {lang: len(found.source) for lang, found in words.items()} == {
        "de": 235,
        "hi": 156,
        "ru": 146,
    }
    assert left_out == {"zh": "no spaces between words"}
    assert {("water", "Wasser"), ("truth", "Wahrheit"), ("week", "Woche")} < set(
        zip(words["de"].english, words["de"].source, strict=True)
    )
