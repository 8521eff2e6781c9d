"""One contract for every engine: the same rows, resume, failures by name, nothing done twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harness
from harness.errors import HarnessError, IncompleteError, UsageError
from harness.evaluation.engines import ENGINES, choose
from harness.evaluation.ray.cluster import Pool
from harness.evaluation.shards import Lane, ShardResult, Tune
from harness.results.outcomes import OutcomeFile, find
from tests.checkpoints import build

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


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("cluster")
    return str(request.param)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("xlm-roberta", tmp_path_factory.mktemp("model") / "reader", qa_head=True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("bert", tmp_path_factory.mktemp("model") / "bare", seed=1)


def evaluate(models: Any, tasks: Any, folder: Path, engine: str, **options: Any) -> pa.Table:
    """Results in ``folder/out``, vectors in ``folder/cache``."""
    usual = {
        "out": folder / "out",
        "cache_dir": folder / "cache",
        "offline": True,
        "device": "cpu",
        "languages": SOME,
    }
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


def timing(folder: Path) -> dict[tuple[str, str], Any]:
    """When each finished unit was measured, and how long it took."""
    return {
        (file.path.name, unit): when
        for file in find(folder / "out")
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
    time.sleep(1.1)  # `finished` is in whole seconds
    evaluate(reader, tasks, tmp_path, engine, fresh=True, **options)
    assert rows(tmp_path) == first
    assert len(first) == 5  # four layers and the head
    after = timing(tmp_path)
    assert all(after[key]["finished"] > when["finished"] for key, when in done.items())
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
    with pytest.raises(IncompleteError, match="not finite") as caught:
        evaluate(models, tasks, tmp_path, engine, **options)
    assert caught.value.exit_code == 5
    assert "demo_bitext/hi" in str(caught.value)
    assert "no data for lareqa" in str(caught.value)
    assert str(caught.value).count(str(tmp_path / "none")) == 1  # the plan that could not be made
    assert "\n" not in str(caught.value)
    told = caught.value.scores.to_pylist()
    lacking = {(row["model"], row["task"], row["lang"]) for row in told if row["value"] is None}
    assert lacking >= {("broken", "demo_bitext", "hi"), ("bare", "lareqa", "macro")}
    assert {task for _, task, lang in lacking if lang != "hi"} == {"lareqa"}
    finished = {(row["model"], row["lang"]) for row in told if row["value"] is not None}
    assert {("broken", "ru"), ("broken", "es"), ("bare", "hi"), ("bare", "ru")} <= finished
    assert {unit for _, unit in timing(tmp_path)} == {"hi", "ru", "es"}


def workers(*, busy: bool) -> list[psutil.Process]:
    """Our cluster's workers, or those that are in a shard right now."""
    title = "ray::Worker.run" if busy else "ray::Worker"
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if (process.cmdline() or [""])[0].startswith(title):
                found.append(process)
        except psutil.Error:
            continue
    return found


class Killer(threading.Thread):
    """Kills a worker in mid-shard once something is finished, and notes what was."""

    def __init__(self, folder: Path, kill: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self.folder, self.kill = folder, kill
        self.done: dict[tuple[str, str], Any] = {}

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if list((self.folder / "out").rglob("*.parts/*.parquet")):
                done = timing(self.folder)
                if self.kill():
                    self.done = done
                    return
            time.sleep(0.002)


def _kill_one() -> bool:
    for process in workers(busy=True):
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        return True
    return False


def test_a_killed_worker_costs_its_shard_alone(
    cluster: Any, reader: Path, expected: Path, tmp_path: Path
) -> None:
    killer = Killer(tmp_path, _kill_one)
    killer.start()
    evaluate(reader, EVERY, tmp_path, "ray")
    killer.join(10)
    assert killer.done, "it was killed before or after its work"
    ours = rows(tmp_path)
    assert ours == {key: table for key, table in rows(expected).items() if key in ours}
    assert len(ours) == len(EVERY)
    after = timing(tmp_path)
    assert {key: after[key] for key in killer.done} == killer.done
    assert len(workers(busy=False)) == 0


class Breaking:
    """A tuning that breaks the device of the worker which takes it up first, then fails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint = SimpleNamespace(folder=folder, base_folder=None)

    @property
    def done(self) -> bool:
        if (self.folder / "tried").exists():
            raise KeyError("layer")
        (self.folder / "tried").touch()
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nSearch for it")


def test_a_worker_whose_device_breaks_is_replaced(cluster: Any, tmp_path: Path) -> None:
    tuning: Any = Breaking(tmp_path)
    where: Any = SimpleNamespace(data=None)
    told: list[ShardResult] = []

    def lane() -> Lane:
        told.extend((yield [(None, Tune(tuning, where))]))
        return []

    pool = Pool(ray, "cpu", [], lambda texts, characters: None)
    assert list(pool.run([lane()])) == [(0, [])]
    assert told == [ShardResult(failed="KeyError: 'layer'")]


@pytest.mark.slow
def test_a_lost_node_costs_its_shards_alone(
    cluster: Any, reader: Path, expected: Path, tmp_path: Path
) -> None:
    node = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()

    def lose() -> bool:
        # Ours alone among four: wait until it has begun.
        pid = node.all_processes["raylet"][0].process.pid
        its = [w for w in workers(busy=True) if w.ppid() == pid]
        if not its:
            return False
        cluster.remove_node(node, allow_graceful=False)
        return True

    killer = Killer(tmp_path, lose)
    killer.start()
    evaluate(reader, EVERY, tmp_path, "ray")
    killer.join(30)
    assert killer.done, "it was lost before or after its work"
    ours = rows(tmp_path)
    assert ours == {key: table for key, table in rows(expected).items() if key in ours}
    after = timing(tmp_path)
    assert {key: after[key] for key in killer.done} == killer.done


COMMAND = (
    *("eval", "--suite", "demo", "--engine", "ray", "--device", "cpu", "--format", "json"),
    *(word for lang in SOME for word in ("--lang", lang)),
    *(word for task in EVERY for word in ("--task", task)),
)


def started(model: Path, folder: Path, **environment: str) -> subprocess.Popen[str]:
    places = ("--out", str(folder / "out"), "--cache-dir", str(folder / "cache"))
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *COMMAND, str(model), *places],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | environment,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_command_that_was_ended_is_finished_by_the_next(
    reader: Path, expected: Path, tmp_path: Path, number: int, code: int
) -> None:
    # Without a cluster of the tests: each command starts one of its own, and takes it along.
    running = started(reader, tmp_path)
    deadline = time.monotonic() + 180
    while not list((tmp_path / "out").rglob("*.parts/*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(running.pid, number) if number == signal.SIGINT else running.send_signal(number)
    _, err = running.communicate(timeout=120)
    assert running.returncode == code, err
    assert "Traceback" not in err
    done = timing(tmp_path)
    assert 0 < len(done) < len(EVERY) * len(SOME) - 1, "it was ended before or after its work"
    again = started(reader, tmp_path)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
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
    from harness.evaluation.ray.cluster import _running_cluster

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
    from harness.evaluation.shards import Encode
    from harness.evaluation.worker import Worker

    worker = Worker(1, [tmp_path / "out" / ".shared-0"])
    part = Encode(["a"], "query", "", (0, 1))
    outcome = worker.run("", [], part, False)
    assert outcome.missing_path.endswith(f"does not see {tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()  # nothing was written elsewhere
