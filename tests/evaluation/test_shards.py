"""Shards and lanes without a cluster: one worker in this process does what a cluster would."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import DataError, HarnessError, IncompleteError, RefusedError, UsageError
from harness.evaluation import shards
from harness.evaluation.engines import _joined
from harness.evaluation.models import plan_model
from harness.evaluation.options import Options, make_request
from harness.evaluation.planned import Plan
from harness.evaluation.reporting import Silent
from harness.evaluation.run import not_measured, run
from harness.evaluation.shards import Encode, Measure, ShardResult, Tune, lanes
from harness.evaluation.worker import Worker
from harness.inference.vector_store import VectorStore, text_key
from harness.results.outcomes import find
from tests.checkpoints import build
from tests.tiny_target import lay_training_data, tiny_recipes


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("target")
    with tiny_recipes(folder):
        yield lay_training_data(folder / "data")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("xlm-roberta", tmp_path_factory.mktemp("model") / "tiny", qa_head=True)


def planned(model: Path, folder: Path, *tasks: str, **options: Any) -> Plan:
    places = {"out": folder / "out", "cache_dir": folder / "cache", "offline": True}
    request = make_request(Options(tasks=tasks, device="cpu", **places, **options))
    return plan_model(str(model), request)


def driven(plan: Plan, machines: int = 2) -> tuple[pa.Table, list[Any], list[HarnessError]]:
    """Scores, every shard that was done, and what failed. Each stage is done backwards."""
    worker, did = Worker(1), []
    failures: list[HarnessError] = []
    tables = []
    for lane in lanes(plan, machines, Silent(), failures):
        answer: Any = None
        try:
            while True:
                stage = lane.send(answer)
                done: list[ShardResult | None] = [None] * len(stage)
                for place in reversed(range(len(stage))):
                    setting, shard = stage[place]
                    did.append(shard)
                    done[place] = worker.do(setting, shard)
                answer = done
        except StopIteration as end:
            tables += end.value
    return pa.concat_tables([*tables, *not_measured(plan)]), did, failures


def rows(folder: Path) -> dict[str, Any]:
    return {file.path.name: pq.read_table(file.path).to_pylist() for file in find(folder / "out")}


def test_the_tuned_track_is_trained_once_and_measured(
    model: Path, data: Path, tmp_path: Path
) -> None:
    asked = ("demo_qa", "demo_passages")
    options = {"finetune": True, "data": data, "languages": ["de", "en"]}
    table, did, failures = driven(planned(model, tmp_path / "ray", *asked, **options))
    assert failures == []
    assert sum(isinstance(shard, Tune) for shard in did) == 2  # a head and a dual encoder
    assert sum(isinstance(shard, Measure) for shard in did) == 4
    told = run(planned(model, tmp_path / "local", *asked, **options), Silent())
    assert rows(tmp_path / "ray") == rows(tmp_path / "local")
    assert table.to_pylist() == told.to_pylist()
    for file in find(tmp_path / "ray" / "out"):
        local = tmp_path / "local" / file.path.relative_to(tmp_path / "ray")
        other = type(file)(local).meta()
        assert file.meta()["tuning"] == other["tuning"]
        assert file.meta()["signature"] == other["signature"]
    # All of it is there: nothing is trained or measured again.
    again, did, _ = driven(planned(model, tmp_path / "ray", *asked, **options))
    assert (again.to_pylist(), did) == (table.to_pylist(), [])


def test_a_tuning_that_fails_is_its_tasks_failure_alone(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise IncompleteError("demo_span: the loss is not finite")

    monkeypatch.setattr("harness.evaluation.worker.tuned", fail)
    options = {"finetune": True, "data": data, "languages": ["de"]}
    table, _, failures = driven(planned(model, tmp_path, "demo_qa", "demo_bitext", **options))
    (failure,) = failures
    assert str(failure).endswith("demo_qa (demo_span: the loss is not finite)")
    notes = {row["task"]: row["note"] for row in table.to_pylist() if row["value"] is None}
    assert notes == {"demo_qa": "failed: demo_span: the loss is not finite"}
    assert "demo_bitext" in next(iter(rows(tmp_path)))


def test_a_large_part_is_shared_out_in_the_batches_of_one_machine(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(shards.SHARD_CHARACTERS, "cpu", 2_000)
    options = {"languages": ["de", "sw"], "batch_tokens": 64}
    _, did, _ = driven(planned(model, tmp_path / "ray", "demo_passages", **options), machines=3)
    pool = [shard for shard in did if isinstance(shard, Encode) and shard.role == "document"]
    assert sorted(shard.share for shard in pool) == [(0, 3), (1, 3), (2, 3)]
    assert len({tuple(shard.texts) for shard in pool}) == 1
    run(planned(model, tmp_path / "local", "demo_passages", **options), Silent())
    assert _vectors(tmp_path / "ray") == _vectors(tmp_path / "local")
    assert rows(tmp_path / "ray") == rows(tmp_path / "local")


def _vectors(folder: Path) -> dict[tuple[str, bytes], list[float]]:
    found = {}
    for path in (folder / "cache" / "vectors").glob("*/*.arrow"):
        table = pa.ipc.open_file(path).read_all()
        pairs = zip(table["key"].to_pylist(), table["vector"].to_pylist(), strict=True)
        found.update({(path.parent.name, key): vector for key, vector in pairs})
    return found


def test_parts_are_of_distinct_token_ids_and_the_driver_reads_no_weight(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the driver reads weights")

    # Of three tokens one is the text's: many sentences begin alike.
    plan = planned(model, tmp_path, "demo_bitext", languages=["de"])
    (task,) = plan.tasks
    short = {"query": 3, "document": 3}
    (one,) = task.jobs
    job = replace(one.job, settings=replace(one.job.settings, lengths=short))
    plan = replace(plan, tasks=(replace(task, jobs=(replace(one, job=job),)),))
    with monkeypatch.context() as patched:
        patched.setattr("harness.inference.backbone.load_encoder", never)
        (lane,) = lanes(plan, 1, Silent(), [])
        stage = lane.send(None)
    ((setting, shard),) = stage
    german = task.loaded.examples["de"]
    assert 1 < len(shard.texts) < len({*german.source, *german.english})
    worker = Worker(1)
    assert worker.do(setting, shard).failed == ""
    assert len(_vectors(tmp_path)) == len(shard.texts)
    lane.send([ShardResult()])
    assert worker.do(setting, Measure(0, "de")).failed == ""
    assert len(_vectors(tmp_path)) == len(shard.texts)


def test_a_resumed_run_encodes_what_is_missing_in_the_same_batches(
    model: Path, tmp_path: Path
) -> None:
    options = {"batch_tokens": 64}
    driven(planned(model, tmp_path / "whole", "demo_bitext", **options))
    # German is finished, its vectors are there; of Spanish only a share is.
    driven(planned(model, tmp_path / "half", "demo_bitext", languages=["de"], **options))
    plan = planned(model, tmp_path / "half", "demo_bitext", **options)
    (lane,) = lanes(plan, 2, Silent(), [])
    setting, first = lane.send(None)[0]
    assert isinstance(first, Encode)
    assert first.lang == "es"
    before = len(_vectors(tmp_path / "half"))
    outcome = Worker(1).do(setting, Encode(first.texts, "query", "es", (0, 3)))
    assert outcome.failed == ""
    assert before < len(_vectors(tmp_path / "half")) < before + len(first.texts)
    assert outcome.texts == len(_vectors(tmp_path / "half")) - before
    driven(planned(model, tmp_path / "half", "demo_bitext", **options))
    assert _vectors(tmp_path / "half") == _vectors(tmp_path / "whole")
    assert rows(tmp_path / "half") == rows(tmp_path / "whole")


def test_fresh_believes_nothing_of_before(model: Path, tmp_path: Path) -> None:
    options = {"languages": ["de"], "layer": "all", "limit": 5}
    driven(planned(model, tmp_path, "demo_passages", **options))
    first, vectors = rows(tmp_path), _vectors(tmp_path)
    before = set((tmp_path / "cache" / "vectors").glob("*/*.arrow"))
    again = planned(model, tmp_path, "demo_passages", fresh=True, **options)
    _, did, _ = driven(again, machines=1)
    assert sum(isinstance(shard, Measure) for shard in did) == 4  # layers
    assert sum(isinstance(shard, Encode) for shard in did) == 2  # the pool and the questions, once
    assert (rows(tmp_path), _vectors(tmp_path)) == (first, vectors)
    assert not {path for path in before if path.exists()}


def test_a_unit_that_another_machine_finished_is_not_measured_again(
    model: Path, tmp_path: Path
) -> None:
    plan = planned(model, tmp_path, "demo_qa", languages=["de"])
    (lane,) = lanes(plan, 1, Silent(), [])
    ((setting, shard),) = lane.send(None)
    worker = Worker(1)
    assert worker.do(setting, shard).texts == 36
    (part,) = (tmp_path / "out").rglob("*.parts/de.parquet")
    written = part.stat().st_mtime_ns
    assert worker.do(setting, shard, again=True) == ShardResult()
    assert part.stat().st_mtime_ns == written


def test_parts_that_do_not_come_are_never_merged_away(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SEEN_SECONDS", 0.0)
    plan = planned(model, tmp_path, "demo_qa", languages=["de", "en"])
    failures: list[HarnessError] = []
    (lane,) = lanes(plan, 1, Silent(), failures)
    (one, _) = lane.send(None)
    outcome = Worker(1).do(*one)
    with pytest.raises(StopIteration) as end:
        lane.send([outcome, outcome])
    (failure,) = failures
    assert isinstance(failure, IncompleteError)
    assert re.search(r"lacks (de|en), which workers have written", str(failure))
    assert end.value.value[0].column("value").to_pylist() == [None]
    assert len(list((tmp_path / "out").rglob("*.parts/*.parquet"))) == 1


def test_a_full_disk_is_a_failure_by_name(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device", "/results")

    monkeypatch.setattr("harness.evaluation.worker.run_unit", full)
    _, _, failures = driven(planned(model, tmp_path, "demo_qa", languages=["de"]))
    assert str(failures[0]).endswith("demo_qa/de (/results: No space left on device)")


def test_what_is_written_is_believed_whatever_the_clock_says(tmp_path: Path) -> None:
    import numpy as np

    since = 1 << 62  # far ahead of this machine's clock
    store = VectorStore(tmp_path, {"a": 1}, since=since)
    store.append([text_key("x")], np.ones((1, 2), dtype=np.float32))
    store.flush()
    assert not VectorStore(tmp_path, {"a": 1}, since=since).missing([text_key("x")])[0]
    shutil.rmtree(tmp_path)


def test_a_training_finds_the_device_empty(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(1)
    held: Any = (("key",), object())
    worker._model = worker._encoder = worker._prepared = held
    seen: list[Any] = []

    def train(*_: Any) -> None:
        seen.extend((worker._model, worker._encoder, worker._prepared))

    monkeypatch.setattr("harness.evaluation.worker.tuned", train)
    tuning: Any = None
    assert worker.do(None, Tune(tuning, tuning)) == ShardResult()
    assert seen == [(None, None)] * 3


@pytest.mark.parametrize(
    "error",
    [RefusedError("m@1 cannot encode: index"), DataError("a text of 9 GB"), UsageError("no")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("where", ["worker.run_unit", "shards._encode_shards"])
def test_an_error_has_the_same_code_on_a_worker_and_beside_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: HarnessError, where: str
) -> None:
    def fails(*_args: object) -> None:
        raise error

    monkeypatch.setattr(f"harness.evaluation.{where}", fails)
    table, _, failures = driven(planned(model, tmp_path, "demo_bitext", languages=["de"]))
    assert [(type(one), str(one)) for one in failures] == [(type(error), str(error))]
    assert table.column("note").to_pylist() == [f"failed: {error}"]


def test_errors_of_several_plans_are_said_in_their_order() -> None:
    refused, lost = RefusedError("m@1 cannot encode"), IncompleteError("m@2 xnli/de (no)")
    again = RefusedError("m@1 cannot encode")
    assert [str(one) for one in _joined([refused, again, lost], "")] == [
        "m@1 cannot encode",
        "incomplete, 1 failed: m@2 xnli/de (no); the others are finished and kept",
    ]
    assert [one.exit_code for one in _joined([lost, lost, refused], "lareqa")] == [5, 4]
    assert "2 failed" in str(_joined([lost, lost, refused], "lareqa")[0])
    assert "no data for lareqa" in str(_joined([lost], "lareqa")[0])
