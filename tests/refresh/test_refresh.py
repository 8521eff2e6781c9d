"""What a refresh does with each submission; the worker is a stand-in that writes rows or fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.board.build import leaderboard
from harness.cards.catalogue import read_card, read_suites
from harness.cli import app
from harness.errors import IncompleteError, NotFoundError
from harness.evaluation.options import Options, make_request
from harness.inference.protocol import PROTOCOL_VERSION
from harness.refresh.fitting import Limits
from harness.refresh.rebuild import check_failures, hand_over_pending, rebuild
from harness.refresh.refresh import Refresh
from harness.refresh.worker import Ended
from harness.results.outcomes import OutcomeFile
from harness.results.provenance import digest_of, read_origins
from harness.submissions.attempts import Attempt, read_attempts, write_attempts
from harness.submissions.folder import read_submissions
from tests.board.boards import hits, measure
from tests.checkpoints import build, build_adapter
from tests.hub.server import Hub
from tests.hub.writing import TOKEN

pytestmark = pytest.mark.usefixtures("rows_by_hand")


NOTES = {
    entry.task: f"no {entry.task} here"
    for entry in read_suites()["demo"]
    if entry.task != "demo_bitext"
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("bert", tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture
def hub(hub: Hub, asks_hub: None, tiny: Path) -> Hub:
    hub.add("org/a", tiny)
    hub.add("org/b", tiny)
    hub.add("org/pickle", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    return hub


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "submissions").mkdir(parents=True)
    return tmp_path / "root"


def submit(root: Path, *slugs: str, model: str = "org/{}", more: str = "") -> None:
    for slug in slugs:
        text = f"# by {slug}\nmodel: {model.format(slug)}\nobjective: none\n{more}"
        (root / "submissions" / f"{slug}.yaml").write_text(text)


@dataclass
class Worker:
    """A stand-in for the evaluation: by model, how it ends."""

    root: Path
    endings: dict[str, Callable[[str, str], Ended]] = field(default_factory=dict)
    calls: list[list[str]] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)

    def __call__(self, arguments: Sequence[str], *, seconds: float | None, **_: Any) -> Ended:
        self.calls.append(list(arguments))
        self.seconds.append(seconds)
        model, revision = arguments[0].split("@")
        return self.endings.get(model, self.measures)(model, revision)

    @property
    def out(self) -> Path:
        """Where the evaluation that was started last writes."""
        words = self.calls[-1]
        return Path(words[words.index("--out") + 1])

    def measures(self, model: str, revision: str, **changes: Any) -> Ended:
        if "demo_bitext" in self.calls[-1]:
            self.writes(model, revision, results=self.out, **changes)
        return Ended(0, "", NOTES)

    def writes(self, model: str, revision: str, **changes: Any) -> None:
        rows = {unit: hits(unit, [1, 0]) for unit in read_card("demo_bitext").languages}
        measure(self.root, model, rows, revision=revision, **changes)


@pytest.fixture
def worker(root: Path) -> Worker:
    return Worker(root)


def refresh(root: Path, worker: Worker, **options: Any) -> tuple[Refresh, dict[str, Attempt]]:
    """One refresh with the demo suite; slug → what became of it."""
    limits = {name: options.pop(name) for name in ("parameters", "minutes") if name in options}
    made = Refresh(
        root=root,
        request=make_request(Options(suite="demo", cache_dir=root.parent / "cache", device="cpu")),
        limits=Limits(memory=options.pop("memory", None), **limits),
        evaluate=worker,
        say=lambda line: None,
        **options,
    )
    return made, {item.slug: attempt for item, attempt in made.run()}


def states(root: Path, worker: Worker) -> dict[str, str]:
    made = Refresh(
        root=root,
        request=make_request(Options(suite="demo", cache_dir=root.parent / "cache", device="cpu")),
        evaluate=worker,
    )
    return {item.slug: item.state for item in made.items()}


def test_a_pending_submission_is_measured_and_pinned(hub: Hub, root: Path, worker: Worker) -> None:
    submit(root, "a")
    assert states(root, worker) == {"a": "to measure"}
    commit = hub.repositories["models", "org/a"].branches["main"]
    made, done = refresh(root, worker)
    assert done["a"].status == "measured"
    assert done["a"].without == NOTES
    text = (root / "submissions" / "a.yaml").read_text()
    assert text == f"# by a\nmodel: org/a\nrevision: {commit}\nobjective: none\n"
    words = worker.calls[0]
    assert words[0] == f"org/a@{commit}"
    assert words[words.index("--protocol") + 1] == "standard"
    check_failures(made)  # nothing failed

    hub.requests.clear()
    assert states(root, worker) == {"a": "measured"}
    before = (root / "leaderboard" / "attempts.json").read_bytes()
    refresh(root, worker)
    assert len(worker.calls) == 1
    assert hub.requests == []
    assert (root / "leaderboard" / "attempts.json").read_bytes() == before


def test_one_failure_stops_no_other(hub: Hub, root: Path, worker: Worker) -> None:
    submit(root, "a", "absent", "b", "pickle")
    (root / "submissions" / "broken.yaml").write_text("modl: x\n")
    (root / "submissions" / "twice.yaml").write_text("model: org/b\nobjective: none\n")
    worker.endings["org/b"] = lambda model, revision: Ended(-9, "it was ended", {})
    made, done = refresh(root, worker)
    assert {slug: attempt.status for slug, attempt in done.items()} == {
        "a": "measured", "absent": "failed", "b": "failed", "pickle": "failed",
    }  # fmt: skip
    kept = read_attempts(root)
    assert {slug: one.exit_code for slug, one in kept.items()} == {
        "a": None, "absent": 3, "b": -9, "pickle": 4, "broken": 6, "twice": 6,
    }  # fmt: skip
    rebuild(root, cache=root.parent / "folds")
    board = "".join(path.read_text() for path in (root / "leaderboard").glob("*.md"))
    for reason in (
        "org/absent is not on",
        "it was ended",
        "submissions/broken.yaml:1: unknown key modl",
        "submissions/twice.yaml: org/b is submitted by b.yaml already",
    ):
        assert reason in board, reason
    assert "| measured |" in board
    page = (root / "leaderboard" / "checkpoints" / "a.md").read_text()
    assert "no demo&#95;qa here" in page
    with pytest.raises(IncompleteError, match=r"failed: broken, twice, absent, b, pickle \(broken"):
        check_failures(made)
    words = ["leaderboard", "--check", "--root", str(root)]
    assert CliRunner().invoke(app, words).exit_code == 0
    (root / "submissions" / "new.yaml").write_text("modl: x\n")  # of which the board says nothing
    assert CliRunner().invoke(app, words).exit_code == 6


def test_an_error_that_nobody_thought_of_stops_no_other(
    hub: Hub, root: Path, worker: Worker
) -> None:
    submit(root, "a", "b")

    def breaks(model: str, revision: str) -> Ended:
        raise TypeError("unhashable\n\x1b[2Jtype")

    worker.endings["org/a"] = breaks
    made, done = refresh(root, worker)
    assert (done["a"].status, done["a"].exit_code) == ("failed", 5)
    assert done["a"].reason == "TypeError: unhashable [2Jtype"
    assert done["b"].status == "measured"
    with pytest.raises(IncompleteError, match="failed: a"):
        check_failures(made)


def test_what_was_refused_is_not_tried_again_until_it_changes(
    hub: Hub, root: Path, worker: Worker, tiny: Path
) -> None:
    submit(root, "pickle")
    made, done = refresh(root, worker)
    assert done["pickle"].exit_code == 4
    before = (root / "leaderboard" / "attempts.json").read_bytes()
    hub.requests.clear()
    made, done = refresh(root, worker)
    assert len(hub.requests) == 1  # which commit it is at
    assert (root / "leaderboard" / "attempts.json").read_bytes() == before
    check_failures(made)  # it is known, and no failure of this refresh
    hub.add("org/pickle", tiny)
    assert refresh(root, worker)[1]["pickle"].status == "measured"


def test_an_adapter_whose_base_is_not_there_is_tried_again(
    hub: Hub, root: Path, worker: Worker, tiny: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    hub.add("org/lora", build_adapter(tmp_path / "lora", "org/base", tiny))
    submit(root, "lora")
    made, done = refresh(root, worker)
    assert (done["lora"].exit_code, done["lora"].final) == (3, False)
    with pytest.raises(IncompleteError, match="its base cannot be used: org/base is not on"):
        check_failures(made)
    hub.add("org/base", tiny)
    assert refresh(root, worker)[1]["lora"].status == "measured"


def test_what_its_worker_refused_is_tried_when_it_is_named(
    hub: Hub, root: Path, worker: Worker
) -> None:
    submit(root, "a")
    worker.endings["org/a"] = lambda model, revision: Ended(4, "not whole", {})
    refresh(root, worker)
    hub.requests.clear()
    assert states(root, worker) == {"a": "failed"}
    made, done = refresh(root, worker)
    assert (done["a"].reason, len(worker.calls), hub.requests) == ("not whole", 1, [])
    check_failures(made)
    del worker.endings["org/a"]
    assert refresh(root, worker, chosen=["a"])[1]["a"].status == "measured"


def test_what_failed_for_now_is_tried_again(hub: Hub, root: Path, worker: Worker) -> None:
    submit(root, "a")
    worker.endings["org/a"] = lambda model, revision: Ended(5, "the disk is full", {})
    made, done = refresh(root, worker)
    since = done["a"].since
    with pytest.raises(IncompleteError, match="the disk is full"):
        check_failures(made)
    assert refresh(root, worker)[1]["a"].since == since
    made, done = refresh(root, worker, minutes=0)
    assert done["a"].reason == "the disk is full"
    check_failures(made)  # nothing was tried
    del worker.endings["org/a"]
    assert refresh(root, worker)[1]["a"].status == "measured"
    assert read_attempts(root)["a"].reason == ""


@pytest.mark.parametrize("changes", [{"card_hash": "0" * 64}, {"protocol_version": 0}])
def test_stale_rows_are_measured_again(
    hub: Hub, root: Path, worker: Worker, changes: dict[str, Any]
) -> None:
    submit(root, "a")
    worker.endings["org/a"] = lambda model, revision: worker.measures(model, revision, **changes)
    assert refresh(root, worker)[1]["a"].reason == "no rows were written for demo_bitext"
    assert states(root, worker) == {"a": "stale"}
    del worker.endings["org/a"]
    assert refresh(root, worker)[1]["a"].status == "measured"
    assert states(root, worker) == {"a": "measured"}


@pytest.mark.parametrize("finished", [True, False])
def test_rows_in_the_way_of_new_ones_go_and_no_others(
    hub: Hub, root: Path, worker: Worker, finished: bool
) -> None:
    submit(root, "a")
    commit = hub.repositories["models", "org/a"].branches["main"]
    submit(root, "a", more=f"revision: {commit}\n")

    def begun(task: str, **changes: Any) -> OutcomeFile:
        unit = read_card(task).languages[0]
        path = measure(
            root, "org/a", {unit: hits(unit, [1])}, revision=commit, task=task, **changes
        )
        file = OutcomeFile(path)
        if not finished:
            file.parts.mkdir()
            path.rename(file.parts / f"{unit}.parquet")
        return file

    old, kept = begun("demo_bitext", protocol_version=0), begun("demo_passages")

    def looks(model: str, revision: str) -> Ended:
        assert old.meta()["protocol_version"] == 0  # until others are whole
        assert kept.done()
        return worker.measures(model, revision)

    assert states(root, worker) == {"a": "stale"}
    worker.endings["org/a"] = looks
    assert refresh(root, worker)[1]["a"].status == "measured"
    assert not [words for words in worker.calls if "--fresh" in words]
    assert old.path.exists()
    assert not old.parts.exists()
    assert old.meta()["protocol_version"] == PROTOCOL_VERSION
    assert kept.done()


@pytest.mark.parametrize(
    "ending", [Ended(-15, "ended", {}, stopped=True), Ended(5, "the disk is full", {})]
)
def test_old_rows_stay_until_others_are_whole(
    hub: Hub, root: Path, worker: Worker, ending: Ended
) -> None:
    commit = hub.repositories["models", "org/a"].branches["main"]
    submit(root, "a", more=f"revision: {commit}\n")
    one = read_card("demo_bitext").languages[0]
    rows = {one: hits(one, [1])}
    old = OutcomeFile(measure(root, "org/a", rows, revision=commit, protocol_version=0))
    before = old.path.read_bytes()

    def begins(model: str, revision: str) -> Ended:
        if "demo_bitext" not in worker.calls[-1]:
            return Ended(0, "", NOTES)
        new = OutcomeFile(measure(root, model, rows, revision=revision, results=worker.out))
        new.parts.mkdir()
        new.path.rename(new.parts / f"{one}.parquet")  # a language is done, the task is not
        return ending

    worker.endings["org/a"] = begins
    _, done = refresh(root, worker, minutes=60)
    assert done["a"].status == ("pending" if ending.stopped else "failed")
    assert old.path.read_bytes() == before
    assert not old.parts.exists()
    begun = worker.out
    del worker.endings["org/a"]
    assert refresh(root, worker)[1]["a"].status == "measured"
    assert worker.out == begun  # it goes on where it was
    assert old.meta()["protocol_version"] == PROTOCOL_VERSION
    results = root / "leaderboard" / "results"
    (origin,) = (read_origins(results) or {}).values()
    assert (origin.provenance, origin.digest) == ("measured", digest_of(old))
    assert states(root, worker) == {"a": "measured"}


def test_a_new_file_that_lacks_languages_takes_no_place(
    hub: Hub, root: Path, worker: Worker
) -> None:
    """The data of a language could not be had: the evaluation ends well, its file is shorter."""
    commit = hub.repositories["models", "org/a"].branches["main"]
    submit(root, "a", more=f"revision: {commit}\n")
    first, *rest = read_card("demo_bitext").languages
    assert rest
    rows = {unit: hits(unit, [1]) for unit in (first, *rest)}
    old = OutcomeFile(measure(root, "org/a", rows, revision=commit, protocol_version=0))
    before = old.path.read_bytes()

    def shorter(model: str, revision: str) -> Ended:
        if "demo_bitext" in worker.calls[-1]:
            measure(root, model, {first: rows[first]}, revision=revision, results=worker.out)
        return Ended(0, "", NOTES)

    worker.endings["org/a"] = shorter
    refresh(root, worker)
    assert old.path.read_bytes() == before


def test_what_is_measured_in_another_way_does_not_count(
    hub: Hub, root: Path, worker: Worker
) -> None:
    submit(root, "a")
    commit = hub.repositories["models", "org/a"].branches["main"]
    submit(root, "a", more=f"revision: {commit}\n")
    for changes in ({"limit": 5}, {"custom": ["layer 3"]}, {"seed": 1}, {"track": "native"}):
        worker.writes("org/a", commit, **changes)
    assert states(root, worker) == {"a": "to measure"}


def test_what_does_not_fit_is_left_pending_without_its_download(
    hub: Hub, root: Path, worker: Worker
) -> None:
    submit(root, "a")
    _, done = refresh(root, worker, parameters=1000)
    assert done["a"].status == "pending"
    assert "more than --max-parameters 1,000" in done["a"].reason
    assert not [line for line in hub.requests if "/resolve/" in line]
    hub.requests.clear()
    commit = done["a"].revision
    _, done = refresh(root, worker, parameters=2000)
    assert hub.requests == []  # its size is known by now
    assert commit is not None
    assert (done["a"].revision, "2,000" in done["a"].reason) == (commit, True)
    assert "of memory, this machine has" in refresh(root, worker, memory=1 << 20)[1]["a"].reason
    assert (root / "submissions" / "a.yaml").read_text().count("revision") == 0
    rebuild(root, cache=root.parent / "folds")
    assert "does not fit:" in (root / "leaderboard" / "pending.md").read_text()
    assert refresh(root, worker)[1]["a"].status == "measured"


def test_time_that_runs_out(hub: Hub, root: Path, worker: Worker) -> None:
    submit(root, "a", "b")
    clock = [0.0]

    def slow(model: str, revision: str) -> Ended:
        clock[0] += 60
        return Ended(-15, "ended", {}, stopped=True)

    worker.endings = {"org/a": slow, "org/b": slow}
    _, done = refresh(root, worker, minutes=1, now=lambda: clock[0])
    assert worker.seconds == [60.0]
    assert "ran out of time (--max-minutes 1) before demo_bitext" in done["a"].reason
    assert "not reached within --max-minutes 1" in done["b"].reason
    worker.endings = {}
    made, done = refresh(root, worker)
    assert list(done) == ["b", "a"]  # the one that took all the time before comes last
    assert {attempt.status for attempt in done.values()} == {"measured"}
    check_failures(made)


def test_a_local_checkpoint_waits_for_its_owner(hub: Hub, root: Path, worker: Worker) -> None:
    submit(root, "mine", model="mine", more=f"revision: local:{'a' * 64}\n")
    _, done = refresh(root, worker)
    assert done["mine"].status == "pending"
    assert "measure it with `xharness eval FOLDER`" in done["mine"].reason
    rows = {unit: hits(unit, [1]) for unit in read_card("demo_bitext").languages}
    measure(root, "mine", rows, revision=f"local:{'a' * 64}")
    folder = root / "leaderboard" / "results"
    (folder / "mine").rename(folder / "local__mine")
    (folder / "local__mine" / "local:aaaaaa").rename(folder / "local__mine" / ("a" * 12))
    made = Refresh(root=root, request=make_request(Options(tasks=["demo_bitext"], device="cpu")))
    assert [item.state for item in made.items()] == ["measured"]


def test_data_that_is_not_to_be_had(hub: Hub, root: Path, worker: Worker, tmp_path: Path) -> None:
    """Nothing is downloaded for it; what is measured without it is measured."""
    submit(root, "a")
    empty = tmp_path / "empty"
    empty.mkdir()

    def once(*tasks: str) -> Attempt:
        asked = make_request(
            Options(tasks=tasks, data=empty, cache_dir=tmp_path / "cache", device="cpu")
        )
        made = Refresh(root=root, request=asked, evaluate=worker, say=lambda line: None)
        ((_, attempt),) = made.run()
        return attempt

    attempt = once("lareqa")
    assert attempt.status == "pending"
    assert attempt.reason.startswith("no data for lareqa (lareqa: ")
    assert str(tmp_path) not in attempt.model_dump_json()  # the board shows it to everybody
    assert hub.requests == []
    attempt = once("lareqa", "demo_bitext")
    assert attempt.status == "measured"
    assert list(attempt.missing) == ["lareqa"]
    assert str(tmp_path) not in attempt.model_dump_json()
    assert str(attempt).endswith("lareqa (no data)")
    hub.requests.clear()
    assert once("lareqa", "demo_bitext") == attempt
    assert hub.requests == []


def test_unknown_slug_and_rows_of_submissions_that_are_gone(
    hub: Hub, root: Path, worker: Worker
) -> None:
    submit(root, "pickle", "a")
    refresh(root, worker, chosen=["pickle"])
    assert worker.calls == []
    with pytest.raises(NotFoundError, match=r"no submissions/none\.yaml"):
        refresh(root, worker, chosen=["none"])
    (root / "submissions" / "pickle.yaml").unlink()
    refresh(root, worker)
    assert list(read_attempts(root)) == ["a"]
    assert read_submissions(root / "submissions")["a"].revision is not None


def test_why_a_submission_cannot_be_read_is_said(root: Path, tmp_path: Path) -> None:
    (root / "submissions" / "bad.yaml").write_text("modl: x\n")
    why = "submissions/bad.yaml:1: unknown key modl: did you mean model?"
    words = ["refresh", "--suite", "demo", "--root", str(root), "--cache-dir", str(tmp_path / "c")]
    ran = CliRunner().invoke(app, [*words, "bad"])
    assert ran.exit_code == 6
    assert ran.stderr.startswith(f"error: {why}")
    assert ran.stderr.count("\n") == 1
    ran = CliRunner().invoke(app, [*words, "--dry-run"])
    assert (ran.exit_code, ran.stdout.count("\n")) == (0, 1)
    assert ran.stdout.startswith(f"bad: failed: {why}")


def test_jobs_are_printed_and_sent_once(
    hub: Hub, root: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(root, "a", "pickle")
    made, _ = refresh(root, worker, parameters=1000)
    asked, last = hand_over_pending(made, "NAMESPACE", send=False)
    assert json.loads(asked)["namespace"] == "NAMESPACE"
    assert "nothing was sent" in last
    assert hub.jobs == []

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    printed, said = hand_over_pending(made, "tester", send=True)
    (job,) = hub.jobs
    wanted = json.loads(printed)
    assert job["namespace"] == wanted["namespace"] == "tester"
    assert job["command"] == wanted["command"]
    assert job["volumes"] == wanted["volumes"]
    assert (job["flavor"], job["timeoutSeconds"]) == ("t4-small", 12 * 3600)
    assert "secrets" not in job
    assert said == f"a: handed to Hugging Face Jobs: {hub.url}/jobs/tester/job1"
    assert TOKEN not in json.dumps(job)
    (again,) = hand_over_pending(made, "tester", send=True)
    assert "handed over already" in again
    assert len(hub.jobs) == 1
    assert states(root, worker)["a"] == "pending"
    assert made.unsent == {}


def test_a_hand_over_that_fails_is_said_and_stops_no_other(
    hub: Hub, root: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(root, "a", "b")
    made, _ = refresh(root, worker, parameters=1000)

    def turned_down(wanted: dict[str, Any]) -> str:
        if "xharness-a" in wanted["name"]:
            raise NotFoundError("no credit is left")
        return "https://hub/jobs/1"

    monkeypatch.setattr("harness.refresh.rebuild.hand_over", turned_down)
    lines = list(hand_over_pending(made, "tester", send=True))
    assert "a: not handed over: no credit is left" in lines
    assert lines[-1] == "b: handed to Hugging Face Jobs: https://hub/jobs/1"
    kept = read_attempts(root)
    assert (kept["a"].job, kept["b"].job) == (None, "https://hub/jobs/1")
    with pytest.raises(IncompleteError, match=r"not handed over: a \(no credit is left\)"):
        check_failures(made)


def test_a_job_without_results_has_failed_after_its_time(
    hub: Hub, root: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(root, "a")
    made, _ = refresh(root, worker, parameters=1000)
    monkeypatch.setattr("harness.refresh.rebuild.hand_over", lambda wanted: "https://hub/jobs/1")
    list(hand_over_pending(made, "tester", send=True))
    sent = read_attempts(root)
    assert refresh(root, worker, parameters=1000)[1]["a"].status == "pending"
    past = datetime.now(UTC) - timedelta(hours=13)
    old = sent["a"].model_copy(update={"since": past.strftime("%Y-%m-%dT%H:%M:%SZ")})
    write_attempts(root, {"a": old})
    for _ in range(2):  # it stays, and is not handed over again by itself
        made, done = refresh(root, worker, parameters=1000)
        assert done["a"].status == "failed"
        assert done["a"].reason == "no results within 12 hours of its job: https://hub/jobs/1"
        assert list(hand_over_pending(made, "tester", send=True)) == []
    made, _ = refresh(root, worker, parameters=1000, chosen=["a"])
    assert len(list(hand_over_pending(made, "tester", send=True))) == 2


def test_only_what_does_not_fit_is_handed_over(
    hub: Hub, root: Path, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is measured but for missing data stays so when time is up, and costs no job."""
    submit(root, "a", "b")
    empty = tmp_path / "empty"
    empty.mkdir()
    asked = make_request(
        Options(
            tasks=["lareqa", "demo_bitext"], data=empty, cache_dir=tmp_path / "cache", device="cpu"
        )
    )

    def made(**limits: Any) -> Refresh:
        bounds = Limits(memory=None, **limits)
        return Refresh(root, asked, bounds, evaluate=worker, say=lambda line: None)

    list(made().run())
    before = read_attempts(root)
    assert {one.status for one in before.values()} == {"measured"}
    for limits in ({"minutes": 0}, {"minutes": 0, "parameters": 1000}):
        again = made(**limits)
        assert [attempt.status for _, attempt in again.run()] == ["measured"] * 2
        assert read_attempts(root) == before
        assert list(hand_over_pending(again, "tester", send=True)) == []

    submit(root, "c", model="org/a", more="protocol: native\n")
    (root / "submissions" / "a.yaml").unlink()
    again = made(parameters=1000)
    list(again.run())
    assert read_attempts(root)["c"].status == "pending"
    (printed, _) = hand_over_pending(again, "tester", send=False)
    assert "lareqa" not in json.loads(printed)["command"]
    late = made(minutes=0)  # here it would fit: it waits for its turn
    list(late.run())
    assert len(list(hand_over_pending(late, "tester", send=False))) == 1


def test_jobs_need_a_login_before_anything_is_evaluated(
    hub: Hub, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(root, "a")
    words = ["refresh", "--suite", "demo", "--root", str(root), "--yes"]
    alone = CliRunner().invoke(app, words)
    assert (alone.exit_code, "give both" in alone.output) == (2, True)
    assert CliRunner().invoke(app, [*words, "--jobs"]).exit_code == 3
    assert hub.requests == []
    assert not (root / "leaderboard").exists()


def test_the_board_with_attempts_is_the_same_bytes_every_time(
    hub: Hub, root: Path, worker: Worker
) -> None:
    submit(root, "a", "pickle")
    refresh(root, worker)
    leaderboard(root)
    leaderboard(root, check=True)
    since = read_attempts(root)["pickle"].since
    refresh(root, worker)  # it fails again, and is said to fail since the first time
    leaderboard(root, check=True)
    assert since[:10] in (root / "leaderboard" / "pending.md").read_text()
