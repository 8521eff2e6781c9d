"""One contract for every engine: the same rows, resume, failures by name, nothing done twice."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harness
from harness.errors import HarnessError, IncompleteError, UsageError
from harness.evaluation import engines, processes
from harness.evaluation.engines import ENGINES, choose
from harness.evaluation.pool import ATTEMPTS, Pool, Workers
from harness.evaluation.processes import _environment, local_workers, threads
from harness.evaluation.ray.cluster import Actor, RayWorkers, _running_cluster
from harness.evaluation.shards import Encode, Lane, Measure, ShardResult, Tune
from harness.results.outcomes import OutcomeFile, find
from tests.checkpoints import build
from tests.e2e.conftest import interrupted
from tests.evaluation.fatal import FatalMeasure, with_fatal
from tests.forked import WORKERS

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray")

# As a worker has: how many threads there are decides the last bits of a product.
pytestmark = pytest.mark.usefixtures("one_thread")
EVERY = ("demo_bitext", "demo_passages", "demo_qa")
SOME = ("de", "es", "hi", "sw")
Evaluate = Callable[..., pa.Table]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A cluster of one node with two workers, for all tests of this process."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local workers are forks, which start at once."""
    monkeypatch.setattr(processes, "subprocess", WORKERS)


# Starting Ray's processes takes ten seconds: what is the same on it is seen by `make test-slow`.
SLOW = pytest.mark.slow
SLOWLY = pytest.param("ray", marks=SLOW)


@pytest.fixture(params=["workers", "ray"])
def pooled(request: pytest.FixtureRequest) -> str:
    """What has several workers: local processes, and Ray."""
    request.getfixturevalue("cluster" if request.param == "ray" else request.param)
    return str(request.param)


@pytest.fixture(params=["local", "workers", "ray"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param != "local":
        request.getfixturevalue("cluster" if request.param == "ray" else request.param)
    return str(request.param)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("xlm-roberta", tmp_path_factory.mktemp("model") / "reader", qa_head=True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("bert", tmp_path_factory.mktemp("model") / "bare", seed=1)


def evaluate(models: Any, tasks: Any, folder: Path, engine: str, **options: Any) -> pa.Table:
    """Results in ``folder/out``, vectors in ``folder/cache``; ``workers`` is two processes."""
    usual = {
        "out": folder / "out",
        "cache_dir": folder / "cache",
        "offline": True,
        "device": "cpu",
        "languages": SOME,
        **({"workers": 2} if engine == "workers" else {}),
    }
    engine = "local" if engine == "workers" else engine
    return harness.evaluate(models, tasks, engine=engine, **(usual | options)).to_arrow()


@pytest.fixture(scope="module")
def expected(reader: Path, bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on every task, undisturbed, on this machine."""
    folder = tmp_path_factory.mktemp("expected")
    evaluate([reader, bare], EVERY, folder, "local")
    return folder


def rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Model and task → rows, of the files that are merged."""
    return {
        f"{path.parts[-3]} {path.name}": pq.read_table(path).to_pylist()
        for file in find(folder / "out")
        if (path := file.path).exists()
    }


def timing(folder: Path, model: str = "") -> dict[tuple[str, str], Any]:
    """When each finished unit (of ``model``) was measured, and how long it took."""
    return {
        (file.path.name, unit): when
        for file in find(folder / "out")
        if model in str(file.path)
        for unit, when in file.meta()["timing"].items()
    }


def vectors(folder: Path) -> dict[tuple[str, bytes], Any]:
    found = {}
    for path in sorted((folder / "cache" / "vectors").glob("*/*.arrow")):
        table = pa.ipc.open_file(path).read_all()
        values = table.column("vector").combine_chunks()
        matrix = values.flatten().to_numpy().reshape(len(values), -1)
        for key, vector in zip(table.column("key").to_pylist(), matrix, strict=True):
            found.setdefault((path.parent.name, key), vector)
    return found


def test_several_models_resumed_give_the_rows_and_vectors_of_one_undisturbed_run(
    engine: str, reader: Path, bare: Path, expected: Path, tmp_path: Path
) -> None:
    # Half of it is there already: one file, a part of another, and the vectors of neither.
    before = evaluate(reader, "demo_bitext", tmp_path, "local", languages=["es", "hi"])
    assert set(before.column("lang").to_pylist()) == {"es", "hi", "macro"}
    (file,) = find(tmp_path / "out")
    _as_parts(file)
    shutil.rmtree(tmp_path / "cache")
    done = timing(tmp_path)

    table = evaluate([reader, bare], EVERY, tmp_path, engine)
    assert rows(tmp_path) == rows(expected)
    assert not list((tmp_path / "out").rglob("*.parts"))
    assert not list(tmp_path.rglob(".shared-*"))
    for found in find(tmp_path / "out"):
        meta, other = found.meta(), OutcomeFile(_there(found, tmp_path, expected)).meta()
        del meta["timing"], other["timing"]
        assert meta == other
    told = harness.scores(expected / "out").to_pylist()
    scored = [row for row in table.to_pylist() if row["value"] is not None]
    assert sorted(map(str, scored)) == sorted(map(str, told))
    # The other notes: the second model has no head.
    notes = [row["note"] for row in table.to_pylist() if row["value"] is None]
    assert len(notes) == 1
    assert "no QA head" in notes[0]

    after = timing(tmp_path)
    assert {key: after[key] for key in done} == done
    ours, theirs = vectors(tmp_path), vectors(expected)
    for key, vector in ours.items():
        assert np.abs(vector - theirs[key]).max() <= 1e-5
    if engine == "local":
        return
    # Batches are those of one machine: to the last bit, but for texts that had vectors before.
    assert all((vector == theirs[key]).all() for key, vector in ours.items())
    # What is finished is not done again, and needs no cluster.
    again = evaluate([reader, bare], EVERY, tmp_path, engine)
    assert again.to_pylist() == table.to_pylist()
    assert timing(tmp_path) == after


@pytest.mark.parametrize("engine", ["local", "workers", SLOWLY], indirect=True)
def test_mining_gives_the_rows_and_vectors_of_this_machine(
    engine: str, bare: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    evaluate(bare, "demo_mining", here, "local", languages=None)
    evaluate(bare, "demo_mining", there, engine, languages=None)
    assert rows(there) == rows(here)
    assert len(rows(here)) == 1
    ours, theirs = vectors(there), vectors(here)
    assert ours.keys() == theirs.keys()
    assert all((ours[key] == theirs[key]).all() for key in ours)


def _as_parts(file: OutcomeFile) -> None:
    meta = file.meta()
    tables = {unit: file.read(unit) for unit in meta["languages"]}
    file.path.unlink()
    for unit, table in tables.items():
        own = {"languages": [unit], "timing": {unit: meta["timing"][unit]}}
        file.write_part(unit, table, meta | own)


def _there(file: OutcomeFile, folder: Path, other: Path) -> Path:
    return other / file.path.relative_to(folder)


@pytest.mark.slow
def test_fresh_every_layer_and_a_limit(engine: str, reader: Path, tmp_path: Path) -> None:
    options = {"layer": "all", "limit": 5, "languages": ["de", "sw"]}
    tasks = ("demo_passages", "demo_qa")
    evaluate(reader, tasks, tmp_path, "local", **options)
    first, done, kept = rows(tmp_path), timing(tmp_path), vectors(tmp_path)
    stores = sorted((tmp_path / "cache" / "vectors").glob("*/*.arrow"))
    files = {file.path: file.path.stat() for file in find(tmp_path / "out")}
    evaluate(reader, tasks, tmp_path, engine, fresh=True, **options)
    assert rows(tmp_path) == first
    assert len(first) == 5  # four layers and the head
    assert timing(tmp_path).keys() == done.keys()
    assert all(path.stat().st_mtime_ns > was.st_mtime_ns for path, was in files.items())
    assert not {path for path in stores if path.exists()}  # nothing of before was believed
    again = vectors(tmp_path)
    assert again.keys() == kept.keys()
    assert all((again[key] == kept[key]).all() for key in kept)


@pytest.fixture(scope="module")
def broken_hindi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that gives vectors which are not finite for Hindi alone."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    from tests.checkpoints import SENTENCES

    folder = build("bert", tmp_path_factory.mktemp("model") / "broken")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    hindi = [text for text in SENTENCES if "द्वीप" in text]
    others = {i for text in SENTENCES if text not in hindi for i in tokenizer(text)["input_ids"]}
    alone = sorted({i for text in hindi for i in tokenizer(text)["input_ids"]} - others)
    assert alone
    weights = load_file(folder / "model.safetensors")
    name = next(key for key in weights if key.endswith("word_embeddings.weight"))
    weights[name][alone] = 3e38
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("engine", ["local", "workers", SLOWLY], indirect=True)
def test_missing_data_and_what_fails_for_a_reason_of_its_own(
    engine: str, broken_hindi: Path, bare: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    tasks = ["lareqa", "demo_bitext"]
    options = {"languages": ["hi", "es", "ru"], "data": tmp_path / "data"}
    if engine == "local":
        with pytest.raises(HarnessError, match="not finite") as caught:  # stops at once
            evaluate([broken_hindi, bare], tasks, tmp_path, engine, **options)
        assert caught.value.exit_code == 4
        with pytest.raises(IncompleteError, match="no data for lareqa") as missing:
            evaluate(bare, tasks, tmp_path, engine, **options)
        assert {row["task"] for row in missing.value.scores.to_pylist()} == set(tasks)
        return
    # A cluster goes on with the others and says at the end what is lacking.
    models = [broken_hindi, bare, tmp_path / "none"]
    with pytest.raises(HarnessError) as caught:
        evaluate(models, tasks, tmp_path, engine, **options)
    absent, refused, lost = caught.value, *caught.value.also
    assert (absent.exit_code, refused.exit_code, lost.exit_code) == (3, 4, 5)  # the first decides
    assert str(tmp_path / "none") in str(absent)  # the plan that could not be made
    assert "not finite" in str(refused)
    assert "(hi)" in str(refused)
    assert str(lost) == "incomplete, no data for lareqa"
    assert "\n" not in str(refused)
    told = caught.value.scores.to_pylist()
    lacking = {(row["model"], row["task"], row["lang"]) for row in told if row["value"] is None}
    assert lacking >= {("broken", "demo_bitext", "hi"), ("bare", "lareqa", "macro")}
    assert {task for _, task, lang in lacking if lang != "hi"} == {"lareqa"}
    finished = {(row["model"], row["lang"]) for row in told if row["value"] is not None}
    assert {("broken", "ru"), ("broken", "es"), ("bare", "hi"), ("bare", "ru")} <= finished
    assert {unit for _, unit in timing(tmp_path)} == {"hi", "ru", "es"}


def lose_a_worker(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *, times: int
) -> Callable[[], list[int]]:
    """The last language of the last task kills who takes it up; gives the killed processes."""
    whole = engines.lanes

    def lanes(plan: Any, *arguments: Any) -> list[Lane]:
        last = plan.tasks[-1].units[-1]
        *before, lane = whole(plan, *arguments)

        def fatal(shard: Measure) -> Measure | None:
            if shard.unit != last:
                return None
            return FatalMeasure(shard.job, last, folder / "out", folder / "fatal", times)

        return [*before, with_fatal(lane, fatal)]

    monkeypatch.setattr(engines, "lanes", lanes)
    return lambda: [int(path.name) for path in (folder / "fatal" / "killed").iterdir()]


def test_a_killed_worker_costs_its_shard_alone(
    pooled: str,
    reader: Path,
    expected: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed = lose_a_worker(monkeypatch, tmp_path, times=1)
    evaluate(reader, EVERY, tmp_path, pooled)
    assert len(killed()) == 1
    ours = rows(tmp_path)
    assert ours == {key: table for key, table in rows(expected).items() if key in ours}
    assert len(ours) == len(EVERY)
    before, after = timing(tmp_path / "fatal" / "before"), timing(tmp_path)
    assert before
    assert {key: after[key] for key in before} == before


def test_a_shard_that_kills_every_worker_fails_alone_and_by_name(
    workers: None, reader: Path, expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = lose_a_worker(monkeypatch, tmp_path, times=99)
    with pytest.raises(
        IncompleteError, match=r"demo_qa/\w\w \(its worker was lost 3 times: killed"
    ):
        evaluate(reader, EVERY, tmp_path, "workers")
    assert len(killed()) == ATTEMPTS
    assert len(timing(tmp_path)) == len(timing(expected, "reader")) - 1
    assert not list((tmp_path / "out").rglob("demo_qa*.parquet.tmp"))


class Breaking:
    """A tuning that breaks the device of the worker which takes it up first, then fails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint = SimpleNamespace(folder=folder, base_folder=None, label="it")

    @property
    def done(self) -> bool:
        if (self.folder / "tried").exists():
            raise KeyError("layer")
        (self.folder / "tried").touch()
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nSearch for it")


def test_a_worker_whose_device_breaks_is_replaced(pooled: str, tmp_path: Path) -> None:
    tuning: Any = Breaking(tmp_path)
    where: Any = SimpleNamespace(data=None)
    told: list[ShardResult] = []

    def lane() -> Lane:
        told.extend((yield [(None, Tune(tuning, where))]))
        return []

    def run(workers: Workers) -> None:
        pool = Pool(workers, lambda texts, characters: None)
        assert list(pool.run([lane()])) == [(0, [])]

    if pooled == "ray":
        run(RayWorkers(ray, "cpu", []))
    else:
        with local_workers(["cpu"]) as workers:
            run(workers)
    assert told == [ShardResult(failed="it cannot be tuned: 'layer'", code=4)]


def test_local_workers_end_with_the_command_and_are_of_its_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with local_workers(["cpu", "cpu"]) as workers:
        started = [workers.start(), workers.start()]
        for worker in started:
            workers.greet(worker)
        ready = {event.worker for event in workers.wait()}
        while len(ready) < 2:
            ready |= {event.worker for event in workers.wait()}
        processes = [worker.process for worker in started]  # type: ignore[attr-defined]
        assert all(process.poll() is None for process in processes)
    assert all(process.returncode == -signal.SIGKILL for process in processes)
    monkeypatch.setattr("harness.evaluation.processes.processors", lambda: 7)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads(count) for count in (1, 2, 7, 9)] == [7, 3, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads(2) == 2


def test_a_worker_sees_its_own_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert _environment("cuda:1", 3)["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in _environment("cpu", 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-6")
    assert _environment("cuda:1", 3)["CUDA_VISIBLE_DEVICES"] == "GPU-6"


COMMAND = (
    *("eval", "--suite", "demo", "--device", "cpu", "--format", "json", "--offline"),
    *(word for lang in SOME for word in ("--lang", lang)),
    *(word for task in EVERY for word in ("--task", task)),
)
LOCALLY, ON_RAY = ("--workers", "2"), ("--engine", "ray")


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGINT, marks=SLOW),
        pytest.param(signal.SIGTERM, marks=SLOW),
    ],
)
@pytest.mark.parametrize("how", [LOCALLY, pytest.param(ON_RAY, marks=SLOW)], ids=str)
def test_a_command_that_was_ended_is_finished_by_the_next(
    reader: Path, expected: Path, tmp_path: Path, number: int, how: tuple[str, ...]
) -> None:
    # Without a cluster of the tests: each command starts one of its own, and takes it along.
    places = ("--out", tmp_path / "out", "--cache-dir", tmp_path / "cache")
    command = (*COMMAND, *how, reader, *places)
    # When the first of three tasks is whole: two workers can have no more of the others than all
    # but one unit.
    closed = "harness.evaluation.shards:close_job"
    code, err = interrupted(closed, 1, number, *command, RAY_ADDRESS="local")
    assert code == (-number if number == signal.SIGKILL else 130), err
    assert "Traceback" not in err
    done = timing(tmp_path)
    assert 0 < len(done) < len(EVERY) * len(SOME), "it was ended before or after its work"
    code, err = interrupted(closed, 0, 0, *command, RAY_ADDRESS="local")
    assert code == 0, err
    ours = rows(tmp_path)
    assert ours == {key: table for key, table in rows(expected).items() if key in ours}
    after = timing(tmp_path)
    assert {key: after[key] for key in done} == done


def test_an_engine_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="unknown engine 'spark'"):
        choose("spark")
    monkeypatch.setattr("harness.evaluation.engines.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'xharness\[ray\]'"):
        choose("ray")
    assert choose("local") is ENGINES["local"]


def test_a_cluster_that_does_not_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, bare: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(UsageError, match=r"no Ray cluster at RAY_ADDRESS=127\.0\.0\.1:9"):
        _running_cluster()
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert _running_cluster() is None


def test_a_cluster_without_a_gpu_is_said(cluster: Any, bare: Path, tmp_path: Path) -> None:
    # Where the command is given there need be none.
    with pytest.raises(UsageError, match="no GPU: use --device cpu"):
        evaluate(bare, "demo_bitext", tmp_path, "ray", device="cuda")
    with pytest.raises(UsageError, match="Ray deals the GPUs out"):
        evaluate(bare, "demo_bitext", tmp_path, "ray", device="cuda:1")
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_node_that_does_not_see_the_folders_says_which(bare: Path, tmp_path: Path) -> None:
    actor = Actor(1, [tmp_path / "out" / ".shared-0"])
    part = Encode(["a"], "query", "", (0, 1))
    result = actor.run("", [], part, False)
    assert result.missing_path.endswith(f"does not see {tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()  # nothing was written elsewhere
