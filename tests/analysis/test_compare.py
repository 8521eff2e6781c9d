"""`compare A B`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.analysis.compare import compare
from harness.analysis.measured import measured, select
from harness.analysis.sides import Source
from harness.cards.catalogue import read_card
from harness.cards.languages import task_root
from harness.cards.task import CustomCard
from harness.errors import DataError, IncompleteError, NotFoundError, UsageError
from harness.results.outcomes import OutcomeFile, find
from harness.results.provenance import Origin, digest_of, name_of, note
from harness.submissions.folder import read_submissions
from harness.terminal.scores import score_grid
from tests.board.boards import (
    BASE,
    ENGLISH,
    MANY,
    answers,
    bitext,
    hand_worked,
    hits,
    measure,
    revision,
    submit,
)


@pytest.mark.parametrize("name", [ENGLISH, f"{ENGLISH}@{revision(ENGLISH)[:12]}", "english-qa"])
def test_by_id_revision_slug(root: Path, name: str) -> None:
    hand_worked(root)
    (found,) = compare(
        name, BASE, Source(root / "leaderboard/results", read_submissions(root / "submissions"))
    )
    assert (found.track, found.metric) == ("frozen", "recall@10")
    assert found.difference.estimate.difference == pytest.approx(0.5)
    assert {p.name: p.estimate.difference for p in found.difference.languages} == {"de": 1, "sw": 0}


def test_by_folder(root: Path) -> None:
    one = measure(root, ENGLISH, bitext(ENGLISH)).parent
    two = measure(root, BASE, bitext(BASE)).parent
    (found,) = compare(str(one), str(two), Source(root / "none"))
    assert found.difference.estimate.difference == pytest.approx(0.5)


def test_the_usual_layer_is_compared_where_it_is_there(root: Path) -> None:
    hand_worked(root)
    for model in (ENGLISH, BASE):
        measure(root, model, bitext(BASE), layer=3, custom=["layer 3 (protocol: 8)"])
    (found,) = compare(ENGLISH, BASE, Source(root / "leaderboard/results"))
    assert found.difference.estimate.difference == pytest.approx(0.5)
    assert found.remarks == ()


def test_languages_outside_the_suite_are_compared_alone_and_named_beside_others(root: Path) -> None:
    lines = {ENGLISH: [1, 1, 1, 0], BASE: [1, 0, 0, 0]}
    source = Source(root / "leaderboard/results")
    for model, line in lines.items():
        measure(root, model, {"la": hits("la", line)}, task="tatoeba")
    (found,) = compare(ENGLISH, BASE, source)
    assert found.difference.estimate.difference == pytest.approx(0.5)
    assert found.verdict.why.startswith("incomplete")
    for model, line in lines.items():
        rows = {"la": hits("la", line), "de": hits("de", [1, 1, 0, 0])}
        measure(root, model, rows, task="tatoeba")
    (found,) = compare(ENGLISH, BASE, source)
    assert found.difference.columns == (("tatoeba", "de"),)
    assert found.remarks == ("tatoeba: not of the suite's languages, left out: la",)


def test_what_is_unranked_is_said(root: Path) -> None:
    for model in (ENGLISH, BASE):
        measure(root, model, bitext(model), limit=4)
    (found,) = compare(ENGLISH, BASE, Source(root / "leaderboard/results"))
    assert found.remarks == ("demo_bitext: first 4 queries a language",)


def test_rows_that_nobody_measured_again_are_said_to_be_unranked(root: Path) -> None:
    """The board ranks no rows that others sent; the same rows in a folder of one's own are its
    owner's.
    """
    hand_worked(root)
    results = root / "leaderboard/results"
    mine = [file for file in find(results) if ENGLISH.split("/")[1] not in str(file.path)]
    note(results, {name_of(file, results): Origin(digest=digest_of(file)) for file in mine})
    why = ("demo_bitext: unreplicated: no sample of these rows was measured again",)
    (found,) = compare(ENGLISH, BASE, Source(results, read_submissions(root / "submissions")))
    assert found.remarks == why
    (folder,) = {str(file.path.parent) for file in find(results) if file not in mine}
    (found,) = compare(folder, BASE, Source(results))
    assert found.remarks == why
    (found,) = compare(MANY, BASE, Source(results))
    assert found.remarks == ()
    copy = root / "copy" / Path(folder).parent.name / Path(folder).name
    shutil.copytree(folder, copy)
    (found,) = compare(str(copy), BASE, Source(results))
    assert found.remarks == ()


def test_a_run_in_two_folders_is_none_that_could_be_compared(root: Path) -> None:
    hand_worked(root)
    mine = root / "mine"
    measure(root, ENGLISH, {"de": hits("de", [0, 0, 0, 0])}, results=mine / "a")
    measure(root, ENGLISH, bitext(ENGLISH), results=mine / "b")
    source = Source(root / "leaderboard/results")
    with pytest.raises(UsageError, match=r"mine has one run twice, \S+/a/\S+ and \S+/b/\S+: give"):
        compare(str(mine), BASE, source)
    (found,) = compare(str(mine / "b"), BASE, source)
    assert found.remarks == ()
    # Rows of an older version of the protocols are another run, after the current one.
    shutil.rmtree(mine / "a")
    measure(root, ENGLISH, bitext(BASE), results=mine / "a", protocol_version=1)
    (current,) = compare(str(mine), BASE, source)
    assert current.difference.estimate == found.difference.estimate
    assert current.remarks == ()


def test_of_one_task_alone(root: Path) -> None:
    hand_worked(root)
    for model in (ENGLISH, BASE):
        measure(root, model, bitext(BASE), task="tatoeba")  # no difference there
    results = root / "leaderboard/results"
    (whole,) = compare(ENGLISH, BASE, Source(results))
    assert {one.task for one in whole.difference.languages} == {"demo_bitext"}
    (remark,) = whole.remarks
    assert remark.startswith("tatoeba left out of the mean: af ar az bg bn el es et … missing")
    for task, difference in (("demo_bitext", 0.5), ("tatoeba", 0.0)):
        (found,) = compare(ENGLISH, BASE, Source(results), only=[task])
        assert found.difference.estimate.difference == pytest.approx(difference)
        assert {one.task for one in found.difference.languages} == {task}
    with pytest.raises(IncompleteError, match=r"not measured on a common task \(lareqa\), "):
        compare(ENGLISH, BASE, Source(results), only=["lareqa"])
    with pytest.raises(UsageError, match="unknown task 'tatoba': did you mean tatoeba"):
        compare(ENGLISH, BASE, Source(results), only=["tatoba"])


def test_rows_of_another_version_are_compared_among_themselves(root: Path) -> None:
    """Beside current rows they count for nothing, whichever has the first path."""
    hand_worked(root)
    for number in range(4):  # of one checkpoint alone, of several signatures
        measure(root, ENGLISH, bitext(BASE), card_hash=f"{number}" * 64)
    (found,) = compare(ENGLISH, BASE, Source(root / "leaderboard/results"))
    assert found.difference.estimate.difference == pytest.approx(0.5)
    assert found.remarks == ()
    measure(root, BASE, bitext(BASE), card_hash="1" * 64)
    (found,) = compare(ENGLISH, BASE, Source(root / "leaderboard/results"))
    assert found.difference.estimate.difference == pytest.approx(0.5)


def test_two_versions_of_one_task_count_once(root: Path) -> None:
    def chosen(lang: str, right: int) -> list[dict[str, object]]:
        return [
            {
                "example_id": f"{lang}:{at}", "lang": lang, "cluster": f"copa:{at}", "gold": "0",
                "prediction": "0" if at < right else "1", "correct": at < right,
                "scores": [1.0, 0.0],
            }
            for at in range(4)
        ]  # fmt: skip

    for task, rights in (("xcopa", (3, 2)), ("xcopa_corrected", (4, 0))):
        for model, right in zip((ENGLISH, BASE), rights, strict=True):
            rows = {lang: chosen(lang, right) for lang in read_card(task).languages}
            measure(root, model, rows, task=task, layer=None, track="tuned")
    source = Source(root / "leaderboard/results")
    (found,) = compare(ENGLISH, BASE, source)
    assert found.difference.estimate.difference == pytest.approx(0.25)
    assert found.remarks[-1].startswith("xcopa_corrected left out of the mean: other data of a")
    (alone,) = compare(ENGLISH, BASE, source, only=["xcopa_corrected"])
    assert alone.difference.estimate.difference == pytest.approx(1.0)


def test_by_another_metric(root: Path) -> None:
    hand_worked(root)
    results = root / "leaderboard/results"
    (found,) = compare(ENGLISH, BASE, Source(results, cache=root / "kept"), metric="mrr")
    # German: rank 1 beside rank 50; Swahili: rank 50 beside rank 50.
    assert (found.metric, found.difference.estimate.difference) == (
        "mrr", pytest.approx((1 - 1 / 50) / 2),
    )  # fmt: skip
    (usual,) = compare(ENGLISH, BASE, Source(results, cache=root / "kept"))
    assert usual.difference.estimate.difference == pytest.approx(0.5)
    with pytest.raises(UsageError, match="unknown metric of demo_bitext 'mmr': did you mean mrr"):
        compare(ENGLISH, BASE, Source(results), only=["demo_bitext"], metric="mmr")
    with pytest.raises(UsageError, match="unknown metric of any task 'mmr': did you mean mrr"):
        compare(ENGLISH, BASE, Source(results), metric="mmr")
    with pytest.raises(UsageError, match="metric that can be contrasted 'f1_mteb'"):
        compare(ENGLISH, BASE, Source(results), metric="f1_mteb")
    with pytest.raises(IncompleteError, match="on a common task with exact_match,"):
        compare(ENGLISH, BASE, Source(results), metric="exact_match")


def test_what_is_found_in_other_languages(root: Path) -> None:
    """Of three questions all find one of eight answers: A in other languages, B in their own."""
    for model, other in ((ENGLISH, 2), (BASE, 0)):
        rows = {
            unit: [
                {
                    "example_id": f"{unit}:{i}", "lang": unit, "cluster": f"demo:{i}",
                    "direction": f"{unit}-all", "ranks": [2, 50], "relevant": 8,
                    "top_ids": ["ru:9", f"{'es' if i < other else unit}:{i}"],
                }
                for i in range(3)
            ]
            for unit in ("de", "sw")
        }  # fmt: skip
        measure(root, model, rows, task="demo_passages")
    results = root / "leaderboard/results"
    (found,) = compare(ENGLISH, BASE, Source(results))
    assert (found.metric, found.difference.estimate.difference) == ("recall@10", 0)
    (found,) = compare(ENGLISH, BASE, Source(results), metric="other_language_recall@10")
    assert found.difference.estimate.difference == pytest.approx(2 / 3 / 7)


@pytest.mark.parametrize("seen", ["demo_bitext", "demo_bitext/test"])
def test_contaminated_is_left_out(seen: str, root: Path) -> None:
    hand_worked(root)
    submit(root, MANY, base=BASE, objective="extractive-qa", languages=["de"],
           contaminated=[seen])  # fmt: skip
    with pytest.raises(IncompleteError, match=r"demo_bitext left out: .* was trained on it"):
        compare(
            MANY, BASE, Source(root / "leaderboard/results", read_submissions(root / "submissions"))
        )


def test_seeds_of_tuning_are_averaged_and_a_source_of_chance(root: Path) -> None:
    good, bad = bitext(ENGLISH), bitext(BASE)  # in the mean over languages 50 and 0 percent
    for seed, rows in ((0, good), (1, good), (2, bad)):
        measure(root, ENGLISH, rows, track="tuned", seed=seed)
    for seed in (1, 2, 3):
        measure(root, BASE, bad, track="tuned", seed=seed)
    (found,) = compare(ENGLISH, BASE, Source(root / "leaderboard/results"))
    assert found.track == "tuned"
    assert found.difference.estimate.difference == pytest.approx(1 / 3)
    assert found.over is not None
    assert found.over.difference == pytest.approx(1 / 3)


def test_recipes_are_compared_with_themselves_alone(root: Path) -> None:
    def resolved(recipe: str) -> dict[str, object]:
        named = {"name": "xtreme_squad", "hash": recipe}
        return {"layer": None, "pooling": None, "dtype": "float32", "prompts": {}, "recipe": named}

    def tuned(model: str, recipe: str) -> None:
        measure(root, model, bitext(model), track="tuned", resolved=resolved(recipe))

    tuned(ENGLISH, "0" * 12)
    tuned(BASE, "1" * 12)
    with pytest.raises(IncompleteError, match="recipe"):
        compare(ENGLISH, BASE, Source(root / "leaderboard/results"))
    tuned(BASE, "0" * 12)
    (found,) = compare(ENGLISH, BASE, Source(root / "leaderboard/results"))
    assert found.remarks[0].startswith("demo_bitext: stale")


@pytest.mark.parametrize(
    ("of_a", "of_b", "compared"),
    [
        (["pooling cls (protocol: mean)"], ["pooling cls (protocol: mean)"], True),
        (["pooling cls (protocol: mean)"], ["pooling max (protocol: mean)"], False),
        (["dtype bfloat16 (protocol: float32)"], ["pooling cls (protocol: mean)"], False),
        (["pooling cls (protocol: mean)"], [], False),
        # Of what is asked for alone: what the protocol itself has may differ by checkpoint.
        (["prompts {'query': 'a'} (protocol: {})"], ["prompts {'query': 'a'} (protocol: x)"], True),
        (
            ["prompts {'query': 'a'} (protocol: {})"],
            ["prompts {'query': 'b'} (protocol: {})"],
            False,
        ),
    ],
    ids=str,
)
def test_only_runs_of_equal_settings_are_compared(
    root: Path, of_a: list[str], of_b: list[str], compared: bool
) -> None:
    """Pooling, precision and prompts of one's own: a difference of theirs is no checkpoint's."""
    for model, custom, layer in ((ENGLISH, of_a, 8), (BASE, of_b, 14)):  # of different depth
        measure(root, model, bitext(model), layer=layer, custom=custom)
    source = Source(root / "leaderboard/results")
    if compared:
        (found,) = compare(ENGLISH, BASE, source)
        assert any(of_a[0] in remark for remark in found.remarks)
    else:
        with pytest.raises(IncompleteError, match="not measured on a common task"):
            compare(ENGLISH, BASE, source)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("english", "did you mean english-1a2b or english-qa or english_qa"),
        ("english-1a2c", "did you mean english-1a2b"),
        ("english_qa", "run `xharness eval english_qa` first"),  # submitted, and not measured yet
        ("org/other", "run `xharness eval org/other` first"),
    ],
)
def test_a_name_without_outcomes_that_begins_or_resembles_another(
    root: Path, name: str, hint: str
) -> None:
    hand_worked(root)
    submit(root, "org/english_qa", base=BASE, objective="extractive-qa", languages=["en"],
           recipe="english-1a2b", seed=1)  # fmt: skip
    known = read_submissions(root / "submissions")
    with pytest.raises(NotFoundError, match=hint):
        compare(name, BASE, Source(root / "leaderboard/results", known))


def test_unknown_and_ambiguous(root: Path) -> None:
    hand_worked(root)
    results = root / "leaderboard/results"
    with pytest.raises(NotFoundError, match="no outcomes of hand/none"):
        compare("hand/none", BASE, Source(results))
    measure(root, BASE, bitext(BASE), revision="f" * 40)
    # What is offered can be given as it stands: a name with its revision, or a folder.
    for name in (BASE, str(results / BASE.replace("/", "__"))):
        with pytest.raises(NotFoundError, match="at 2 revisions") as caught:
            compare(ENGLISH, name, Source(results))
        for offered in str(caught.value).partition("give one of ")[2].split(", "):
            assert compare(ENGLISH, offered, Source(results))


def test_a_folder_of_damaged_files_alone(root: Path) -> None:
    """What is damaged is said, and nothing about a name that has no outcomes."""
    path = measure(root, BASE, bitext(BASE))
    path.write_bytes(path.read_bytes()[:-8])
    source = Source(root / "leaderboard/results")
    with pytest.raises(DataError, match="is not a readable outcome file") as caught:
        compare(str(path.parent), str(path.parent), source)
    assert caught.value.also == ()


def _known(root: Path) -> Source:
    return Source(root / "leaderboard/results", read_submissions(root / "submissions"))


def test_of_two_cards_with_one_name_the_one_that_is_given_counts(
    root: Path, tmp_path: Path
) -> None:
    """A card outside the package was changed between two runs in one folder."""
    text = (task_root() / "target" / "demo_bitext.yaml").read_text(encoding="utf-8")
    cards = []
    for name in ("one", "two"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(text.replace("name: demo_bitext", "name: mine") + f"# {name}\n")
        cards.append(read_card(str(path)))
    for card, better in zip(cards, (ENGLISH, BASE), strict=True):
        assert isinstance(card, CustomCard)
        for model in (ENGLISH, BASE):
            right = int(model == better)
            rows = {unit: hits(unit, [right] * 4) for unit in ("de", "sw")}
            measure(root, model, rows, task=card.path, custom=[card.note], card=card.portable())
    results = root / "leaderboard/results"
    files = {file.path for file in find(results)}
    assert len(files) == 4
    for card, difference in zip(cards, (1, -1), strict=True):
        (found,) = compare(ENGLISH, BASE, Source(results), only=[card.argument])
        assert found.difference.estimate.difference == difference
        chosen = select(find(results), [card.argument])
        assert [file.meta()["card_hash"] for file in chosen] == [card.hash] * 2
    with pytest.raises(IncompleteError, match="mine left out: it was measured with several"):
        compare(ENGLISH, BASE, Source(results))
    shown = score_grid(measured(find(results)), by_language=False)
    assert {line[:3] for line in shown.rows} == {("mine", "recall@10", card.note) for card in cards}
    values = [{cell.partition(" ")[0] for cell in line[3:]} for line in shown.rows]
    assert values == [{"100.0", "0.0"}] * 2


def test_a_seed_that_waits_for_its_revision_counts(root: Path) -> None:
    """A pending submission is measured where its model is, for a recipe as for the board."""
    measure(root, BASE, bitext(BASE))
    submit(root, BASE)
    for seed, model in enumerate((ENGLISH, MANY), 1):
        measure(root, model, bitext(model))
        pinned = {} if seed == 1 else {"revision": None}
        submit(root, model, base=BASE, objective="extractive-qa", languages=["en"], seed=seed,
               recipe="qa-1a2b", **pinned)  # fmt: skip
    (found,) = compare("qa-1a2b", BASE, _known(root))
    assert found.difference.estimate.difference == pytest.approx((0.5 + 0.75) / 2)


def test_of_a_task_that_is_named_the_seeds_that_have_it_are_compared(root: Path) -> None:
    """Over all tasks every seed counts; of a named one those that were measured on it, as in the
    board's table of targets.
    """
    measure(root, BASE, bitext(BASE))
    measure(root, BASE, {"de": answers("de", [0.0, 0.0])}, task="demo_qa", layer=None)
    for seed, model in enumerate((ENGLISH, MANY), 1):
        measure(root, model, bitext(model))
        submit(root, model, base=BASE, objective="extractive-qa", languages=["en"], seed=seed,
               recipe="qa-1a2b")  # fmt: skip
    measure(root, MANY, {"de": answers("de", [1.0, 0.0])}, task="demo_qa", layer=None)
    (found,) = compare("qa-1a2b", BASE, _known(root))
    assert (found.metric, found.remarks) == ("recall@10", ())
    (found,) = compare("qa-1a2b", BASE, _known(root), only=["demo_qa"])
    assert found.difference.estimate.difference == pytest.approx(0.5)
    assert found.remarks[-1] == "qa-1a2b: 1 of 2 seeds were measured on demo_qa"


def test_a_slug_means_the_revision_that_it_is_pinned_to(root: Path) -> None:
    hand_worked(root)
    measure(root, ENGLISH, bitext(BASE), revision="e" * 40)
    (found,) = compare("english-qa", "base", _known(root))
    assert found.difference.estimate.difference == pytest.approx(0.5)
    with pytest.raises(NotFoundError, match="at 2 revisions") as caught:
        compare(ENGLISH, "base", _known(root))
    for offered in str(caught.value).partition("give one of ")[2].split(", "):
        assert compare(offered, "base", _known(root))


def test_local_folders_of_one_name_are_told_apart_by_their_digests(root: Path) -> None:
    """The remedy that is named can be followed, and the slug says which one is meant."""
    measure(root, BASE, bitext(BASE))
    for digit, model in (("1", ENGLISH), ("2", MANY)):
        measure(root, "ckpt", bitext(model), revision=f"local:{digit * 64}")
        (root / "submissions").mkdir(exist_ok=True)
        submit(root, f"seed-{digit}", revision=f"local:{digit * 64}", base=BASE, recipe="qa-1a2b",
               seed=digit, objective="extractive-qa", languages=["en"])  # fmt: skip
    submit(root, BASE)
    for name, difference in (("seed-1", 0.5), ("seed-2", 0.75), ("ckpt@local:222222222222", 0.75)):
        (found,) = compare(name, BASE, _known(root))
        assert found.difference.estimate.difference == pytest.approx(difference)
    with pytest.raises(NotFoundError, match="ckpt@local:111111111111, ckpt@local:222222222222"):
        compare("ckpt", BASE, _known(root))


def test_another_revision_of_a_contaminated_model_is_left_out(root: Path) -> None:
    hand_worked(root)
    submit(root, MANY, base=BASE, objective="extractive-qa", languages=["de"],
           contaminated=["demo_bitext"])  # fmt: skip
    measure(root, MANY, bitext(MANY), revision="e" * 40)
    with pytest.raises(IncompleteError, match=r"demo_bitext left out: .* was trained on it"):
        compare(f"{MANY}@eeeeeeeeeeee", BASE, _known(root))


def test_a_difference_of_an_unfinished_run_is_not_kept(root: Path) -> None:
    """German alone; then a run adds Swahili, and is killed before its end."""
    for model in (ENGLISH, BASE):
        measure(root, model, {"de": bitext(model)["de"]})
    source = Source(root / "leaderboard/results", cache=root / "cache")
    (found,) = compare(ENGLISH, BASE, source)
    assert [part.name for part in found.difference.languages] == ["de"]
    for model in (ENGLISH, BASE):
        path = measure(root, model, bitext(model), results=root / "again")
        for file in find(root / "leaderboard/results"):
            if file.path.parent.parent.name == path.parent.parent.name:
                whole = OutcomeFile(path)
                meta = whole.meta() | {"languages": ["sw"]}
                file.write_part("sw", whole.read("sw"), meta)
    (found,) = compare(ENGLISH, BASE, source)
    assert {part.name for part in found.difference.languages} == {"de", "sw"}
    for file in find(root / "leaderboard/results"):  # now with parts alone
        rows = file.read("de")
        meta = file.meta() | {"languages": ["de"]}
        file.path.unlink()
        file.write_part("de", rows, meta)
    (found,) = compare(ENGLISH, BASE, source)
    assert {part.name for part in found.difference.languages} == {"de", "sw"}
