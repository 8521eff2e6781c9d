"""The worker: no secrets in its reach, ended in time with all that it started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from harness.refresh import worker
from harness.refresh.worker import Ended, evaluate, read_notes, shield
from tests.hub.server import Hub

SECRETS = (
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "AWS_SECRET_ACCESS_KEY",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_RUNTIME_TOKEN", "HF_OIDC_RESOURCE", "NETRC",
    "SOMETHING_ELSE",
)  # fmt: skip


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that takes the place of the worker's: what a test writes into it is run."""
    monkeypatch.setattr(worker, "INSIDE", "fake_worker")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "fake_worker.py"


def run(fake: Path, code: str, seconds: float | None = 60) -> tuple[Ended, list[str]]:
    fake.write_text(code)
    said: list[str] = []
    cache = fake.parent / "cache"
    ended = evaluate(
        ["org/x"], cache=cache, hub_cache=cache / "hub", seconds=seconds, echo=said.append
    )
    return ended, said


def test_no_token_is_in_its_reach(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = fake.parent / "home"
    (home / ".cache" / "huggingface").mkdir(parents=True)
    (home / ".cache" / "huggingface" / "token").write_text("secret")
    monkeypatch.setenv("HOME", str(home))
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")
    ended, said = run(
        fake,
        "import json, os, sys\n"
        "from huggingface_hub import constants, get_token\n"
        "seen = dict(os.environ) | {'token': get_token(), 'offline': constants.HF_HUB_OFFLINE,\n"
        "    'implicit': constants.HF_HUB_DISABLE_IMPLICIT_TOKEN, 'words': sys.argv[1:],\n"
        "    'home': os.listdir(os.path.expanduser('~'))}\n"
        "print(json.dumps(seen), file=sys.stderr)\n",
    )
    assert ended == Ended(0, "", {})
    seen = json.loads(said[-1])
    assert "secret" not in seen.values()
    assert not set(SECRETS) & set(seen)
    assert (seen["token"], seen["offline"], seen["implicit"]) == (None, True, True)
    assert seen["home"] == []
    assert seen["words"] == ["eval", "org/x", "--offline", "--format", "json"]


@pytest.mark.skipif(sys.platform != "linux", reason="closes /proc")
def test_the_environment_of_its_parent_is_closed() -> None:
    """Another process of the same user, without root's rights, cannot read what is in it."""
    code = (
        "import os, subprocess, sys\n"
        "from harness.refresh.worker import shield\n"
        "look = f'open(\"/proc/{os.getpid()}/environ\").read()'\n"
        "for act in (lambda: None, shield):\n"
        "    act()\n"
        "    seen = subprocess.run([sys.executable, '-c', look], capture_output=True, text=True)\n"
        "    print(seen.returncode, 'PermissionError' in seen.stderr)\n"
    )
    without_rights: list[str] = []
    if os.getuid() == 0:  # root may read everything: not so without its capabilities
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("needs setpriv, or a user that is not root")
        without_rights = [setpriv, "--bounding-set=-all", "--inh-caps=-all"]
    done = subprocess.run(
        [*without_rights, sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0 False\n1 True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="has network namespaces")
def test_it_has_no_network() -> None:
    """Not even what runs on this machine can be reached, whatever HF_HUB_OFFLINE says."""
    code = (
        "import socket, sys\n"
        "from harness import cli\n"
        "from harness import worker_main\n"
        "from harness.submissions.sandbox import leave_network\n"
        "def reach():\n"
        "    try:\n        socket.create_connection(('127.0.0.1', int(sys.argv[1])), 2)\n"
        "        print('reached')\n"
        "    except OSError:\n        print('cut off')\n"
        "reach()\n"
        "cli.main = reach\n"
        "worker_main.run()\n"
        "print(bool(leave_network()))\n"
    )
    with Hub() as hub:
        port = hub.url.rsplit(":", 1)[1]
        done = subprocess.run(
            [sys.executable, "-c", code, port], capture_output=True, text=True, check=True
        )
    if done.stdout.endswith("False\n"):
        pytest.skip("this system allows no network namespaces")
    assert done.stdout == "reached\ncut off\nTrue\n"


def test_it_is_stopped_in_time_with_all_that_it_started(
    fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Reading waits until the process writes, however slowly it starts: its time is over only then.
    started = fake.parent / "started"
    os.mkfifo(started)
    late: list[psutil.Process] = []
    wait = subprocess.Popen.wait

    def out_of_time(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout != 1:
            return wait(self, timeout)
        late.append(psutil.Process(int(started.read_text())))
        raise subprocess.TimeoutExpired(self.args, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", out_of_time)
    ended, _ = run(
        fake,
        "import signal, subprocess, sys\n"
        "waits = 'import signal; signal.pause()'\n"
        "late = subprocess.Popen([sys.executable, '-c', waits])\n"
        f"open({str(started)!r}, 'w').write(str(late.pid))\n"
        "signal.pause()\n",
        seconds=1,
    )
    assert ended.stopped
    assert ended.exit_code == -15
    (started_late,) = late
    with suppress(psutil.NoSuchProcess):  # it ends, or this test never does
        assert started_late.status() == psutil.STATUS_ZOMBIE or started_late.wait() is None


@pytest.mark.parametrize(
    ("code", "exit_code", "reason"),
    [
        ("import sys; print('error: it is  so', file=sys.stderr); sys.exit(4)", 4, "it is so"),
        ("raise ValueError('odd')", 1, "the evaluation failed with exit code 1: ValueError: odd"),
        ("import os; os.kill(os.getpid(), 9)", -9,
         "the evaluation was ended by SIGKILL, most likely for memory"),
        ("import sys; sys.exit(5)", 5, "the evaluation failed with exit code 5: no reason"),
    ],
)  # fmt: skip
def test_why_it_ended(fake: Path, code: str, exit_code: int, reason: str) -> None:
    ended, _ = run(fake, code)
    assert (ended.exit_code, ended.reason, ended.stopped) == (exit_code, reason, False)


def test_its_text_cannot_command_a_terminal(fake: Path) -> None:
    _, said = run(fake, "import sys; print('\\x1b[2Jerror: \\u202ex', file=sys.stderr)")
    assert said == ["[2Jerror: x"]


def test_notes_are_the_rows_without_a_score() -> None:
    rows = [
        {"task": "a", "value": 1.0, "note": ""},
        {"task": "b", "value": None, "note": "no QA head"},
    ]
    assert read_notes(json.dumps(rows).encode()) == {"b": "no QA head"}
    for broken in (b"", b"{", b"[1]", b"null", b'[{"value": null}]', b"\xff"):
        assert read_notes(broken) == {}


def test_shielding_can_be_done_twice() -> None:
    code = (
        "from harness.refresh.worker import shield; shield(); shield(); import subprocess;"
        " subprocess.run(['true'], check=True); print('still there')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "still there\n"
    assert callable(shield)


def test_of_two_evaluations_the_first_failure_counts() -> None:
    whole, full = Ended(0, "", {"a": "x"}), Ended(5, "the disk is full", {"b": "y"})
    slow = Ended(-15, "it was ended", {"b": "z"}, stopped=True)
    assert whole.then(full) == Ended(5, "the disk is full", {"a": "x", "b": "y"})
    assert full.then(whole) == Ended(5, "the disk is full", {"a": "x", "b": "y"})
    assert full.then(slow) == Ended(5, "the disk is full", {"b": "z"}, stopped=True)
