"""What a dry run says of time, memory and disk: counted by hand, measured by a probe."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.evaluation.estimate import STEPS, _characters_per_second, estimate
from harness.evaluation.models import plan_model
from harness.evaluation.options import Options, make_request
from harness.evaluation.space import ROW_BYTES
from harness.evaluation.summary import PlanSummary, preview
from harness.terminal.console import duration
from harness.terminal.plan import describe
from tests.checkpoints import build

WIDTH = 64  # of the demo checkpoint's vectors


def asked(tmp_path: Path, **options: object) -> Options:
    return Options(
        suite="demo", out=tmp_path / "out", cache_dir=tmp_path / "cache", device="cpu", **options
    )  # type: ignore[arg-type]


def test_disk_is_counted_and_nothing_is_left(tmp_path: Path) -> None:
    request = make_request(asked(tmp_path, tasks="demo_bitext", languages="de,es"))
    plan = plan_model("xharness/demo", request)
    before = sorted(tmp_path.rglob("*"))
    found = estimate(plan)
    assert sorted(tmp_path.rglob("*")) == before
    assert found is not None
    (task,) = plan.tasks
    assert found.vectors == task.todo_texts * (4 * WIDTH + 48)
    assert found.rows == task.todo_texts * ROW_BYTES
    assert found.seconds is not None
    assert found.seconds >= found.tasks[0].seconds > 0
    assert found.memory is not None
    assert found.memory > 50e6
    assert (found.device_memory, found.checkpoints, found.uncounted) == (None, 0, ())
    assert "an estimate: the model was run on" in found.how


def test_every_head_is_tried(tmp_path: Path) -> None:
    reader = build("bert", tmp_path / "reader", qa_head=True)
    request = make_request(asked(tmp_path, languages="de,es"))
    found = estimate(plan_model(reader, request))
    assert found is not None
    assert [(one.task, one.track) for one in found.tasks if one.task == "demo_qa"] == [
        ("demo_qa", "own-head")
    ]
    assert all(one.seconds >= 0 for one in found.tasks)


def test_what_is_done_is_not_estimated(tmp_path: Path) -> None:
    import harness

    options = asked(tmp_path, tasks="demo_bitext", languages="de,es")
    harness.evaluate("xharness/demo", **vars(options))
    found = preview("xharness/demo", make_request(options))
    assert isinstance(found, PlanSummary)
    assert found.estimate is None
    assert not [line for line in describe(found) if "about" in line]


@pytest.mark.parametrize(
    ("seconds", "steps", "rate"),
    [
        # The first step loads the model and says nothing, the second is slow enough to count.
        ([30.0, 4.0], 2, 8_000 / 4.0),
        ([0.1, 0.1, 0.1, 0.5], 4, 128_000 / 0.5),
        ([9.0, 0.5, 2.5], 3, 32_000 / 2.5),
    ],
)
def test_the_last_step_counts(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], steps: int, rate: float
) -> None:
    clock, taken = [0.0], []

    def probe(characters: int) -> tuple[int, int]:
        clock[0] += seconds[len(taken)]
        taken.append(characters)
        return 1, characters

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    assert _characters_per_second(probe) == (steps, pytest.approx(rate))
    assert taken == list(STEPS[:steps])


def test_texts_that_run_out_end_the_probe() -> None:
    left = [(3, 300), (2, 90), (0, 0)]
    tried, rate = _characters_per_second(lambda _: left.pop(0))
    assert tried == 5
    assert rate > 0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (40.4, "40 s"), (100, "2 min"), (720, "12 min"), (12_600, "3.5 h")],
)
def test_a_duration_is_as_rough_as_it_is_known(seconds: float, said: str) -> None:
    assert duration(seconds) == said
