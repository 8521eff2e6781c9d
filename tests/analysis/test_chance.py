"""Languages at chance, from results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.analysis.chance import at_chance, ceiling, columns_at_chance, draws_of, expected
from harness.analysis.gather import read_board
from harness.analysis.results import Result
from harness.statistics.chance import RandomDraws
from tests.board.boards import BASE, hits, measure, submit


def passages(found: int, questions: int = 60) -> list[dict[str, Any]]:
    """German questions with eight relevant candidates of 384: of each the first, of ``found``."""
    return [
        {
            "example_id": f"de:{i}", "lang": "de", "cluster": f"demo:{i // 5}",
            "direction": "de-all", "ranks": [1 if i < found else 20, *range(50, 57)],
            "relevant": 8, "top_ids": [f"de:{i}"],
        }
        for i in range(questions)
    ]  # fmt: skip


def result(root: Path, slug: str, task: str) -> Result:
    (entry,) = [entry for entry in read_board(root).entries if entry.slug == slug]
    return next(one for one in entry.results if one.task == task)


def test_every_relevant_candidate_is_a_draw(root: Path) -> None:
    """480 draws at 10 / 384: 12.5 hits on average, up to 20 by chance. 60 questions alone at that
    rate have up to 4, which would be a recall of 4 / 60 = 32 / 480."""
    submit(root, BASE)
    for model, found in ((BASE, 20), ("hand/above", 21)):
        measure(root, model, {"de": passages(found)}, task="demo_passages")
    submit(root, "hand/above")
    low, above = (result(root, slug, "demo_passages") for slug in ("base", "above"))
    random = draws_of(low, "de")
    assert random is not None
    assert (random.draws, random.rate, random.most()) == (480, 10 / 384, 20)
    assert at_chance([low], "de")
    assert not at_chance([above], "de")
    # No run of either side may exceed it.
    assert not at_chance([low, above], "de")
    assert columns_at_chance([{"demo_passages": low}]) == (("demo_passages", "de"),)
    assert columns_at_chance([{"demo_passages": low}, {"demo_passages": above}]) == ()


def test_a_mean_over_seeds_stands_for_its_seeds(root: Path) -> None:
    """Of 100 sentences 17 may be guessing: seeds with 10, 10 and 18 have a mean of 12.7."""
    submit(root, BASE)
    measure(root, BASE, {u: hits(u, [0] * 100) for u in ("de", "sw")})
    for seed, count in enumerate((10, 10, 18)):
        model = f"hand/en-{seed}"
        rows = {u: hits(u, [1] * count + [0] * (100 - count)) for u in ("de", "sw")}
        measure(root, model, rows)
        submit(root, model, base=BASE, objective="extractive-qa", languages=["en"], recipe="en",
               seed=seed)  # fmt: skip
    (variant,) = [entry for entry in read_board(root).shown if entry.slug == "en"]
    mean = variant.tasks("frozen")["demo_bitext"]
    assert mean.values["de"].value == pytest.approx(0.38 / 3)
    assert [at_chance([seed], "de") for seed in mean.seeds] == [True, True, False]
    assert not at_chance([mean], "de")


def test_the_pool_is_whole_with_a_limit(root: Path) -> None:
    """Four queries of a card's own number of sentences, not of a pool of four."""
    rows = {u: hits(u, [1, 0, 0, 0]) for u in ("de", "sw")}
    for task in ("tatoeba", "demo_bitext"):
        measure(root, BASE, rows, task=task, limit=4)
    slug = read_board(root).entries[0].slug
    random = draws_of(result(root, slug, "tatoeba"), "de")
    assert random is not None
    assert (random.draws, random.rate) == (4, 10 / 1_000)
    # The card does not say how many sentences there are.
    assert draws_of(result(root, slug, "demo_bitext"), "de") is None


def test_answers_have_no_chance(root: Path) -> None:
    from tests.board.boards import answers

    measure(root, BASE, {"de": answers("de", [0.0, 0.0])}, task="demo_qa", layer=None)
    found = result(root, read_board(root).entries[0].slug, "demo_qa")
    assert draws_of(found, "de") is None
    assert not at_chance([found], "de")


def a_result(metric: str, relevant: float = 1, candidates: int | None = None) -> Any:
    """Two languages of 200 and of 50 queries."""
    values = {"de": SimpleNamespace(n=200), "sw": SimpleNamespace(n=50)}
    card = SimpleNamespace(kind="bitext", candidates=candidates, counts={}, chance=None)
    meta = {"limit": None, "split": "test"}
    return SimpleNamespace(
        metric=metric, card=card, values=values, relevant=dict.fromkeys(values, relevant),
        folded=SimpleNamespace(meta=meta),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "candidates", "by_chance"),
    [
        ("recall@10", None, (10 / 200 + 10 / 50) / 2),
        ("recall@10", 13_014, 10 / 13_014),
        ("accuracy", None, (1 / 200 + 1 / 50) / 2),
        ("mrr", None, None),
    ],
)
def test_what_a_random_order_scores(
    metric: str, candidates: int | None, by_chance: float | None
) -> None:
    assert expected(a_result(metric, candidates=candidates)) == (
        None if by_chance is None else pytest.approx(by_chance)
    )


@pytest.mark.parametrize(
    ("metric", "relevant", "most"),
    [("recall@10", 11, 10 / 11), ("recall@20", 11, 1), ("recall@10", 1, 1), ("f1", 11, 1)],
)
def test_the_most_there_is(metric: str, relevant: float, most: float) -> None:
    assert ceiling(a_result(metric, relevant)) == pytest.approx(most)


def labelled(right: int, gold: list[str]) -> list[dict[str, Any]]:
    """German pairs with these labels, of which the first ``right`` are found."""
    other = {"neutral": "entailment", "entailment": "contradiction", "contradiction": "neutral"}
    return [
        {
            "example_id": f"test:{n}", "lang": "de", "cluster": f"demo_pairs:test:{n // 3}",
            "gold": label, "prediction": label if n < right else other[label],
            "correct": n < right, "scores": [0.0, 1.0, 0.0],
        }
        for n, label in enumerate(gold)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("classes", "rate", "most"),
    [
        ((4, 4, 4), 1 / 3, 7),  # 4 of 12 are right by chance, and up to 7 by luck
        ((6, 3, 3), 1 / 2, 9),  # 6, and up to 9: P(X ≤ 8) = 0.927, P(X ≤ 9) = 0.981
    ],
)
def test_the_larger_class_of_the_rows_is_what_chance_is(
    classes: tuple[int, int, int], rate: float, most: int, root: Path
) -> None:
    names = ("neutral", "entailment", "contradiction")
    gold = [name for name, count in zip(names, classes, strict=True) for _ in range(count)]
    for model, right in ((BASE, most), ("hand/above", most + 1)):
        submit(root, model)
        measure(root, model, {"de": labelled(right, gold)}, task="demo_pairs")
    low, above = (result(root, slug, "demo_pairs") for slug in ("base", "above"))
    random = draws_of(low, "de")
    assert random is not None
    assert (random.draws, random.rate, random.most()) == (12, rate, most)
    assert at_chance([low], "de")
    assert not at_chance([above], "de")


def test_without_rows_chance_is_that_of_the_card() -> None:
    found = a_result("accuracy")
    found.card.chance, found.larger = 0.57, {"de": 0.5525}
    assert [draws_of(found, lang).rate for lang in ("de", "sw")] == [0.5525, 0.57]  # type: ignore[union-attr]
    # Of 2,000 pairs 0.5915 and 0.5745 are the most that luck gives.
    assert RandomDraws(2000, 0.57).most() == 1183
    assert RandomDraws(2000, 0.5525).most() == 1149


def test_the_pool_of_passages_is_that_of_all_languages(root: Path) -> None:
    """A card need not say how large it is. It holds more than the questions of one language."""
    submit(root, BASE)
    measure(root, BASE, {"de": passages(20)}, task="demo_passages")
    one = result(root, "base", "demo_passages")
    sizes = dict.fromkeys(one.card.languages, 48)
    for candidates, rate in ((sizes, 10 / sum(sizes.values())), ({"de": 48}, None)):
        folded = SimpleNamespace(
            card=one.card.model_copy(update={"candidates": None}),
            meta={**one.folded.meta, "candidates": candidates},
        )
        found = draws_of(replace(one, folded=cast(Any, folded)), "de")
        assert (found and found.rate) == rate
