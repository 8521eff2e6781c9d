"""The paper's table on the hand-worked board of `tests.board.boards`.

English QA − base is 1 in German and 0 in Swahili for every sentence, multilingual QA − base is 1 in
German and, in Swahili, 1 for the first two of four sentences: +50 and +75 points. Two sentences
choose and two measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.analysis.best import Best
from harness.analysis.differences import SEED
from harness.analysis.gather import read_board
from harness.analysis.target_table import TargetTable, averaged
from harness.analysis.targets import Target
from harness.statistics.selection import halves
from tests.board.boards import (
    BASE,
    ENGLISH,
    MANY,
    answers,
    bitext,
    hand_worked,
    hits,
    measure,
    submit,
)

BITEXT = Target("demo_bitext", "frozen")
SMALL = "target data demo_qa_en (protocol: none)"
UNITS = ("en", "de", "es", "ru", "ar", "hi", "zh", "sw")


def table_of(root: Path, kept: Path | None = None) -> TargetTable:
    (table,) = read_board(root, kept).targets
    return table


def columns(table: TargetTable) -> list[tuple[tuple[Target, ...], tuple[Target, ...]]]:
    return [(group.targets, group.basis) for group in table.groups]


def best_of(root: Path, kept: Path | None = None) -> Best:
    """The best per target of the only group."""
    (group,) = table_of(root, kept).groups
    return group.best


def qa(root: Path, model: str, f1: float, seed: int = 0, custom: Sequence[str] = (SMALL,)) -> None:
    rows = {unit: answers(unit, [f1] * 8) for unit in UNITS}
    measure(root, model, rows, task="demo_qa", layer=None, track="tuned", custom=custom, seed=seed)


def test_cells_are_the_verdicts_of_the_board(root: Path) -> None:
    board = read_board(hand_worked(root))
    (table,) = board.targets
    assert (table.base.slug, columns(table)) == ("base", [((BITEXT,), (BITEXT,))])
    assert table.level[BITEXT].macro is not None
    lines = {line.entry.slug: line for line in table.lines}
    assert set(lines) == {"english-qa", "multilingual-qa"}
    for one in board.contrasts:
        if one.b == ("base",) and one.difference is not None:
            line = lines[one.a[0]]
            assert line.cells[BITEXT].gain.verdict == one.verdict
            assert [mean.verdict for mean in line.means] == [one.verdict]


@pytest.mark.parametrize("kept", [False, True])
def test_best_is_chosen_on_one_half_and_measured_on_the_other(
    root: Path, tmp_path: Path, kept: bool
) -> None:
    folder = tmp_path / "kept" if kept else None
    hand_worked(root)
    best = best_of(root, folder)
    if kept:  # read again, as it was kept
        assert best_of(root, folder).honest == best.honest
    choosing = {
        name.rpartition(":")[2] for name in halves([f"tatoeba:{i}" for i in range(4)], SEED)
    }
    found = choosing & {"0", "1"}  # of the Swahili sentences that multilingual QA finds
    name = "multilingual-qa" if found else "english-qa"  # equal ones: the first name
    honest = (1 + (2 - len(found)) / 2) / 2 if found else 0.5
    assert best.naive[BITEXT].entry.slug == "multilingual-qa"
    assert best.naive_mean == pytest.approx(0.75)
    assert best.chosen == {BITEXT: name}
    assert best.honest[BITEXT].estimate == pytest.approx(honest)
    assert best.honest_mean == best.honest[BITEXT]


def tagged(unit: str, right: Sequence[int]) -> list[dict[str, object]]:
    """Four sentences with one name each, which is found in the sentences ``right``."""
    return [
        {
            "example_id": f"{unit}:{at}", "lang": unit, "cluster": f"panx:{at}",
            "gold": ["B-PER", "O"], "prediction": ["B-PER" if at in right else "O", "O"],
        }
        for at in range(4)
    ]  # fmt: skip


def test_best_of_an_f1_over_several_seeds_is_the_mean_of_their_own(root: Path) -> None:
    """F1 has no mean example by example: every seed has its own on either half."""
    units = ("ar", "en", "hi", "sw", "ta", "tr", "vi", "yo", "zh")
    found = {
        BASE: ([0], [2]),
        ENGLISH: ([0, 1, 2, 3], [1]),
        MANY: ([0, 1], [2, 3], [0, 3]),
    }
    hand_worked(root)
    for model, seeds in found.items():
        for seed, right in enumerate(seeds):
            measure(
                root, model, {unit: tagged(unit, right) for unit in units}, task="panx",
                layer=None, track="tuned", split="half", seed=seed, custom=[SMALL],
            )  # fmt: skip
    (group,) = [one for one in table_of(root).groups if one.targets[0].task == "panx"]
    (target,) = group.targets
    chosen = {
        int(name.rpartition(":")[2]) for name in halves([f"panx:{at}" for at in range(4)], SEED)
    }

    def gain(model: str, sentences: set[int]) -> float:
        means = [
            sum(2 * len(own) / (len(own) + 2) for own in ({*right} & sentences for right in seeds))
            / len(seeds)
            for seeds in (found[model], found[BASE])
        ]
        return means[0] - means[1]

    slugs = {"english-qa": ENGLISH, "multilingual-qa": MANY}
    best = max(sorted(slugs), key=lambda slug: gain(slugs[slug], chosen))
    assert group.best.chosen == {target: best}
    rest = {0, 1, 2, 3} - chosen
    assert group.best.honest[target].estimate == pytest.approx(gain(slugs[best], rest))
    assert group.best.honest_mean == group.best.honest[target]


def test_a_contaminated_pair_is_shown_and_used_nowhere(root: Path) -> None:
    hand_worked(root)
    submit(root, MANY, base=BASE, objective="extractive-qa", languages=["de", "sw"],
           contaminated=["demo_bitext"])  # fmt: skip
    table = table_of(root)
    line = {line.entry.slug: line for line in table.lines}["multilingual-qa"]
    cell = line.cells[BITEXT]
    (mean,) = line.means
    assert (cell.contaminated, mean.verdict, mean.why) == (True, None, "contaminated: demo_bitext")
    assert cell.gain.verdict.estimate == pytest.approx(0.75)
    assert cell.gain.verdict.adjusted.method == "none"
    assert table.groups[0].best.naive == {}  # nothing to choose from


def test_rows_that_are_never_ranked_have_a_column_of_their_own(root: Path) -> None:
    """They have a mean of their own too; a variant without them has none, and it is said why."""
    hand_worked(root)
    qa(root, BASE, 0.25)
    qa(root, ENGLISH, 0.75)
    small = Target("demo_qa", "tuned", SMALL)
    table = table_of(root)
    assert columns(table) == [((BITEXT,), (BITEXT,)), ((small,), (small,))]
    lines = {line.entry.slug: line for line in table.lines}
    cell = lines["english-qa"].cells[small]
    assert (cell.same, lines["english-qa"].cells[BITEXT].same) == (True, False)
    assert cell.gain.verdict.estimate == pytest.approx(0.5)
    assert cell.gain.verdict.adjusted.method == "Benjamini–Hochberg"
    assert [mean.verdict for mean in lines["english-qa"].means] == [
        lines["english-qa"].cells[target].gain.verdict for target in (BITEXT, small)
    ]
    ranked, others = lines["multilingual-qa"].means
    assert ranked.verdict is not None
    assert (others.verdict, others.why) == (None, "missing: demo_qa")
    assert [group.best.naive_mean for group in table.groups] == [pytest.approx(0.75), None]


def test_a_mean_over_two_metrics(root: Path) -> None:
    hand_worked(root)
    qa(root, BASE, 0.25, custom=())
    qa(root, ENGLISH, 0.75, custom=())
    lines = {line.entry.slug: line for line in table_of(root).lines}
    (mean,) = lines["english-qa"].means
    assert mean.verdict is not None
    assert mean.verdict.estimate == pytest.approx((0.5 + 0.5) / 2)
    assert (mean.verdict.delta, mean.verdict.columns) == (None, 2 + len(UNITS))  # no δ of two
    assert (mean.verdict.adjusted.method, mean.verdict.adjusted.size) == ("Benjamini–Hochberg", 1)
    (mean,) = lines["multilingual-qa"].means
    assert (mean.verdict, mean.why) == (None, "missing: demo_qa")


def test_a_figure_is_of_the_seeds_that_have_the_target(root: Path) -> None:
    """Seed s of three finds s of four sentences; seeds 1 and 2 have F1 of s / 4, the base 0."""
    measure(root, BASE, bitext(BASE))
    submit(root, BASE)
    qa(root, BASE, 0.0)
    for seed in (1, 2, 3):
        model = f"hand/en-{seed}"
        measure(root, model, {u: hits(u, [1] * seed + [0] * (4 - seed)) for u in ("de", "sw")})
        submit(root, model, base=BASE, objective="extractive-qa", languages=["en"], recipe="en",
               seed=seed)  # fmt: skip
        if seed < 3:
            qa(root, model, seed / 4)
    (line,) = table_of(root).lines
    found = {
        target: (cell.gain.verdict.estimate, [one.slug for one in cell.gain.entry.members])
        for target, cell in line.cells.items()
    }
    assert found == {
        BITEXT: (pytest.approx(0.5), ["en-1", "en-2", "en-3"]),
        Target("demo_qa", "tuned", SMALL): (pytest.approx(0.375), ["en-1", "en-2"]),
    }
    assert [len(mean.entry.members) for mean in line.means] == [3, 2]


def test_seeds_are_a_source_of_chance_in_a_mean_over_metrics(root: Path) -> None:
    measure(root, BASE, bitext(BASE))
    submit(root, BASE)
    qa(root, BASE, 0.25, custom=())
    for seed in (1, 2, 3):
        model = f"hand/en-{seed}"
        measure(root, model, bitext(ENGLISH))
        qa(root, model, 0.25 * seed, custom=())
        submit(root, model, base=BASE, objective="extractive-qa", languages=["en"], recipe="en",
               seed=seed)  # fmt: skip
    (line,) = table_of(root).lines
    (mean,) = line.means
    assert mean.verdict is not None
    assert mean.verdict.estimate == pytest.approx((0.5 + 0.25) / 2)
    assert mean.verdict.evidence.runs[0] == 3
    # Tuning draws at random for the base too, and it has one run: nothing may be said of a recipe.
    assert mean.verdict.evidence.claim == "descriptive"


def test_a_mean_over_frozen_and_tuned_targets_is_over_every_tuning(root: Path) -> None:
    """F1 of the base is 0; that of training seed s and tuning t of `en` is (s + t) / 10.

    Tunings 1, 2, 3 of seeds 2 and 3 are .4 and .5 in the mean, seed 1 was tuned once (.2): together
    11/30. With frozen vectors seed s finds s of the four sentences, the base none.
    """
    measure(root, BASE, bitext(BASE))
    submit(root, BASE)
    for tuning in (1, 2, 3):
        qa(root, BASE, 0.0, tuning, custom=())
    for seed, tunings in ((1, (1,)), (2, (1, 2, 3)), (3, (1, 2, 3))):
        model = f"hand/en-{seed}"
        measure(root, model, {u: hits(u, [1] * seed + [0] * (4 - seed)) for u in ("de", "sw")})
        submit(root, model, base=BASE, objective="extractive-qa", languages=["en"], recipe="en",
               seed=seed)  # fmt: skip
        for tuning in tunings:
            qa(root, model, (seed + tuning) / 10, tuning, custom=())
    (line,) = table_of(root).lines
    (mean,) = line.means
    verdict = mean.verdict
    assert verdict is not None
    assert verdict.estimate == pytest.approx((0.5 + 11 / 30) / 2)
    assert verdict.evidence.runs == (7, 3)
    assert verdict.evidence.claim == "recipe"
    assert verdict.low is not None
    assert verdict.high is not None
    assert (verdict.low + verdict.high) / 2 == pytest.approx(verdict.estimate)


def test_seeds_with_different_targets_are_in_the_table(root: Path) -> None:
    """Seed 1 has the frozen target alone, seed 2 the tuned one alone, the base both."""
    measure(root, BASE, bitext(BASE))
    submit(root, BASE)
    qa(root, BASE, 0.0)
    for seed in (1, 2):
        submit(root, f"hand/en-{seed}", base=BASE, objective="extractive-qa", languages=["en"],
               recipe="en", seed=seed)  # fmt: skip
    measure(root, "hand/en-1", bitext(ENGLISH))
    qa(root, "hand/en-2", 0.5)
    (line,) = table_of(root).lines
    members = [[one.slug for one in cell.gain.entry.members] for cell in line.cells.values()]
    assert members == [["en-1"], ["en-2"]]


def test_a_base_with_rows_that_are_never_ranked_alone(root: Path) -> None:
    submit(root, BASE)
    qa(root, BASE, 0.25)
    submit(root, ENGLISH, base=BASE, objective="extractive-qa", languages=["en"])
    qa(root, ENGLISH, 0.75)
    table = table_of(root)
    small = Target("demo_qa", "tuned", SMALL)
    assert columns(table) == [((small,), (small,))]
    ((mean,),) = (line.means for line in table.lines)
    assert mean.verdict is not None


def test_a_task_may_have_a_best_in_either_group(root: Path) -> None:
    """Ranked, one variant has it: there is nothing to choose. Never ranked, two have it."""
    hand_worked(root)
    for model, f1 in ((BASE, 0.0), (ENGLISH, 0.5), (MANY, 0.25)):
        qa(root, model, f1)
    for model in (BASE, ENGLISH):
        qa(root, model, 0.5, custom=())
    ranked, others = table_of(root).groups
    assert set(ranked.best.naive) == {BITEXT}
    assert [gain.entry.slug for gain in others.best.naive.values()] == ["english-qa"]


def test_no_table_without_a_measured_base(root: Path) -> None:
    measure(root, ENGLISH, bitext(ENGLISH))
    submit(root, BASE)
    submit(root, ENGLISH, base=BASE, objective="extractive-qa", languages=["en"])
    assert read_board(root).targets == ()


def test_many_variants_have_no_honest_figure(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.analysis import target_table

    monkeypatch.setattr(target_table, "RESAMPLED", 1)
    best = best_of(hand_worked(root))
    assert (set(best.naive), best.honest) == ({BITEXT}, {})
    assert (best.naive_mean, best.honest_mean) == (pytest.approx(0.75), None)


def test_another_version_of_a_target_is_not_averaged_beside_it() -> None:
    tuned = [Target(task, "tuned") for task in ("xcopa", "xcopa_corrected", "udpos", "udpos_hub")]
    assert averaged(tuned) == [tuned[0], tuned[2]]
    assert averaged(tuned[1:2]) == tuned[1:2]
    demo = [Target("demo_tags", "tuned"), Target("demo_bitext", "frozen")]
    assert averaged(demo) == demo
