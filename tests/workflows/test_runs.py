"""Every `run:` of every workflow, executed in order in a throw-away clone.

`make` is a stand-in that checks each target against the real Makefile and notes it; its `install`
puts a stand-in `xharness` where the real one would be. Actions are played by hand: a checkout is
the clone, an artifact is a folder. Scripts and git are real.
"""

from __future__ import annotations

import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.cards.catalogue import read_card
from tests.metadata import metadata
from tests.mini_xtreme import run_task
from tests.workflows.reading import ROOT, Step, bash, git, published, steps

MAKE = """#!/usr/bin/env bash
set -eu
"{make}" --dry-run "$@" >/dev/null
echo "$@" >>"{log}"
case " $* " in *" install "*|*" install-validate "*|*" install-validate-rows "*)
    mkdir -p .venv/bin
    printf '#!/bin/sh\\nexec "{python}" "$@"\\n' >.venv/bin/python
    chmod +x .venv/bin/python
    cp "{xharness}" .venv/bin/xharness
esac
"""
XHARNESS = """#!/usr/bin/env bash
[ "$1" = refresh ] || exit 0
echo "xharness $@" >>"{log}"
mkdir -p leaderboard/results/org__a
echo "$#" >>leaderboard/results/org__a/rows.parquet
echo board >leaderboard/README.md
exit 5
"""


# The jobs with commands that are played below: a new one has to be played too.
PLAYED = {
    ("ci.yml", "check"), ("ci.yml", "test"), ("ci.yml", "slow"),
    ("refresh.yml", "evaluate"), ("refresh.yml", "hand-over"), ("refresh.yml", "commit"),
    ("pages.yml", "build"), ("release.yml", "build"), ("validate.yml", "validate"),
}  # fmt: skip


class Runner:
    """One job's machine: a clone, and a PATH with the stand-ins first."""

    def __init__(self, where: Path, checkout: Path) -> None:
        self.where = where
        self.origin, self.work = published(where, checkout)
        self.log = where / "log"
        self.log.touch()
        bin = where / "bin"
        bin.mkdir()
        real = shutil.which("make")
        assert real, "make is needed to develop this"
        (bin / "fake-xharness").write_text(XHARNESS.format(log=self.log))
        (bin / "fake-xharness").chmod(0o755)
        (bin / "make").write_text(
            MAKE.format(make=real, log=self.log, python=sys.executable,
                        xharness=bin / "fake-xharness")
        )  # fmt: skip
        (bin / "make").chmod(0o755)
        self.bin = bin

    def run(self, workflow: str, job: str, **environment: str) -> list[str]:
        """Execute the `run:` steps of a job in order; their output."""
        assert (workflow, job) in PLAYED
        said = []
        for step in steps():
            if (step.workflow, step.job) == (workflow, job) and "run" in step.content:
                said.append(self.execute(step, environment))
        assert said, f"{workflow} has no job {job} with commands"
        return said

    def execute(self, step: Step, environment: dict[str, str]) -> str:
        """One step; its variables are those of its `env:` that are plain, and those given."""
        named = step.content.get("env", {})
        assert set(named) <= {*environment, "HF_TOKEN"}, "a variable that the test does not give"
        path = f"{self.bin}:/usr/bin:/bin:{Path(sys.executable).parent}"
        done = bash(self.work, step.content["run"], **{**environment, "PATH": path, "PAUSE": "0"})
        assert done.returncode == 0, f"{step}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def calls(self) -> list[str]:
        """What the stand-ins were asked for."""
        return self.log.read_text().splitlines()


@pytest.fixture
def runner(tmp_path: Path, checkout: Path) -> Runner:
    return Runner(tmp_path, checkout)


@pytest.mark.parametrize("job", ["check", "test", "slow"])
def test_ci(runner: Runner, job: str) -> None:
    runner.run("ci.yml", job, XHARNESS_CHROMIUM="required")
    wanted = {
        "check": ["install", "lint", "types", "wheel-check", "board-check"],
        "test": ["install", "test"],
        "slow": ["install", "test-slow"],
    }
    assert runner.calls == wanted[job]


def test_refresh_from_evaluation_to_push(runner: Runner, tmp_path: Path) -> None:
    runner.run("refresh.yml", "evaluate")
    asked = [line for line in runner.calls if line.startswith("xharness")]
    assert asked == ["xharness refresh --max-parameters 700000000 --max-minutes 300"]
    artifact = runner.work / "changes"
    assert (artifact / "changes.patch").stat().st_size > 0

    second = runner.where / "second"
    git(runner.where, "clone", "--quiet", str(runner.origin), str(second))
    shutil.copytree(artifact, second / "changes")
    runner.work = second
    runner.run("refresh.yml", "hand-over", HF_TOKEN="t")
    assert (
        runner.calls[-1]
        == "xharness refresh --max-parameters 700000000 --max-minutes 0 --jobs --yes"
    )

    third = runner.where / "third"
    git(runner.where, "clone", "--quiet", str(runner.origin), str(third))
    shutil.copytree(second / "changes", third / "changes")
    runner.work = third
    output = tmp_path / "output"
    said = runner.run(
        "refresh.yml", "commit", BRANCH="main", PUSH_TOKEN="t", GITHUB_OUTPUT=str(output)
    )
    assert said[-1].startswith("pushed: ")
    assert output.read_text() == "changed=true\n"
    assert git(runner.origin, "show", "main:leaderboard/README.md") == "board"
    assert git(runner.origin, "rev-list", "--count", "main") == "2"
    rows = git(runner.origin, "show", "main:leaderboard/results/org__a/rows.parquet")
    assert rows.splitlines() == ["5", "7"]  # of the evaluation and of the handing over


def test_pages(runner: Runner) -> None:
    runner.run("pages.yml", "build", SITE_URL="https://owner.example/project/")
    assert runner.calls == ["site"]
    (upload,) = [s for s in steps() if (s.workflow, s.job) == ("pages.yml", "build")
                 and "upload" in s.content.get("uses", "")]  # fmt: skip
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert f"site_dir: {upload.content['with']['path']}\n" in config
    assert "site_url: !ENV [SITE_URL" in config


def test_release(runner: Runner) -> None:
    from harness import __version__

    changelog = runner.work / "CHANGELOG.md"
    changelog.write_text(f"# Changelog\n\n## {__version__}\n")
    address = "https://owner.example/project"
    runner.run("release.yml", "build", TAG=f"v{__version__}", REPOSITORY=address)
    assert runner.calls == ["install", "wheel-check", "test"]
    built = sorted(path.name for path in (runner.work / "dist").iterdir())
    assert built == [f"xharness-{__version__}-py3-none-any.whl", f"xharness-{__version__}.tar.gz"]
    with zipfile.ZipFile(runner.work / "dist" / built[0]) as wheel:
        metadata = wheel.read(f"xharness-{__version__}.dist-info/METADATA").decode()
    assert metadata.startswith("Metadata-Version: 2.4\n")  # newer ones are refused when uploaded
    assert f"Project-URL: Homepage, {address}\n" in metadata
    assert f"Project-URL: Changelog, {address}/blob/v{__version__}/CHANGELOG.md\n" in metadata


@pytest.mark.parametrize(
    ("tag", "section", "address", "reason"),
    [
        ("v9.9.9", "", "https://owner.example/project", "tag v"),
        ("$(touch hacked)", "", "https://owner.example/project", "tag v"),
        ("", "no", "https://owner.example/project", "has no section"),
        ("", "", "", "give the https address"),
        ("", "", 'https://owner.example/"]', "give the https address"),
    ],
)
def test_a_release_that_does_not_agree(
    runner: Runner, tag: str, section: str, address: str, reason: str
) -> None:
    from harness import __version__

    (runner.work / "CHANGELOG.md").write_text(f"# Changelog\n\n## {section or __version__}\n")
    assert bash(runner.work, f"{runner.bin}/make install").returncode == 0
    done = bash(runner.work, ".ci/release", TAG=tag or f"v{__version__}", REPOSITORY=address)
    assert done.returncode == 1
    assert reason in done.stdout
    assert not (runner.work / "hacked").exists()


def proposed(runner: Runner, **files: str) -> Path:
    """What the checkout of a pull request would be."""
    folder = runner.work / "proposed" / "submissions"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


GOOD = "model: org/a\nobjective: none\n"


def test_validate(runner: Runner) -> None:
    proposed(runner, a=GOOD, b=GOOD.replace("org/a", "org/b"))
    (said,) = runner.run("validate.yml", "validate")
    assert said.endswith("2 submissions are fine\n")
    assert runner.calls == ["install-validate"]


def validated(runner: Runner) -> Any:
    (step,) = [s for s in steps() if s.workflow == "validate.yml" and "run" in s.content]
    path = f"{runner.bin}:/usr/bin:/bin"
    return bash(runner.work, step.content["run"], PATH=path)


def test_what_is_wrong_is_said_and_fails(runner: Runner) -> None:
    proposed(runner, a=GOOD, b="modl: x\nobjective: magic\n")
    done = validated(runner)
    assert done.returncode == 1
    assert "proposed/submissions/b.yaml:1" in done.stdout
    assert all(line.startswith("proposed/") for line in done.stdout.splitlines())


def test_a_pull_request_is_read_as_data(runner: Runner) -> None:
    """Code that comes with it is not imported, whatever it is called."""
    folder = proposed(runner, a=GOOD)
    for place in (folder.parent, runner.work / "proposed" / "harness"):
        place.mkdir(exist_ok=True)
        for name in ("yaml.py", "sitecustomize.py", "harness.py", "__init__.py", "__main__.py"):
            (place / name).write_text("open('hacked', 'w')\n")
    assert validated(runner).returncode == 0
    assert not list(runner.work.rglob("hacked"))


@pytest.mark.parametrize(
    "command",
    [
        "ln -s /etc/passwd a.yaml",
        "mkdir a.yaml",
        "mkdir deep && echo x > deep/a.yaml",
        "echo x > a.py",
        "mkfifo a.yaml",
        "cd .. && mv submissions real && ln -s real submissions",
    ],
)
def test_only_plain_files_are_looked_at(runner: Runner, command: str) -> None:
    folder = proposed(runner, good=GOOD)
    assert bash(folder, command).returncode == 0
    done = validated(runner)
    assert done.returncode == 1
    assert "only files called <slug>.yaml may be there" in done.stdout
    assert runner.calls == []


def test_a_pull_request_that_removes_the_last_one(runner: Runner) -> None:
    (runner.work / "proposed").mkdir()
    assert validated(runner).returncode == 0


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the rows of one task, as a run leaves them."""
    card = read_card("demo_qa")
    out = tmp_path_factory.mktemp("measured")
    changes = {"revision": f"0123456789ab{'0' * 28}", "route": "package"}
    own = metadata(card, card.languages, model="org/model", **changes)["signature"]
    run_task(card, None, None, out, signature=own, **changes)
    return out / "org__model"


def sent(runner: Runner, measured: Path) -> Path:
    """A pull request with rows along; returns their folder."""
    proposed(runner, a=GOOD)
    folder = runner.work / "proposed" / "leaderboard" / "results" / measured.name
    shutil.copytree(measured, folder, ignore=shutil.ignore_patterns(".*"))
    return folder


def test_rows_that_are_sent_along_are_checked(runner: Runner, measured: Path) -> None:
    folder = sent(runner, measured)
    done = validated(runner)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 files of rows can be of a run" in done.stdout
    assert runner.calls == ["install-validate-rows"]
    # What this checkout has is no business of the pull request.
    board = runner.work / "leaderboard" / "results" / measured.name
    shutil.copytree(folder, board)
    (folder.parents[1] / "README.md").write_text("built anew by the next refresh")
    assert "files of rows" not in validated(runner).stdout


def test_rows_that_no_run_wrote_are_refused(runner: Runner, measured: Path) -> None:
    (path,) = sent(runner, measured).rglob("*.parquet")
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) // 2), path)
    done = validated(runner)
    assert done.returncode == 6
    assert done.stderr.count("\n") == 1
    assert path.name in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "touch README.md",
        "mkdir -p 0123456789ab/t.01234567.parts && touch 0123456789ab/t.01234567.parts/de.parquet",
        "ln -s /etc/passwd 0123456789ab/t.01234567.parquet",
        "mkfifo 0123456789ab/t.01234567.parquet",
        "touch '0123456789ab/t .01234567.parquet'",
        "touch 0123456789ab/.t.01234567.parquet",
        "ln -s /etc/passwd ../../rankings.md",
    ],
)
def test_only_files_of_rows_may_come(runner: Runner, measured: Path, command: str) -> None:
    assert bash(sent(runner, measured), command).returncode == 0
    done = validated(runner)
    assert done.returncode == 1
    assert "<task>.<signature>.parquet may come" in done.stdout
    assert runner.calls == []


@pytest.mark.parametrize("name", ["provenance.json", "attempts.json"])
@pytest.mark.parametrize("how", ["added", "changed", "removed"])
def test_what_a_refresh_says_nobody_else_may(
    runner: Runner, measured: Path, name: str, how: str
) -> None:
    theirs = sent(runner, measured).parents[1] / name
    ours = runner.work / "leaderboard" / name
    ours.parent.mkdir(exist_ok=True)
    if how != "added":
        ours.write_text("{}\n")
    if how != "removed":
        theirs.write_text('{"forged": 1}\n')
    done = validated(runner)
    assert done.returncode == 1
    assert f"{name}: a refresh alone writes it" in done.stdout


def test_validation_imports_what_is_installed_for_it(runner: Runner, measured: Path) -> None:
    """`make install-validate` installs a part of the lock: the command must need no more."""
    (rows,) = sent(runner, measured).rglob("*.parquet")
    folder = runner.work / "proposed" / "submissions"
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    installed: set[str] = set()
    for path, target in ((folder / "a.yaml", "VALIDATE :="), (rows, "VALIDATE \\+=")):
        match = re.search(f"{target} (.*)", makefile)
        assert match
        installed |= {name.lower() for name in match[1].split()}
        assert imported(runner, path) <= installed | AROUND
    dry = bash(runner.work, f"{runner.bin}/make install-validate-rows")
    assert dry.returncode == 0


def imported(runner: Runner, path: Path) -> set[str]:
    """The packages that `xharness validate` imports over a file."""
    code = (
        "import sys\n"
        "from importlib.metadata import packages_distributions\n"
        f"sys.argv = ['xharness', 'validate', {str(path)!r}]\n"
        "from harness.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "whose = packages_distributions()\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "print(*{d for name in loaded for d in whose.get(name, ())}, sep='\\n')\n"
    )
    done = bash(runner.work, f'"{sys.executable}" -c "$CODE"', CODE=code, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    return {name.lower() for name in done.stdout.split()} - {"xharness"}


# Imported by a virtual environment or by the tests' own tools, not by the command.
# Arrow looks for the last three, and does without them.
AROUND = {"setuptools", "pip", "coverage", "pytest", "pandas", "python-dateutil", "cloudpickle"}


def test_every_job_with_commands_is_played() -> None:
    assert {(s.workflow, s.job) for s in steps() if "run" in s.content} == PLAYED
    here = Path(__file__).read_text()
    for workflow, job in PLAYED - {("ci.yml", job) for job in ("check", "test", "slow")}:
        assert re.search(rf'runner\.run\(\s*"{workflow}", "{job}"', here), (workflow, job)
