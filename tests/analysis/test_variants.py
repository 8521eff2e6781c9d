"""Seeds of one recipe are one variant; matched designs are contrasted with themselves alone.

Two recipes of one design on the hand-worked base, three seeds each. Of four sentences in German and
Swahili a seed of `en` finds (1, 2, 3) of 8, a seed of `many` (4, 5, 6):

    en    means 1/8 2/8 3/8 = 12.5 25.0 37.5, mean 25.0
    many  means 4/8 5/8 6/8 = 50.0 62.5 75.0, mean 62.5
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.compare import compare
from harness.analysis.contrasts import _answer, _ask, _Question
from harness.analysis.entries import Entry
from harness.analysis.gather import read_board
from harness.analysis.sides import Source
from harness.analysis.variants import titled
from harness.board.answer import answer
from harness.board.build import leaderboard, render
from harness.cards.catalogue import read_card
from harness.errors import UsageError
from harness.statistics.multiplicity import benjamini_hochberg, holm
from harness.submissions.folder import read_submissions
from harness.submissions.submission import Submission
from tests.board.boards import BASE, answers, bitext, hits, measure, submit

FOUND = {"en": (1, 2, 3), "many": (4, 5, 6)}
LANGUAGES = {"en": ["en"], "many": ["de", "sw"]}


def lines(count: int) -> dict[str, list[int]]:
    """``count`` hits, first the German sentences and then the Swahili ones."""
    flat = [1] * count + [0] * (8 - count)
    return {"de": flat[:4], "sw": flat[4:]}


@pytest.fixture
def seeded(root: Path) -> Path:
    measure(root, BASE, bitext(BASE))
    submit(root, BASE)
    for recipe, counts in FOUND.items():
        for seed, count in enumerate(counts, start=1):
            model = f"hand/{recipe}-{seed}"
            measure(root, model, {u: hits(u, line) for u, line in lines(count).items()})
            submit(root, model, base=BASE, objective="extractive-qa", seed=seed, recipe=recipe,
                   languages=LANGUAGES[recipe], matched="design")  # fmt: skip
    return root


def shown(root: Path) -> dict[str, Entry]:
    return {entry.slug: entry for entry in read_board(root).shown}


def test_seeds_are_one_row_with_their_mean(seeded: Path) -> None:
    found = shown(seeded)
    assert set(found) == {"base", "en", "many"}
    assert [entry.slug for entry in found["many"].members] == ["many-1", "many-2", "many-3"]
    macro = found["many"].tasks("frozen")["demo_bitext"].macro
    assert macro is not None
    assert macro.value == pytest.approx(0.625)
    (standing,) = read_board(seeded).standings
    assert [row.entry.slug for row in standing.rows] == ["many", "en", "base"]


def test_a_single_seed_stays_a_checkpoint(seeded: Path) -> None:
    for seed in (2, 3):
        (seeded / f"submissions/en-{seed}.yaml").unlink()
    assert {"base", "en-1", "many"} <= set(shown(seeded))
    assert not shown(seeded)["en-1"].members


@pytest.mark.parametrize("seeds", [(1,), (1, 2), (7, 8, 9)])
def test_one_frozen_base_under_several_seeds_is_one_result(
    seeded: Path, seeds: tuple[int, ...]
) -> None:
    leaderboard(seeded)
    page = seeded / "leaderboard/index.html"
    before = page.read_bytes()
    contrasts = [(one.name, one.verdict) for one in read_board(seeded).contrasts]
    for seed in seeds:
        measure(seeded, BASE, bitext(BASE), seed=seed)
    assert not shown(seeded)["base"].tasks("frozen")["demo_bitext"].seeds
    assert [(one.name, one.verdict) for one in read_board(seeded).contrasts] == contrasts
    leaderboard(seeded)
    assert page.read_bytes() == before


def test_a_task_that_a_seed_lacks_is_not_averaged(seeded: Path) -> None:
    units = ("en", "de", "es", "ru", "ar", "hi", "zh", "sw")
    for seed in (1, 2):
        rows = {unit: answers(unit, [1.0, 0.5]) for unit in units}
        measure(seeded, f"hand/en-{seed}", rows, task="demo_qa", layer=None)
    assert shown(seeded)["en"].tasks("own-head") == {}


def test_seeds_are_a_claim_about_a_recipe(seeded: Path) -> None:
    named = {one.name: one for one in read_board(seeded).contrasts if one.track == "frozen"}
    one = named["multilingual QA − English QA"]
    assert one.claim == "recipe"
    assert one.difference is not None
    assert one.difference.estimate.difference == pytest.approx(0.375)
    # s² of either side is 1/64 over its three seeds: the items come on top of it.
    assert one.over is not None
    assert one.over.se is not None
    assert one.over.se**2 == pytest.approx(2 / 64 / 3 + one.difference.estimate.variance)


def test_a_line_of_a_breakdown_is_over_seeds_too(seeded: Path) -> None:
    from scipy.stats import t

    named = {one.name: one for one in read_board(seeded).contrasts if one.track == "frozen"}
    difference = named["multilingual QA − English QA"].difference
    assert difference is not None
    # de: 4 4 4 of 4 against 1 2 3; sw: 0 1 2 against 0 0 0. Either way s² is 1/16 on one side.
    by_hand = {"de": 0.5, "sw": 0.25}
    for part in difference.languages:
        estimate = part.estimate
        assert estimate.difference == pytest.approx(by_hand[part.name])
        assert estimate.variance is not None
        item, seed = estimate.variance, 1 / 16 / 3
        df = (item + seed) ** 2 / (item**2 / 3 + seed**2 / 2)  # four sentences, three seeds
        se = (item + seed) ** 0.5
        reach = t.ppf(0.975, df) * se
        assert estimate.low == pytest.approx(by_hand[part.name] - reach)
        assert estimate.high == pytest.approx(by_hand[part.name] + reach)
        assert estimate.p == pytest.approx(2 * t.sf(by_hand[part.name] / se, df))
    p_values = [part.estimate.p for part in difference.languages]
    assert [part.q for part in difference.languages] == benjamini_hochberg(p_values)
    (indo_european,) = [p for p in difference.groups["family"] if p.name == "Indo-European"]
    assert indo_european.estimate == difference.languages[0].estimate


def test_seen_less_unseen_is_over_seeds_too(seeded: Path) -> None:
    named = {one.name: one for one in read_board(seeded).contrasts if one.track == "frozen"}
    one = named["multilingual QA − base"]  # trained on de and sw: no language is unseen
    assert one.difference is not None
    assert one.difference.seen_less_unseen is None
    for seed in FOUND["many"]:
        path = seeded / f"submissions/many-{seed - 3}.yaml"
        path.write_text(path.read_text().replace("sw", "es"))
    named = {one.name: one for one in read_board(seeded).contrasts if one.track == "frozen"}
    one = named["multilingual QA − base"]
    assert one.difference is not None
    did = one.difference.seen_less_unseen
    assert did is not None
    assert did.variance is not None
    assert did.high is not None
    # de − sw of the seeds: 1 − 0, 1 − ¼, 1 − ½; the base finds neither.
    assert did.difference == pytest.approx(0.75)
    from scipy.stats import t

    item, seed = did.variance, 1 / 16 / 3
    df = (item + seed) ** 2 / (item**2 / 3 + seed**2 / 2)
    assert did.high - 0.75 == pytest.approx(t.ppf(0.975, df) * (item + seed) ** 0.5)


def test_only_the_matched_design_is_contrasted(seeded: Path) -> None:
    measure(seeded, "hand/other", bitext(BASE))
    submit(seeded, "hand/other", base=BASE, objective="extractive-qa", languages=["en"])
    named = {one.name: one for one in read_board(seeded).contrasts if one.track == "frozen"}
    matched = named["multilingual QA − English QA"]
    assert "other" not in matched.b
    assert ("other", "not of the matched design") in matched.left_out
    assert "other" in named["English QA − base"].a


def test_a_recipe_is_contaminated_where_a_seed_is(seeded: Path) -> None:
    """Its mean holds that seed's score. What a seed drew of a corpus is measured for each."""
    submit(seeded, "hand/en-2", base=BASE, objective="extractive-qa", seed=2, recipe="en",
           languages=["en"], matched="design", contaminated=["demo_bitext"])  # fmt: skip
    board = read_board(seeded)
    (row,) = [row for row in board.standings[0].rows if row.entry.slug == "en"]
    assert (row.rank, row.why) == (None, "contaminated: demo_bitext")
    assert row.entry.contaminated == {"demo_bitext"}
    assert "en" not in {gain.entry.slug for gain in board.gains}
    (line,) = [line for line in board.targets[0].lines if line.entry.slug == "en"]
    assert [mean.why for mean in line.means] == ["contaminated: demo_bitext"]
    one = next(one for one in board.contrasts if one.name == "English QA − base")
    assert one.a == ("en-1", "en-3")


def test_what_is_left_out_is_named_as_people_read_it(seeded: Path) -> None:
    """A recipe of which no seed is used has one name; so has a checkpoint without a recipe."""
    measure(seeded, "hand/other", bitext(BASE))
    submit(seeded, "hand/other", base=BASE, objective="extractive-qa", languages=["en"])
    for seed in (1, 2):
        name = f"hand/unmatched-{seed}"
        measure(seeded, name, bitext(BASE))
        submit(seeded, name, base=BASE, objective="extractive-qa", languages=["en"],
               datasets=["NewsQA"], recipe="news", seed=seed)  # fmt: skip
    files = render(read_board(seeded))
    readme, text = (files[f"leaderboard/{name}.md"].decode() for name in ("README", "contrasts"))
    assert ", between the checkpoints of one design alone\n" in readme
    assert "; left out, not of the matched design: English QA (NewsQA), 2 seeds · hand/other |" in (
        text
    )


def test_gains_over_seeds(seeded: Path) -> None:
    from scipy.stats import t

    board = read_board(seeded)
    gain = next(gain for gain in board.gains if gain.entry.slug == "many")
    named = next(one for one in board.contrasts if one.name == "multilingual QA − base")
    # It is one of the named contrasts: the same verdict, Holm's p included.
    assert gain.verdict == named.verdict
    assert gain.verdict.adjusted.method == "Holm"
    assert gain.verdict.estimate == pytest.approx(0.625)
    assert named.difference is not None
    assert named.difference.estimate.variance is not None
    item, seed = named.difference.estimate.variance, 1 / 64 / 3
    df = (item + seed) ** 2 / (item**2 / 3 + seed**2 / 2)  # four sentences, three seeds
    reach = t.ppf(0.975, df) * (item + seed) ** 0.5
    assert (gain.verdict.low, gain.verdict.high) == pytest.approx((0.625 - reach, 0.625 + reach))
    # Simultaneous over the family of eight: 1 − .05 / 8, half of the rest on each side.
    reach = t.ppf(1 - 0.05 / 16, df) * (item + seed) ** 0.5
    assert (gain.verdict.family_low, gain.verdict.family_high) == pytest.approx(
        (0.625 - reach, 0.625 + reach)
    )


def mined(unit: str, sources: Sequence[int]) -> list[dict[str, Any]]:
    """One gold pair, that of source 0, and the sources that were mined from the test corpus."""
    return [
        {
            "source_id": f"{unit}-{i}", "target_id": f"en-{i}", "lang": unit, "margin": margin,
            "gold": i == 0, "kept": margin is not None, "split": split,
        }
        for split, own in (("dev", [0]), ("test", sources))
        for i in sorted({0, *own})
        for margin in [1.0 if i in own else None]
    ]  # fmt: skip


@pytest.fixture
def mining(seeded: Path) -> Path:
    """F1 of the seeds of `en`: 1; 2 · 1 / (2 + 1); 0. Each has mined other sentences."""
    for seed, sources in ((1, [0]), (2, [0, 1]), (3, [2, 3])):
        rows = {unit: mined(unit, sources) for unit in ("de", "ru", "zh")}
        measure(seeded, f"hand/en-{seed}", rows, task="demo_mining")
    return seeded


def test_seeds_that_mined_other_sentences(mining: Path) -> None:
    result = shown(mining)["en"].tasks("frozen")["demo_mining"]
    assert result.macro is not None
    assert result.macro.value == pytest.approx((1 + 2 / 3 + 0) / 3)
    keys, added = result.parts["de"]
    assert len(keys) == 4
    assert list(keys) == sorted(keys)
    of_seed = [dict(zip(*one.parts["de"], strict=True)) for one in result.seeds]
    assert [len(parts) for parts in of_seed] == [1, 2, 3]
    for key, part in zip(keys, added, strict=True):
        assert part == pytest.approx(sum(parts.get(key, 0.0) for parts in of_seed) / 3)


def test_mined_pairs_of_seeds_are_not_compared_in_silence(mining: Path) -> None:
    for seed in (1, 2, 3):
        rows = {unit: mined(unit, [0]) for unit in ("de", "ru", "zh")}
        measure(mining, f"hand/many-{seed}", rows, task="demo_mining")
    source = Source(mining / "leaderboard/results", read_submissions(mining / "submissions"))
    (found,) = compare("many", "en", source)
    assert found.metric == "recall@10"
    by_metric = {one.metric: one for one in compare("many-3", "en-3", source)}
    assert by_metric["f1"].difference.estimate.difference == pytest.approx(1.0)


def test_what_a_base_was_made_of_is_no_intermediate_data(seeded: Path) -> None:
    submit(seeded, BASE, objective="mlm", languages=["de", "sw"])
    for seed in (1, 2, 3):
        submit(seeded, f"hand/many-{seed}", base=BASE, objective="extractive-qa", seed=seed,
               recipe="many", languages=["en", "de"], matched="design")  # fmt: skip
    named = {one.name: one for one in read_board(seeded).contrasts if one.track == "frozen"}
    found = named["multilingual QA − base"].difference
    assert found is not None
    assert (found.seen, found.unseen) == (("de",), ("sw",))


@pytest.mark.parametrize(
    ("of_a", "of_b", "seen", "unseen"),
    [
        ([["de", "es"]] * 3, [["en"]] * 3, ("de",), ("sw",)),
        # Swahili is in the data of one of A alone.
        ([["de", "es"], ["de", "sw"], ["de", "es"]], [["en"]] * 3, ("de", "sw"), ()),
        ([["es"], ["es"], ["es", "sw"]], [["en"]] * 3, ("sw",), ("de",)),
        # German is in the data of one of B.
        ([["de", "es"]] * 3, [["en"], ["en"], ["de"]], (), ("sw",)),
        # Nobody knows what the third has seen, on either side.
        ([["de", "es"], ["de", "es"], ["multilingual"]], [["en"]] * 3, (), ()),
        ([["de", "es"]] * 3, [["en"], ["en"], ["en", "multilingual"]], (), ()),
    ],
)
def test_what_a_side_has_seen(
    of_a: list[list[str]],
    of_b: list[list[str]],
    seen: tuple[str, ...],
    unseen: tuple[str, ...],
    seeded: Path,
) -> None:
    for name, languages in (("many", of_a), ("en", of_b)):
        for seed, own in enumerate(languages, start=1):
            submit(seeded, f"hand/{name}-{seed}", base=BASE, objective="extractive-qa",
                   languages=own, recipe=f"{name}-{seed}", seed=seed)  # fmt: skip
    entries = {entry.slug: entry for entry in read_board(seeded).entries}
    kinds = {"A": [entries[f"many-{seed}"] for seed in (1, 2, 3)],
             "B": [entries[f"en-{seed}"] for seed in (1, 2, 3)]}  # fmt: skip
    question = _Question("base", "A", "B", "frozen", "recall@10")
    (answer,) = _answer([_ask(question, kinds)], seeded / "leaderboard/results", None)
    difference = answer.difference
    assert difference is not None
    assert (difference.seen, difference.unseen) == (seen, unseen)
    assert (difference.seen_less_unseen is None) == (not (seen and unseen))


def test_compare_takes_recipes(seeded: Path) -> None:
    (found,) = compare(
        "many",
        "en",
        Source(seeded / "leaderboard/results", read_submissions(seeded / "submissions")),
    )
    assert found.difference.estimate.difference == pytest.approx(0.375)
    assert found.over is not None
    assert found.over.claim == "recipe"
    assert found.interval == (found.over.low, found.over.high)
    (found,) = compare(
        "many-1",
        "en-1",
        Source(seeded / "leaderboard/results", read_submissions(seeded / "submissions")),
    )
    assert found.over is None
    assert found.difference.estimate.difference == pytest.approx(0.375)


def test_a_recipe_is_compared_on_one_revision_of_its_base_alone(seeded: Path) -> None:
    """As the board puts seeds together: those on another revision are another variant."""
    submit(seeded, "hand/en-3", base=BASE, base_revision="b" * 40, objective="extractive-qa",
           seed=3, recipe="en", languages=["en"], matched="design")  # fmt: skip
    assert [len(one.members) for slug, one in shown(seeded).items() if slug == "en"] == [2]
    source = Source(seeded / "leaderboard/results", read_submissions(seeded / "submissions"))
    with pytest.raises(UsageError, match=r"several bases \(hand/base, hand/base@b+\)"):
        compare("many", "en", source)


def test_the_answer_is_about_recipes(seeded: Path) -> None:
    (seeded / "leaderboard/STUDY.md").write_text("How they were made.\n", encoding="utf-8")
    leaderboard(seeded)
    text = (seeded / "leaderboard/README.md").read_text(encoding="utf-8")
    assert "one recipe of intermediate training on English QA (3 seeds)" in text
    assert "this is about these recipes on this base, in these languages" in text
    assert "[the study behind it](STUDY.md)" in text
    leaderboard(seeded, check=True)
    (seeded / "leaderboard/STUDY.md").unlink()
    leaderboard(seeded)
    assert "STUDY.md" not in (seeded / "leaderboard/README.md").read_text(encoding="utf-8")


def test_an_answer_to_one_question_changes_no_p_of_another(seeded: Path) -> None:
    def adjusted() -> dict[str, tuple[float | None, float | None]]:
        found = [one for one in read_board(seeded).contrasts if one.track == "frozen"]
        return {one.name: (one.p, one.holm) for one in found}

    before = adjusted()
    known = sorted(p for p, _ in before.values() if p is not None)
    assert len(known) == 3
    assert min(holm for _, holm in before.values() if holm is not None) == pytest.approx(
        min(8 * known[0], 1.0)
    )
    measure(seeded, "hand/nli", bitext(BASE))
    submit(seeded, "hand/nli", base=BASE, objective="nli", languages=["en"])
    after = adjusted()
    assert after["English NLI − base"][1] == 1.0
    assert {name: after[name] for name in before if name != "English NLI − base"} == {
        name: one for name, one in before.items() if name != "English NLI − base"
    }


def test_seen_less_unseen_is_a_family_of_its_own(seeded: Path) -> None:
    for seed in (1, 2, 3):
        submit(seeded, f"hand/many-{seed}", base=BASE, objective="extractive-qa", seed=seed,
               recipe="many", languages=["en", "de"], matched="design")  # fmt: skip
    board = read_board(seeded)
    found = {one.name: one for one in board.contrasts if one.track == "frozen"}
    seen = {name: one.difference and one.difference.seen_less_unseen for name, one in found.items()}
    assert [name for name, one in seen.items() if one is not None] == [
        "multilingual QA − base", "multilingual QA − English QA",
    ]  # fmt: skip
    estimates = [one for one in seen.values() if one is not None]
    assert [found[name].seen_holm for name, one in seen.items() if one is not None] == (
        holm([one.p for one in estimates], family=8)
    )
    assert found["English QA − base"].seen_holm is None
    leaderboard(seeded)
    text = (seeded / "leaderboard/contrasts.md").read_text(encoding="utf-8")
    assert "], Holm p " in text


def test_pages_of_a_variant_and_its_seeds(seeded: Path) -> None:
    leaderboard(seeded)
    folder = seeded / "leaderboard"
    page = (folder / "checkpoints/many.md").read_text(encoding="utf-8")
    assert "trained with 3 seeds" in page
    start = "| [Multilingual QA (many), seed "
    rows = [line for line in page.splitlines() if line.startswith(start)]
    assert [row.split("**")[1] for row in rows] == ["50.0", "62.5", "75.0"]
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "[Multilingual QA (many), 3 seeds](checkpoints/many.md) on base |" in readme
    contrasts = (folder / "contrasts.md").read_text(encoding="utf-8")
    assert "recipe: 3 seeds against 3 seeds; demo&#95;bitext" in contrasts


def _entry(slug: str, **fields: Any) -> Entry:
    made = {"recipe": "en-1a", "datasets": ["MLQA dev, English"], "base": "org/one", "seed": 1}
    submission = Submission(
        model=slug, objective="extractive-qa", languages=["en"], revision="a" * 40, **made | fields
    )
    return Entry(slug, slug, None, submission, None, frozenset(), ())


@pytest.mark.parametrize(
    ("second", "names"),
    [
        ({"seed": 2}, ["English QA (MLQA dev), seed 1", "English QA (MLQA dev), seed 2"]),
        (
            {"base": "org/two"},
            ["English QA (MLQA dev) on one, seed 1", "English QA (MLQA dev) on two, seed 1"],
        ),
        (
            {"datasets": ["MLQA dev, a half"]},
            ["English QA (MLQA dev, English) on one, seed 1",
             "English QA (MLQA dev, a half) on one, seed 1"],
        ),
        (
            {"recipe": "en-2b"},
            ["English QA (MLQA dev, English; en-1a) on one, seed 1",
             "English QA (MLQA dev, English; en-2b) on one, seed 1"],
        ),
        (
            {},
            ["English QA (MLQA dev, English; a) on one, seed 1",
             "English QA (MLQA dev, English; b) on one, seed 1"],
        ),
    ],
    ids=["seed", "base", "data", "recipe", "nothing"],
)  # fmt: skip
def test_a_name_is_the_shortest_that_is_no_others(second: dict[str, Any], names: list[str]) -> None:
    assert [one.title for one in titled([_entry("a"), _entry("b", **second)])] == names


def test_a_checkpoint_without_a_recipe_has_its_models_name() -> None:
    hub = Entry("org__x", "org/x", None, None, None, frozenset(), ())
    one, other = (Entry(slug, "local", None, None, None, frozenset(), ()) for slug in "ab")
    assert [e.title for e in titled([hub, one])] == ["org/x", "local"]
    assert [e.title for e in titled([one, other])] == ["local (a)", "local (b)"]


def test_an_answer_over_other_tasks_than_the_first_names_them(seeded: Path) -> None:
    board = read_board(seeded)
    lead = next(one for one in board.contrasts if one.name == "English QA − base")
    other = next(one for one in board.contrasts if one.name == "multilingual QA − base")
    assert lead.difference is not None
    assert other.difference is not None
    parts = [
        replace(part, columns=tuple(("demo_passages", lang) for _, lang in part.columns))
        for part in other.difference.languages
    ]
    moved = replace(other, difference=replace(other.difference, languages=tuple(parts)))
    found = [moved if one is other else one for one in board.contrasts]
    lines = answer(replace(board, contrasts=tuple(found)))
    (line,) = [line for line in lines if line.startswith("- multilingual QA against no")]
    assert line.endswith(f", over {read_card('demo_passages').title} in 2 languages")
    assert sum(", over " in line for line in lines) == 1
