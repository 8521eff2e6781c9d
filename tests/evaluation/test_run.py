"""What a run holds at a time: one model, and the examples of one plan."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from harness.checkpoint.resolve import Base
from harness.errors import DataError, RefusedError
from harness.evaluation import lazy, run
from harness.evaluation.engines import ENGINES
from harness.evaluation.models import plan_model
from harness.evaluation.options import Options, make_request
from harness.evaluation.plan import _done
from harness.evaluation.planned import Plan
from harness.evaluation.reporting import Silent
from tests.checkpoints import build

TASKS = ("demo_bitext", "demo_qa")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("xlm-roberta", tmp_path_factory.mktemp("model") / "tiny", qa_head=True)


def planned(
    model: Path, folder: Path, *, languages: tuple[str, ...] = ("de",), fresh: bool = False
) -> Plan:
    request = make_request(
        Options(
            tasks=TASKS,
            languages=languages,
            fresh=fresh,
            limit=2,
            device="cpu",
            out=folder / "out",
            cache_dir=folder / "cache",
            offline=True,
        )
    )
    return plan_model(str(model), request)


def test_the_encoder_is_given_back_before_the_reader_is_loaded(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders: list[weakref.ref[Any]] = []
    made, read = run.make_backbone, lazy.load_reader
    loaded: list[bool] = []

    def watched(*arguments: Any) -> Any:
        backbone = made(*arguments)
        encoders.append(weakref.ref(backbone.load()[0]))
        return backbone

    def reader(*arguments: Any, **options: Any) -> Any:
        loaded.append(encoders[0]() is None)
        return read(*arguments, **options)

    monkeypatch.setattr(run, "make_backbone", watched)
    monkeypatch.setattr(lazy, "load_reader", reader)
    run.run(planned(model, tmp_path), Silent())
    assert loaded == [True]


def test_plans_that_are_kept_hold_the_examples_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.evaluation.engines.run", lambda plan, reporter: pa.table({}))

    def plans() -> Iterator[Plan]:
        for _ in range(2):
            yield planned(model, tmp_path)

    first, second = (plan for plan, _ in ENGINES["local"](plans(), Silent()))
    assert len(first.tasks) == len(TASKS)
    for one, other in zip(first.tasks, second.tasks, strict=True):
        assert one.loaded is other.loaded


def test_what_fails_on_one_checkpoint_costs_nothing_of_another(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> Any:
        raise RefusedError("no")

    monkeypatch.setattr(run, "make_encoder", failing)
    monkeypatch.setattr(run, "groups", lambda plan: [(None, [task]) for task in plan.tasks])
    plan = planned(model, tmp_path)
    with pytest.raises(RefusedError, match="no"):
        run.run(plan, Silent())
    done = {task.card.name: planned.file.path.exists() for task in plan.tasks
            for planned in task.jobs}  # fmt: skip
    assert done == {"demo_bitext": False, "demo_qa": True}


def test_languages_that_are_not_asked_for_outlast_a_run_from_scratch(
    model: Path, tmp_path: Path
) -> None:
    whole = planned(model, tmp_path, languages=("de", "es"))
    run.run(whole, Silent())
    files = [planned.file for task in whole.tasks for planned in task.jobs]
    before = [file.read("es") for file in files]
    run.run(planned(model, tmp_path, fresh=True), Silent())
    assert [set(file.meta()["languages"]) for file in files] == [{"de", "es"}] * 2
    assert [file.read("es") for file in files] == before


def test_an_adapter_on_another_base_is_not_done_already(model: Path, tmp_path: Path) -> None:
    found = planned(model, tmp_path)
    run.run(found, Silent())
    task = found.tasks[0]
    file = task.jobs[0].file
    assert _done(file, found.checkpoint, task.loaded, None) == {"de"}
    other = replace(found.checkpoint, base=Base("org/base", "2"))
    with pytest.raises(DataError, match="on the base None, now org/base@2"):
        _done(file, other, task.loaded, None)
