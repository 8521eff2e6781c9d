"""Target recipes as data, and tuned checkpoints: made once, by one run, never taken half done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from harness.cards import target_recipes
from harness.cards.catalogue import read_card
from harness.cards.target_recipes import read_target_recipes, recipe_beside, recipe_of
from harness.cards.training import Recipe, read_intermediate
from harness.checkpoint.resolve import resolve
from harness.data.load import DataLocation
from harness.errors import DataError, IncompleteError
from harness.io.cache import entries, lock_of, prune
from harness.training import target
from harness.training.data.sources import Files
from harness.training.target import (
    Tuning,
    TuningSettings,
    plan_tuning,
    plan_tunings,
    planned_downloads,
    provenance,
    tuned,
)
from tests.checkpoints import build
from tests.tiny_target import RECIPES, lay_training_data, tiny_recipes


class Watcher:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps = 0

    def say(self, text: str) -> None:
        self.said.append(text)

    def started(self, step: int, total: int) -> None: ...

    def stepped(self, step: int, total: int, task: str, loss: float, rows: int) -> None:
        self.steps += 1


@pytest.fixture
def location(tmp_path: Path) -> Iterator[DataLocation]:
    with tiny_recipes(tmp_path):
        yield DataLocation(lay_training_data(tmp_path / "data"), tmp_path / "cache", offline=True)


def planned(
    folder: Path,
    location: DataLocation,
    recipe: str = "demo_span",
    seed: int = 0,
    base: str = "bert",
) -> Tuning:
    """The tuning of a tiny checkpoint."""
    if not folder.exists():
        build(base, folder)
    recipes = read_target_recipes()
    return plan_tuning(resolve(str(folder)), recipes[recipe], TuningSettings(seed), location)


def test_the_recipes_are_those_of_the_protocol() -> None:
    for task, data in (("xquad", "squad_v1"), ("mlqa", "squad_v1"), ("tydiqa", "tydiqa_en")):
        recipe = recipe_of(task)
        assert recipe is not None
        assert recipe.train == data
        assert recipe.recipe == Recipe(
            lr=3e-5, epochs=3, batch_size=32, max_length=384, question_length=64, stride=128,
            warmup=500, weight_decay=1e-4, eps=1e-8, clip=1.0,
        )  # fmt: skip
    pairs = recipe_of("lareqa")
    assert pairs is not None
    lengths = read_card("lareqa").lengths
    assert lengths is not None
    assert (pairs.recipe.question_length, pairs.recipe.max_length) == (
        lengths.query,
        lengths.document,
    )
    assert (pairs.recipe.lr, pairs.recipe.epochs, pairs.recipe.batch_size) == (2e-5, 3, 16)
    assert (pairs.recipe.warmup, pairs.recipe.weight_decay) == (0, 0)
    assert recipe_of("tatoeba") is recipe_of("bucc2018") is None
    bitext = recipe_beside("tatoeba")
    assert bitext is not None
    assert (bitext.name, bitext.hash) == ("xtreme_r_tatoeba", pairs.hash)  # one tuned checkpoint
    assert bitext.unranked_reasons("tatoeba", "test") == []
    assert bitext.unranked_reasons("bucc2018", "test") == [
        "target data squad_v1_pairs (protocol: none)"
    ]
    assert recipe_beside("bucc2018") is recipe_beside("lareqa") is None
    tenth = read_target_recipes()["squad_tenth"]
    why = ["target data squad_v1_tenth (protocol: squad_v1)"]
    assert tenth.unranked_reasons("xquad", "test") == why
    assert recipe_of("xquad").unranked_reasons("xquad", "test") == []  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "task", "split", "seen"),
    [
        ("xnli_small", "xnli", "dev", True),  # trains on it
        ("xnli_small", "xnli", "test", False),
        ("xtreme_xnli", "xnli", "dev", True),  # chooses its step by it
        ("xtreme_xnli", "xnli", "test", False),
        ("pawsx_small", "pawsx", "dev", True),
        ("pawsx_small", "pawsx", "half", False),  # which has none of the pairs that it trains on
        ("udpos_small", "udpos", "half", False),
        ("xtreme_pawsx", "pawsx", "half", True),  # wholly rows of the dev set that it chooses by
        ("xtreme_udpos", "udpos", "half", True),
        ("xtreme_panx", "panx", "half", True),
        ("xtreme_udpos", "udpos_hub", "dev", True),  # the same sentences
        ("xtreme_xcopa", "xcopa", "test", False),
    ],
)
def test_a_recipe_says_which_splits_it_has_seen(
    name: str, task: str, split: str, seen: bool
) -> None:
    recipe = read_target_recipes()[name]
    assert (f"{task}/{split}" in recipe.seen) is seen
    said = f"tuned or chosen on {task}/{split}"
    assert (said in recipe.unranked_reasons(task, split)) is seen


def test_warmup_is_a_share_below_one_and_steps_from_one() -> None:
    assert Recipe(warmup=0.1).warmup_steps(80) == 8
    assert Recipe(warmup=500).warmup_steps(80) == 500
    with pytest.raises(ValueError, match="whole steps"):
        Recipe(warmup=1.5)


def test_the_hash_is_over_what_decides_weights() -> None:
    recipe = recipe_of("xquad")
    assert recipe is not None
    assert recipe.model_copy(update={"title": "other", "tasks": []}).hash == recipe.hash
    other = recipe.recipe.model_copy(update={"lr": 1e-5})
    assert recipe.model_copy(update={"recipe": other}).hash != recipe.hash


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RECIPES.replace("train: tiny_qa", "train: nothing"), "no intermediate task nothing"),
        (RECIPES.replace("train: tiny_qa", "train: tiny_pairs"), "trains no span for demo_qa"),
        (RECIPES.replace("[demo_passages]", "[demo_qa]"), "demo_qa has another recipe"),
        (RECIPES.replace("name: demo_other", "name: demo_span"), "demo_span given twice"),
        (RECIPES.replace("name: demo_other", "name: else"), "demo-other names recipe demo_other"),
        (RECIPES.replace("examples: 6", "exemples: 6", 1), "unknown key .*exemples"),
    ],
)
def test_recipes_that_do_not_hold_together(tmp_path: Path, text: str, message: str) -> None:
    with tiny_recipes(tmp_path, text), pytest.raises(DataError, match=message):
        read_target_recipes()


def test_the_folder_is_named_by_all_that_decides(location: DataLocation, tmp_path: Path) -> None:
    first = planned(tmp_path / "model", location)
    assert first.folder.parent == location.cache / "tuned"
    assert (first.examples, first.steps, first.done, first.unranked_reasons) == (6, 6, False, [])
    assert planned(tmp_path / "model", location) == first
    copy = build("bert", tmp_path / "of another name")
    assert planned(copy, location).folder == first.folder  # equal files, whatever they are called
    others = [
        planned(tmp_path / "model", location, seed=1),
        planned(tmp_path / "model", location, "demo_pairs"),
        planned(build("bert", tmp_path / "other", seed=1), location),
        planned(
            tmp_path / "model", replace(location, data=lay_training_data(tmp_path / "less", most=5))
        ),
    ]
    assert len({first.folder, *(other.folder for other in others)}) == 5
    assert others[-1].unranked_reasons == ["target data tiny_qa has 5 of 6 examples"]
    with pytest.raises(IncompleteError, match=r"no tiny/other\.json"):
        planned(tmp_path / "model", location, "demo_other")


def test_columns_of_the_hub_are_among_what_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sentences the other way round are other examples, of the same files."""
    build("bert", tmp_path / "model")
    checkpoint, location = resolve(str(tmp_path / "model")), DataLocation(None, tmp_path / "cache")
    recipe, card = read_target_recipes()["pawsx_small"], read_intermediate("pawsx_dev_half_en")
    monkeypatch.setattr(target, "read", lambda card, location: SimpleNamespace(examples=[]))

    def folder(route: str, first: str, second: str) -> Path:
        part = card.source.splits[card.split]
        assert part.hub is not None
        columns = {"rows": {"first": first, "second": second, "label": "label"}}
        part = part.model_copy(update={"hub": part.hub.model_copy(update={"columns": columns})})
        source = card.source.model_copy(update={"splits": {card.split: part}})
        other = card.model_copy(update={"source": source})
        monkeypatch.setattr(target_recipes, "read_intermediate", lambda name: other)
        files = Files(route, {}, {}, {"en/validation.parquet": "ab"})
        monkeypatch.setattr(target, "fetch", lambda card, location: files)
        return plan_tuning(checkpoint, recipe, TuningSettings(), location).folder

    hub = folder("hub", "sentence1", "sentence2")
    assert hub == folder("hub", "sentence1", "sentence2")
    assert hub != folder("hub", "sentence2", "sentence1")
    # A file of the official layout has the columns that the card names for it.
    assert folder("folder", "sentence1", "sentence2") == folder("folder", "sentence2", "sentence1")


def test_made_once_and_damage_is_named(location: DataLocation, tmp_path: Path) -> None:
    tuning, watcher = planned(tmp_path / "model", location), Watcher()
    made = tuned(tuning, location, watcher)
    assert made.has_qa_head
    assert watcher.steps == 6
    assert tuned(planned(tmp_path / "model", location), location, watcher) == made
    assert watcher.steps == 6
    (entry,) = [entry for entry in entries(location.cache) if entry.kind == "tuned"]
    assert entry.name.startswith("model@")
    assert entry.name.endswith(" on tiny_qa seed 0")

    record = tuning.folder / "training.json"
    whole = record.read_text()
    for text in ("[]", "null", "{}", whole.replace('"examples": ', '"examples": [], "was": ')):
        record.write_text(text)
        with pytest.raises(DataError, match=r"training\.json cannot be read .*: remove .*trained"):
            planned(tmp_path / "model", location)
        (entry,) = [entry for entry in entries(location.cache) if entry.kind == "tuned"]
    record.write_text(whole)

    weights = tuning.folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(DataError, match="is not what was trained: remove it"):
        tuned(planned(tmp_path / "model", location), location, watcher)
    weights.write_bytes(data[:100])
    with pytest.raises(DataError, match="is damaged"):
        tuned(planned(tmp_path / "model", location), location, watcher)

    assert prune(location.cache, days=1) == []
    assert [entry.kind for entry in prune(location.cache, days=0)] == ["tuned"]
    assert not tuning.folder.exists()


def test_two_runs_train_one_checkpoint(location: DataLocation, tmp_path: Path) -> None:
    tuning, watcher = planned(tmp_path / "model", location), Watcher()
    tuning.folder.mkdir(parents=True)
    other = FileLock(lock_of(tuning.folder))
    other.acquire()
    assert prune(location.cache, days=0) == []  # it is being trained

    def made_meanwhile(text: str) -> None:
        watcher.said.append(text)
        target._train(tuning, location, watcher)
        other.release()

    watcher.say = made_meanwhile  # type: ignore[method-assign]
    assert tuned(tuning, location, watcher).has_qa_head
    assert watcher.said == ["another run is training it: waiting for that one"]
    assert watcher.steps == 6


def test_a_training_begun_elsewhere_is_begun_anew(location: DataLocation, tmp_path: Path) -> None:
    tuning, watcher = planned(tmp_path / "model", location), Watcher()
    work = tuning.folder / ".training"
    work.mkdir(parents=True)
    (work / "settings.json").write_text('{"device": "cuda"}')
    assert tuned(tuning, location, watcher).has_qa_head
    assert watcher.steps == 6


def test_what_is_to_be_downloaded_is_said_without_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr("socket.socket.connect", refuse)
    recipe = recipe_of("xquad")
    assert recipe is not None
    (download,) = planned_downloads(recipe, DataLocation(None, tmp_path))
    assert download.what.endswith("/train-v1.1.json")
    assert download.size == 30_288_272
    assert planned_downloads(recipe, DataLocation(None, tmp_path, offline=True)) == []
    found = plan_tunings(
        resolve(str(build("bert", tmp_path / "model"))), [recipe], TuningSettings(),
        DataLocation(None, tmp_path), download=False,
    )  # fmt: skip
    assert found.downloads == {"squad_v1": [download]}
    assert not found.planned


def test_a_head_that_transformers_lacks_is_ours_and_said(
    location: DataLocation, tmp_path: Path
) -> None:
    tuning = planned(tmp_path / "mt5", location, base="mt5")
    watcher = Watcher()
    checkpoint = tuned(tuning, location, watcher)
    (note,) = tuning.record["tasks"]["tiny_qa"]["notes"]
    assert note.startswith("transformers has no span head")
    assert any(note in said for said in watcher.said)
    assert checkpoint.remarks == (note,)
    assert provenance(tuning, checkpoint)["head_class"] == "xharness_head"
    own = planned(tmp_path / "bert", location)
    assert (
        provenance(own, tuned(own, location, watcher))["head_class"] == "BertForQuestionAnswering"
    )
