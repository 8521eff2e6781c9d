"""The step that is kept is the best one on dev, whether or not a run was interrupted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.cards.catalogue import read_card
from harness.cards.target_recipes import Select, read_target_recipes
from harness.checkpoint.resolve import resolve
from harness.data.load import DataLocation, load
from harness.errors import DataError, IncompleteError
from harness.training.output import RECORD
from harness.training.selection import SCORES, Selection, read_dev
from harness.training.target import Tuning, TuningSettings, plan_tuning, provenance, tuned
from harness.training.workspace import WORK
from tests.checkpoints import build

SELECT = Select(task="demo_tags", split="test", language="en", metric="f1_pos", every=2)


class Layer(torch.nn.Module):
    """A model whose one weight is its step."""

    def __init__(self) -> None:
        super().__init__()
        self.step = torch.nn.Parameter(torch.zeros(1))


def selection(folder: Path, scores: dict[int, float]) -> Any:
    """A selection whose scores are these."""
    made = Selection(
        SimpleNamespace(select=SELECT, settings={}), "task", None, folder=folder, device="cpu"  # type: ignore[arg-type]
    )  # fmt: skip
    made._score = lambda model: scores[int(model.step)]  # type: ignore[method-assign,assignment]
    return made


def run(made: Any, first: int, last: int, total: int, saves: tuple[int, ...] = ()) -> Layer:
    model = Layer()
    for step in range(first, last + 1):
        torch.nn.init.constant_(model.step, step)
        made.consider(model, step, total)
        if step in saves:
            made.sweep()
    return model


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ({2: 0.1, 4: 0.3, 6: 0.2, 7: 0.2}, 4),
        ({2: 0.3, 4: 0.3, 6: 0.1, 7: 0.3}, 2),  # strictly greater
        ({2: 0.1, 4: 0.2, 6: 0.3, 7: 0.4}, 7),  # the last step counts, whatever its number
        ({2: 0.0, 4: 0.0, 6: 0.0, 7: 0.0}, 2),
    ],
)
def test_the_best_step_is_taken(scores: dict[int, float], best: int, tmp_path: Path) -> None:
    made = selection(tmp_path, scores)
    made.resume_after(0)
    model = run(made, 1, 7, 7, saves=(3, 7))
    made.restore_best(model)
    assert model.step.item() == best
    record = made.record()
    assert (record["step"], record["score"]) == (best, scores[best])
    assert record["scores"] == [list(one) for one in scores.items()]
    assert [path.name for path in tmp_path.glob("best-*")] == [f"best-{best}"]


@pytest.mark.parametrize("killed", [2, 3, 4, 5, 6])
def test_a_run_that_goes_on_chooses_the_same_step(killed: int, tmp_path: Path) -> None:
    scores = {2: 0.3, 4: 0.4, 6: 0.9, 7: 0.2}
    wild = {**scores, 4: 0.8, 6: 0.1}  # what is done again may not be the same to the last bit
    made = selection(tmp_path, wild)
    made.resume_after(0)
    run(made, 1, killed, 7, saves=(3,))
    saved = 3 if killed >= 3 else 0
    again = selection(tmp_path, scores)
    again.resume_after(saved)
    model = run(again, saved + 1, 7, 7, saves=(3, 7))
    again.restore_best(model)
    assert model.step.item() == 6
    assert again.scores() == list(scores.items())


@pytest.mark.parametrize("torn", ["4", "4\t", "4\t0.", "4\t0.9"])
def test_a_step_whose_line_is_torn_is_scored_again(torn: str, tmp_path: Path) -> None:
    scores = {2: 0.3, 4: 0.9, 6: 0.4, 7: 0.2}
    made = selection(tmp_path, scores)
    made.resume_after(0)
    run(made, 1, 4, 7, saves=(3, 4))
    table = tmp_path / "selection.tsv"
    table.write_text(table.read_text().replace("4\t0.9\n", torn))
    again = selection(tmp_path, scores)
    again.resume_after(4)  # the step was saved all the same
    assert again.scores() == [(2, 0.3)]
    again.catch_up(run(again, 4, 3, 7), 3, 7)  # no step that a score is due at
    model = Layer()
    torch.nn.init.constant_(model.step, 4)
    again.catch_up(model, 4, 7)
    again.catch_up(model, 4, 7)
    model = run(again, 5, 7, 7, saves=(7,))
    assert again.scores() == list(scores.items())
    again.restore_best(model)
    assert model.step.item() == 4


@pytest.mark.parametrize("line", ["", "2", "2\t", "2\t0.3\t0.4", "two\t0.3", "2\tnan", "2\t30"])
def test_another_damaged_line_is_named_with_a_remedy(line: str, tmp_path: Path) -> None:
    (tmp_path / "selection.tsv").write_text(f"step\tscore\n{line}\n4\t0.5\n")
    made = selection(tmp_path, {})
    with pytest.raises(DataError, match=r"^/.*selection\.tsv:2: '.*' is damaged: remove /.*again$"):
        made.resume_after(4)


@pytest.fixture
def location(tmp_path: Path) -> DataLocation:
    return DataLocation(None, tmp_path / "cache", offline=True)


def tuning(tmp_path: Path, location: DataLocation, select: Select | None) -> Tuning:
    """The demo's tagging recipe on a tiny base, with a choice of steps."""
    folder = tmp_path / "bert"
    if not folder.exists():
        build("bert", folder)
    recipe = read_target_recipes()["demo_tags"].model_copy(update={"select": select})
    return plan_tuning(resolve(str(folder)), recipe, TuningSettings(), location)


class Watcher:
    """Counts steps, and may end the run after one."""

    def __init__(self, last: int | None = None) -> None:
        self.last = last

    def say(self, text: str) -> None: ...

    def started(self, step: int, total: int) -> None: ...

    def stepped(self, step: int, total: int, task: str, loss: float, rows: int) -> None:
        if step == self.last:
            raise KeyboardInterrupt


def test_a_tuned_checkpoint_says_which_step_it_is_and_resumes_to_the_bit(
    location: DataLocation, tmp_path: Path
) -> None:
    plain, chosen = (tuning(tmp_path, location, one) for one in (None, SELECT))
    assert plain.folder != chosen.folder
    assert plain.recipe.hash != chosen.recipe.hash
    with pytest.raises(KeyboardInterrupt):
        tuned(chosen, location, Watcher(last=4))
    with pytest.raises(KeyboardInterrupt):
        tuned(chosen, location, Watcher(last=5))
    scores = chosen.folder / WORK / SCORES
    scores.write_bytes(scores.read_bytes()[:-3])  # torn, of the step that is saved
    first = tuned(chosen, location, Watcher())
    record = json.loads((chosen.folder / RECORD).read_text())
    steps = [step for step, _ in record["selection"]["scores"]]
    assert steps == [2, 4, record["steps"]]
    said = provenance(chosen, first)["selection"]
    assert (said["task"], said["metric"], said["every"]) == ("demo_tags", "f1_pos", 2)
    assert said["score"] == max(score for _, score in record["selection"]["scores"])
    again = replace(chosen, folder=tmp_path / "undisturbed")
    tuned(again, location, Watcher())
    assert again.record["selection"] == record["selection"]
    weights = [one.folder / "model.safetensors" for one in (chosen, again)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    # The loss of every step is that of a run without a choice: scoring draws no random number.
    tuned(plain, location, Watcher())
    losses = [(one.folder / "loss.tsv").read_bytes() for one in (plain, chosen)]
    assert losses[0] == losses[1]


def test_a_dev_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    location = DataLocation(tmp_path, tmp_path / "cache", offline=True)
    with pytest.raises(IncompleteError, match=r"xnli dev \(en\): "):
        read_dev(Select(task="xnli", metric="accuracy", every=100), location)


def test_a_dev_file_that_is_not_the_official_one_is_said_to_be_that(tmp_path: Path) -> None:
    (tmp_path / "xnli").mkdir()
    (tmp_path / "xnli" / "dev-en.tsv").write_text("one\tanother\tneutral\n", encoding="utf-8")
    location = DataLocation(tmp_path, tmp_path / "cache", offline=True)
    select = Select(task="xnli", metric="accuracy", every=100)
    message = r"^xnli/dev-en\.tsv: sha256 is \w{12}…, the official file's is \w{12}…: put the offic"
    with pytest.raises(DataError, match=message) as chosen:
        read_dev(select, location)
    with pytest.raises(DataError, match=message) as measured:
        load(read_card("xnli"), "dev", ("en",), location)
    assert str(chosen.value) == str(measured.value)


def test_the_official_recipes_choose_as_xtreme_does() -> None:
    found = {
        name: tuple(one.select.model_dump().values())
        for name, one in read_target_recipes().items()
        if one.select
    }  # fmt: skip
    assert found == {
        "xtreme_xnli": ("xnli", "dev", "en", "accuracy", 100),
        "xtreme_pawsx": ("pawsx", "dev", "en", "accuracy", 200),
        "xtreme_udpos": ("udpos", "dev", "en", "f1_pos", 500),
        "xtreme_panx": ("panx", "dev", "en", "f1_span", 1000),
    }


def test_scoring_a_step_leaves_the_configuration_alone(
    location: DataLocation, tmp_path: Path
) -> None:
    """A tokenizer may pad with another token than the configuration names."""
    config = build("bert", tmp_path / "bert") / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"pad_token_id": 3}))
    chosen = tuning(tmp_path, location, SELECT)
    tuned(chosen, location, Watcher())
    assert json.loads((chosen.folder / "config.json").read_text())["pad_token_id"] == 3
