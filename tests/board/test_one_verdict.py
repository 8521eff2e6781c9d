"""One difference has one verdict, wherever it is printed: the same word and the same figures."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.analysis.gather import read_board
from harness.board.build import leaderboard
from harness.board.words import adjusted_p, figures, p_value, plain, simultaneous, size, told, word
from harness.cli import app
from harness.statistics.verdict import Verdict
from tests.board.boards import BASE, hits, measure, submit

SENTENCES = 60
# Hits in German and in Swahili (seven of sixty may be guessing there: ten candidates of sixty).
FOUND = {
    BASE: (50, 20),
    **{f"hand/en-{seed}": (50 - seed, 20 + seed) for seed in (1, 2, 3)},
    **{f"hand/many-{seed}": (30 + 2 * seed, 10) for seed in (1, 2, 3)},
}


def measured(root: Path, model: str, counts: tuple[int, int]) -> None:
    """A model with so many hits in German and in Swahili."""
    rows = {
        unit: hits(unit, [1] * count + [0] * (SENTENCES - count))
        for unit, count in zip(("de", "sw"), counts, strict=True)
    }
    measure(root, model, rows)


@pytest.fixture
def seeds(root: Path) -> Path:
    for model, counts in FOUND.items():
        measured(root, model, counts)
        recipe = model.split("/")[1].split("-")[0]
        how: dict[str, Any] = {}
        if model != BASE:
            languages = ["en"] if recipe == "en" else ["de", "es"]
            how = {"base": BASE, "objective": "extractive-qa", "languages": languages,
                   "recipe": recipe, "seed": int(model[-1])}  # fmt: skip
        submit(root, model, **how)
    leaderboard(root)
    return root


@pytest.fixture
def outside_the_family(root: Path) -> Path:
    """Checkpoints of kinds that no named contrast asks for. Of the first p is below .05, q not."""
    counts = {BASE: (30, 30)}
    counts |= {f"hand/pairs-{seed}": (33 + seed, 31 + seed) for seed in (1, 2, 3)}
    counts |= {f"hand/masks-{seed}": (30, 29 + seed) for seed in (1, 2, 3)}
    counts |= {f"hand/mixed-{seed}": (30 + seed, 30) for seed in (1, 2, 3)} | {
        "hand/alone": (31, 31)
    }
    objectives = {"pairs": "contrastive", "masks": "mlm", "mixed": "multitask"}
    for model, found in counts.items():
        measured(root, model, found)
        recipe = model.split("/")[1].split("-")[0]
        how: dict[str, Any] = {}
        if model == "hand/alone":
            how = {"base": BASE, "objective": "mlm", "languages": ["en"]}
        elif model != BASE:
            how = {"base": BASE, "objective": objectives[recipe], "languages": ["en"],
                   "recipe": recipe, "seed": int(model[-1])}  # fmt: skip
        submit(root, model, **how)
    leaderboard(root)
    return root


def test_a_checkpoint_less_its_base_has_one_verdict(outside_the_family: Path) -> None:
    root = outside_the_family
    for gain in read_board(root).gains:
        verdict, slug = gain.verdict, gain.entry.slug
        assert verdict.adjusted.method == "Benjamini–Hochberg"
        (row,) = [one for one in readme(root, "contrasts.md").splitlines()
                  if f"](checkpoints/{slug}.md)" in one and "recall@10 of demo" in one]  # fmt: skip
        cells = [cell.strip() for cell in row.split("|")]
        assert cells[3:8] == [
            word(verdict), size(verdict), plain(verdict), p_value(verdict.p), adjusted_p(verdict),
        ]  # fmt: skip
        for sides, line in (
            ((slug, "base"), told(verdict)), (("base", slug), told(verdict.mirrored())),
        ):  # fmt: skip
            assert f"recall@10, demo_bitext: {line} " in run(
                root, "compare", *sides, "--root", root
            )
        if slug == "pairs":
            assert verdict.p is not None
            assert verdict.p < 0.05
            assert verdict.word == "no clear difference"


def test_rows_apart_from_the_board_have_their_own_verdict(
    outside_the_family: Path, tmp_path: Path
) -> None:
    """The same checkpoint, measured elsewhere: the board's verdict is not that of other rows."""
    apart = measure(
        tmp_path / "apart", "hand/alone", {unit: hits(unit, [1] * 60) for unit in ("de", "sw")}
    )
    said = run(outside_the_family, "compare", apart.parent, "base", "--root", outside_the_family)
    assert "+50.00 points" in said
    assert "unadjusted" in said


@pytest.mark.parametrize("second_base", [BASE, "hand/english"])
def test_kinds_that_are_no_question_have_one_verdict(second_base: str, root: Path) -> None:
    """Three seeds in several languages less one English checkpoint, which may be their base.

    Where it is, its vectors are fixed and the claim is about their recipe; else it is itself one of
    the trainings that there could have been.
    """
    measured(root, BASE, (30, 30))
    submit(root, BASE)
    how = {"objective": "contrastive", "base": BASE}
    measured(root, "hand/english", (33, 33))
    submit(root, "hand/english", **how, languages=["en"])
    for seed in (1, 2, 3):
        model = f"hand/many-{seed}"
        measured(root, model, (50 + seed, 50))
        submit(root, model, **how | {"base": second_base}, languages=["de", "es"], recipe="many",
               seed=seed)  # fmt: skip
    leaderboard(root)
    board = read_board(root)
    named = "multilingual contrastive − English contrastive"
    found = [one.verdict for one in board.contrasts if one.name == named]
    found += [gain.verdict for gain in board.gains if gain.base.slug == "english"]
    (verdict,) = found
    assert verdict.evidence.claim == ("descriptive" if second_base == BASE else "recipe")
    assert f"recall@10, demo_bitext: {told(verdict)} " in run(
        root, "compare", "many", "english", "--root", root
    )
    (pair,) = [one for one in page(root)["verdicts"] if (one["a"], one["b"]) == ("many", "english")]
    assert pair["said"][0] == told(verdict)
    assert figures(verdict).split(",")[0].removesuffix(" points") in readme(root, "contrasts.md")


def test_a_pending_submission_has_the_verdict_of_the_board(outside_the_family: Path) -> None:
    """It stands for the revision that was measured, on the board and in `compare`."""
    root = outside_the_family
    submit(root, BASE, revision=None)
    submit(root, "hand/alone", base=BASE, objective="mlm", languages=["en"], revision=None)
    gains = {gain.entry.slug: gain.verdict for gain in read_board(root).gains}
    said = run(root, "compare", "alone", "base", "--root", root)
    assert f"recall@10, demo_bitext: {told(gains['alone'])} " in said
    assert "unadjusted" not in said


def test_a_checkpoint_of_two_trainings_has_the_verdict_of_its_contrast(root: Path) -> None:
    """With the base that the first began with, which is not the one that the second began with."""
    steps: dict[str, Any] = {
        BASE: {"objective": "mlm", "languages": ["en"]},
        "hand/first": {"base": BASE, "objective": "extractive-qa", "languages": ["en"]},
        "hand/second": {"base": "hand/first", "objective": "extractive-qa", "languages": ["de"]},
    }
    for count, (model, how) in enumerate(steps.items(), start=40):
        measured(root, model, (count, count))
        submit(root, model, **how)
    named = {one.name: one for one in read_board(root).contrasts if one.difference is not None}
    one = named["multilingual QA − base"]
    assert one.verdict.adjusted.method == "Holm"
    said = run(root, "compare", "second", "base", "--root", root)
    assert f"recall@10, demo_bitext: {told(one.verdict)} " in said


def readme(root: Path, name: str = "README.md") -> str:
    text = (root / "leaderboard" / name).read_text(encoding="utf-8")
    return unescape(text.replace("&nbsp;", " "))


def page(root: Path) -> dict[str, Any]:
    text = (root / "leaderboard/index.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def run(root: Path, *words: object) -> str:
    environment = {"XHARNESS_CACHE": str(root / "cache"), "COLUMNS": "400"}
    ran = CliRunner().invoke(app, [str(one) for one in words], env=environment)
    assert ran.exit_code == 0, ran.stderr
    return ran.stdout


def verdict_of(root: Path, name: str) -> Verdict:
    found = {one.name: one for one in read_board(root).contrasts if one.track == "frozen"}
    return found[name].verdict


NAMES_OF = {"de": "German", "sw": "Swahili"}
NAMES = {
    "English QA − base": ("en", "base"),
    "multilingual QA − base": ("many", "base"),
    "multilingual QA − English QA": ("many", "en"),
}


@pytest.mark.parametrize(("name", "sides"), NAMES.items(), ids=list(NAMES))
def test_every_place_says_the_same(seeds: Path, name: str, sides: tuple[str, str]) -> None:
    verdict = verdict_of(seeds, name)
    assert verdict.adjusted.method == "Holm"
    assert verdict.evidence.runs == (3, 1 if sides[1] == "base" else 3)
    line = told(verdict)
    text = readme(seeds)
    # The answer, or what stands beside it.
    assert figures(verdict) in text
    # The table of contrasts.
    whole = readme(seeds, "contrasts.md")
    (row,) = [one for one in whole.splitlines() if f"| {name} | recall@10, frozen |" in one]
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[3:9] == [
        f"**{word(verdict)}**", f"**{size(verdict)}**", plain(verdict), simultaneous(verdict),
        p_value(verdict.p), adjusted_p(verdict),
    ]  # fmt: skip
    if sides[1] == "base":
        # Every checkpoint against its base, and the ranking.
        (row,) = [one for one in whole.splitlines() if f"](checkpoints/{sides[0]}.md)" in one
                  and "recall@10 of demo" in one]  # fmt: skip
        cells = [cell.strip() for cell in row.split("|")]
        assert cells[3:8] == [
            word(verdict), size(verdict), plain(verdict), p_value(verdict.p), adjusted_p(verdict),
        ]  # fmt: skip
        assert f"| {size(verdict)} {plain(verdict)}, **{word(verdict)}** |" in text
    # The page, in both orders.
    (there,) = [one for one in page(seeds)["verdicts"] if (one["a"], one["b"]) == sides]
    assert there["said"] == [line, told(verdict.mirrored())]
    both = f"{plain(verdict)}, simultaneous {simultaneous(verdict)}"
    assert there["mean"][0][:3] == [size(verdict), both, word(verdict)]
    ends = [verdict.estimate, verdict.low, verdict.high, verdict.family_low, verdict.family_high]
    assert there["mean"][0][3:] == pytest.approx(ends, abs=1e-6)
    assert there["against"] == [f"{size(verdict)} {both}", word(verdict)]
    # The commands.
    assert f"{name}: {line} " in run(seeds, "contrast", "--root", seeds)
    assert f"recall@10, demo_bitext: {line} " in run(seeds, "compare", *sides, "--root", seeds)
    other = run(seeds, "compare", *sides[::-1], "--root", seeds)
    assert f"recall@10, demo_bitext: {told(verdict.mirrored())} " in other
    (shown,) = json.loads(run(seeds, "compare", *sides, "--root", seeds, "--format", "json"))
    assert shown["verdict"]["word"] == verdict.word
    assert shown["verdict"]["adjusted"]["p"] == verdict.adjusted.p
    # The figure.
    forest = (seeds / "leaderboard/figures/contrasts.svg").read_text(encoding="utf-8")
    assert f"{name} on {BASE}: {line}" in unescape(forest)


def test_a_contrast_of_a_single_seed_is_descriptive(seeds: Path) -> None:
    for seed in (2, 3):
        (seeds / f"submissions/en-{seed}.yaml").unlink()
    # Of 120 sentences the base and en-1 find 70, and the three others 44 on average.
    for name, runs, known, difference in (
        ("English QA − base", (1, 1), False, 0),
        ("multilingual QA − English QA", (3, 1), False, (44 - 70) / 120),
        ("multilingual QA − base", (3, 1), True, (44 - 70) / 120),
    ):
        found = verdict_of(seeds, name)
        assert found.evidence.runs == runs
        assert found.evidence.claim == ("recipe" if known else "descriptive")
        assert ((found.word, found.why) == ("not known", "descriptive only")) is not known
        assert found.estimate == pytest.approx(difference)  # the figure is there all the same


def test_the_languages_say_the_same(seeds: Path) -> None:
    board = read_board(seeds)
    (one,) = [one for one in board.contrasts if one.name == "multilingual QA − base"
              and one.difference]  # fmt: skip
    assert one.difference is not None
    (lines,) = [
        one["lines"] for one in page(seeds)["verdicts"] if (one["a"], one["b"]) == ("many", "base")
    ]
    text, printed = (
        readme(seeds, "contrasts.md"),
        run(seeds, "compare", "many", "base", "--by-language", "--root", seeds),
    )
    for part in one.difference.languages:
        verdict = one.difference.line_verdict(part)
        cells = [size(verdict), plain(verdict), word(verdict)]
        assert lines[f"{part.task} {part.name}"][0][:3] == cells
        assert (
            f"| {NAMES_OF[part.name]} | {cells[0]} | {cells[1]} | {p_value(part.q)} | {cells[2]} |"
            in text
        )
        (row,) = [row for row in printed.splitlines() if row.startswith(f"{part.name} ")]
        assert " ".join(row.split()).endswith(f"{cells[0]} {cells[1]} {p_value(part.q)} {cells[2]}")


def test_no_rank_contradicts_a_verdict(seeds: Path) -> None:
    (standing,) = [one for one in read_board(seeds).standings if one.track == "frozen"]
    ranks = {row.entry.slug: row.rank for row in standing.rows}
    words = {name: verdict_of(seeds, name).word for name in NAMES}
    assert "hurts" in words.values()
    for name, (a, b) in NAMES.items():
        if words[name] not in ("helps", "hurts"):
            assert ranks[a] == ranks[b]
    assert ranks["base"] != ranks["many"]


def test_seeds_are_in_the_interval_of_a_mean(seeds: Path) -> None:
    """On the board and on the page: s²/k of the seeds' means beside the items."""
    (standing,) = [one for one in read_board(seeds).standings if one.track == "frozen"]
    values = {row.entry.slug: row.mean for row in standing.rows}
    many = values["many"]
    assert many is not None
    (shown,) = [one for one in page(seeds)["checkpoints"] if one["slug"] == "many"]
    found = shown["results"]["frozen/demo_bitext"]["seeds"]
    by_hand = [[(30 + 2 * seed) / SENTENCES, 10 / SENTENCES] for seed in (1, 2, 3)]
    assert [value for seed in found for value in seed] == pytest.approx(
        [value for seed in by_hand for value in seed], abs=1e-6
    )
    (row,) = [row for row in standing.rows if row.entry.slug == "many"]
    draws = row.tasks["demo_bitext"].macro_draws
    item, seed_term = float(draws.var(ddof=1)), (2 / SENTENCES / 2) ** 2 / 3
    assert many.high - many.low > 2 * 1.96 * (item + seed_term) ** 0.5
