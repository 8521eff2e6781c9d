"""Commands that are killed at seeded moments, a full disk, and two writers at once.

A moment is an event, not a time: the n-th time that a command opens a file to write, renames or
removes one, makes a folder, or talks to the Hub. Afterwards the same command is run again, and what
it leaves must be what an undisturbed one leaves: rows, weights, pages, pull requests.

`python -m tests.chaos [KILLS [COMMAND]...]` tries so many kills of every command, a third as many
full disks, and two writers; the tests try one of each.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.cards.catalogue import read_card
from harness.cli import main
from harness.results import checks
from harness.results.outcomes import find
from tests.checkpoints import build
from tests.hub.inprocess import point
from tests.hub.server import Hub
from tests.hub.writing import TOKEN
from tests.metadata import metadata
from tests.mini_xtreme import run_task
from tests.publishing.conftest import DATA_SET, MODEL, lay
from tests.training.cards import CARD, source
from tests.training.laying import sentences

SEED = "2026"
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}
FULL = OSError(28, "No space left on device")
Found = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A command. ``words`` for a folder; ``found``: what it leaves there, as plain values."""

    name: str
    words: Callable[[Path], list[object]]
    found: Callable[[Path], Found]
    fresh: Callable[[Path], None]


class Moment:
    """Counts the events of this process under a folder; at the ``at``-th one, ``then`` is done."""

    def __init__(self, folder: Path, at: int, then: Callable[[], None]) -> None:
        self.folder, self.left, self.count, self.then = str(folder), at, 0, then

    def __call__(self, event: str, words: tuple[Any, ...]) -> None:
        """An audit hook: called before each event; what it raises the event raises."""
        if event == "open":
            mode, flags = words[1] or "", words[2] or 0
            if not (set(mode) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR)):
                return
        elif event not in WRITES:
            return
        if isinstance(words[0], (str, bytes, Path)) and self.folder in os.fsdecode(words[0]):
            self.happened()

    def happened(self) -> None:
        """One event."""
        self.count += 1
        self.left -= 1
        if self.left <= 0:
            self.then()


def die() -> None:
    """As the machine's kernel ends a process: nothing of it is run any more."""
    os.kill(os.getpid(), signal.SIGKILL)


def full() -> None:
    """A disk without room."""
    raise FULL


def start(case: Case, folder: Path, at: int = sys.maxsize, then: Any = die) -> int:
    """Run a command in a fork of this process, which has torch imported; returns its id."""
    if child := os.fork():
        return child
    code = 70
    try:
        out = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.argv = ["xharness", *(str(word) for word in case.words(folder))]
        moment = Moment(folder, at, then)
        with _requests(moment):
            sys.addaudithook(moment)
            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
        moment.left = sys.maxsize
        folder.with_suffix(".events").write_text(str(moment.count))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def ended(child: int) -> int:
    """The exit code of a fork, minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def _requests(moment: Moment) -> Iterator[None]:
    """Before and after every request to the Hub is an event too."""
    from huggingface_hub.utils import get_session

    client: Any = type(get_session())
    send = client.send

    def counted(self: Any, *words: Any, **options: Any) -> Any:
        moment.happened()
        answer = send(self, *words, **options)
        moment.happened()
        return answer

    client.send = counted
    yield


def rows(folder: Path) -> Found:
    """Every outcome file: its rows and its metadata, without times."""
    found: dict[str, Any] = {}
    for file in find(folder / "results"):
        meta = {key: value for key, value in file.meta().items() if key != "timing"}
        found[file.path.name] = (meta, pq.read_table(file.path).to_pylist())
    return found


def files(*patterns: str) -> Callable[[Path], Found]:
    """The bytes of the files of some patterns; what a killed run left under no name is none."""

    def found(folder: Path) -> Found:
        paths = [path for one in patterns for path in folder.glob(one) if path.is_file()]
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(paths)
            if not path.name.startswith(".") and ".lock" not in path.name
        }

    return found


def disturbed(case: Case, folder: Path, at: int, then: Any = die) -> bool:
    """Disturb a command at a moment and run it again.

    False where the command ended before the moment came: threads and caches decide some events.

    Raises:
        AssertionError: it ended in a traceback, or the second run failed.
    """
    case.fresh(folder)
    code = ended(start(case, folder, at, then))
    said = folder.with_suffix(".log").read_text()
    assert "Traceback" not in said, f"{case.name} at {at}: {said}"
    if code != -signal.SIGKILL and events(folder) < at:
        assert code == 0, f"{case.name} before {at}: code {code}, {said[-300:]}"
        return False
    expected = (-signal.SIGKILL,) if then is die else (0, 5)
    assert code in expected, f"{case.name} at {at}: code {code}, {said[-300:]}"
    code = ended(start(case, folder))
    said = folder.with_suffix(".log").read_text()
    assert code == 0, f"{case.name} again after {at}: code {code}, {said[-300:]}"
    return True


def events(folder: Path) -> int:
    """How many events the last command had that was not killed."""
    return int(folder.with_suffix(".events").read_text())


def undisturbed(case: Case, folder: Path) -> tuple[Found, int]:
    """What a command leaves, and how many events there were."""
    case.fresh(folder)
    code = ended(start(case, folder))
    assert code == 0, folder.with_suffix(".log").read_text()
    return case.found(folder), events(folder)


def together(case: Case, folder: Path) -> None:
    """Two of a command at once in one folder; both are done."""
    case.fresh(folder)
    children = [start(case, folder) for _ in range(2)]
    codes = [ended(child) for child in children]
    assert codes == [0, 0], folder.with_suffix(".log").read_text()


@contextmanager
def cases(home: Path) -> Iterator[tuple[Case, ...]]:
    """The commands, with what they need under ``home``."""
    tiny = build("xlm-roberta", home / "tiny")
    text = home / "text"
    for lang in ("en", "de"):
        (text / "par").mkdir(parents=True, exist_ok=True)
        (text / "par" / f"{lang}.txt").write_text("\n".join(sentences(lang)) + "\n")
    import yaml

    change = {
        "kind": "dual_encoder", "objective": "contrastive", "labels": [], "symmetric": True,
        "languages": ["en", "de"], "deal": {"items": "en", "partners": True},
        "source": source("parallel_lines", "par/{code}.txt"),
    }  # fmt: skip
    (text / "own.yaml").write_text(yaml.safe_dump(CARD | change))
    card = read_card("demo_qa")
    changes = {"revision": f"0123456789ab{'0' * 28}", "route": "package"}
    own = metadata(card, card.languages, model="org/model", **changes)["signature"]
    run_task(card, None, None, home / "board/leaderboard/results", signature=own, **changes)
    (home / "board/submissions").mkdir()
    submission = f"model: org/model\nrevision: {changes['revision']}\nobjective: none\n"
    (home / "board/submissions/org__model.yaml").write_text(submission)

    def nothing(folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()

    def board(folder: Path) -> None:
        nothing(folder)
        shutil.copytree(home / "board", folder, dirs_exist_ok=True)

    hubs: list[Hub] = []

    def published(folder: Path) -> Found:
        hub = hubs[-1]
        found: dict[str, Any] = {f"{kind} {name}": hub.files(name, kind)
                                 for kind, name in hub.repositories}  # fmt: skip
        for (kind, name), pulls in hub.pulls.items():
            for pull in pulls:
                branch = hub.files(name, kind, f"refs/pr/{pull.num}")
                found[f"{kind} {name} {pull.num}"] = (pull.title, pull.status, branch)
        return found

    with pytest.MonkeyPatch.context() as patch:

        def empty_hub(folder: Path) -> None:
            nothing(folder)
            shutil.copytree(home / "published", folder, dirs_exist_ok=True)
            hubs.append(Hub().__enter__())
            hubs[-1].add(MODEL, {"README.md": b"---\nlicense: mit\n---\n"})
            point(patch, hubs[-1], folder / "home", TOKEN)

        # The rows that are published are by hand, and no run's.
        patch.setattr(checks, "_refuse", lambda wrong: None)
        if not (child := os.fork()):  # so that this process stays without threads
            lay(home / "published")
            os._exit(0)
        assert ended(child) == 0
        patch.setenv("XHARNESS_DATA", "")
        patch.setenv("OMP_NUM_THREADS", "1")
        try:
            yield (
                Case(
                    "eval",
                    lambda folder: [
                        "eval", tiny, "--task", "demo_bitext", "--lang", "de", "--lang", "zh",
                        "--task", "demo_mining", "--out", folder / "results", "--cache-dir",
                        folder / "cache", "--offline", "--device", "cpu", "-q",
                    ],
                    rows, nothing,
                ),
                Case(
                    "train",
                    lambda folder: [
                        "train", tiny, "-i", text / "own.yaml", "--out", folder / "made", "--data",
                        text, "--cache-dir", folder / "cache", "--offline", "--device", "cpu",
                        "--epochs", 4, "-q",
                    ],
                    files("made/*.safetensors", "made/loss.*", "made/tokenizer*"), nothing,
                ),
                Case(
                    "leaderboard",
                    lambda folder: [
                        "leaderboard", "--root", folder, "--cache-dir", folder / "cache"
                    ],
                    files("leaderboard/**/*"), board,
                ),
                Case(
                    "publish",
                    lambda folder: [
                        "publish", MODEL, "--part", "results", "--to", DATA_SET,
                        "--yes", "--root", folder, "--cache-dir", folder / "cache",
                    ],
                    published, empty_hub,
                ),
            )  # fmt: skip
        finally:
            for hub in hubs:
                with suppress(OSError):
                    hub.__exit__(None, None, None)


def run(kills: int, disks: int, writers: int, names: Sequence[str]) -> Iterator[str]:
    """A line for each command (``names``: these alone); raises at the first loss."""
    with TemporaryDirectory() as home, cases(Path(home)) as commands:
        folder = Path(home) / "work"
        for case in (one for one in commands if not names or one.name in names):
            rng = random.Random(f"{SEED} {case.name}")
            whole, most = undisturbed(case, folder)
            assert whole, f"{case.name} leaves nothing"
            for then, times in ((die, kills), (full, disks)):
                for number in range(1, times + 1):
                    at = rng.randint(1, most)
                    while not disturbed(case, folder, at, then):  # it counts when it was disturbed
                        at = rng.randint(1, at - 1)
                    assert case.found(folder) == whole, f"{case.name}, {then.__name__} at {at}"
                    done = f"{case.name}: {then.__name__} {number} of {times}, at {at} of {most}"
                    print(done, file=sys.stderr, flush=True)
            pairs = writers if case.name in ("eval", "leaderboard") else 0
            for _ in range(pairs):
                together(case, folder)
                assert case.found(folder) == whole, f"two of {case.name}"
            tried = f"{kills} kills, {disks} full disks at {most} moments"
            yield f"{case.name}: {tried}, {pairs} pairs of writers: equal"


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    for line in run(asked, max(1, asked // 3), max(1, asked // 8), sys.argv[2:]):
        print(line, flush=True)
