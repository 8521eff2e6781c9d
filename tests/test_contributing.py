"""CONTRIBUTING.md is followed, command by command, as somebody new would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.cards.catalogue import read_cards
from tests.board.boards import BASE, ENGLISH, bitext, measure, submit
from tests.checkpoints import build
from tests.hub.server import Hub
from tests.mini_xtreme import lay_data
from tests.workflows.reading import GIT, ROOT, git, published

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    match = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, flags=re.S | re.M)
    assert match, f"no section {title!r}"
    return match[1]


def blocks(title: str, language: str = "sh") -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", section(title), flags=re.S | re.M)
    assert found, f"{title!r} has no {language}"
    return found


class Newcomer:
    """A clone with `xharness` and `make` on PATH; ``make`` only checks that its target exists."""

    def __init__(self, where: Path, checkout: Path, hub: Hub) -> None:
        self.origin, self.clone = published(where, checkout)
        self.data = where / "data"
        lay_data(self.data)  # invented, so that it has other checksums than the official files
        (self.clone / "tasks" / "target" / "SHA256SUMS").write_text("")
        bin = where / "bin"
        bin.mkdir()
        make = shutil.which("make")
        for name, text in {
            "xharness": f'exec "{sys.executable}" -m harness "$@"',
            "make": f'"{make}" --dry-run "$@" >/dev/null && echo make "$@"',
        }.items():
            (bin / name).write_text(f"#!/bin/sh\n{text}\n")
            (bin / name).chmod(0o755)
        self.environment = (
            os.environ | GIT | hub.environment(where / "home")
            | {"PATH": f"{bin}:{os.environ['PATH']}", "XHARNESS_CACHE": str(where / "cache"),
               "XHARNESS_DATA": str(self.data), "OMP_NUM_THREADS": "2"}
        )  # fmt: skip
        self.environment.pop("HF_TOKEN", None)

    def follow(self, block: str) -> str:
        """Run a block as it is printed, DIR being the folder with data; its output."""
        script = block.replace("--data DIR", f"--data {self.data}")
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", script],
            cwd=self.clone, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def newcomer(tmp_path: Path, checkout: Path, hub: Hub) -> Newcomer:
    return Newcomer(tmp_path, checkout, hub)


def test_a_checkpoint_in_five_minutes(newcomer: Newcomer, hub: Hub, tmp_path: Path) -> None:
    commit = hub.add("org/model", build("bert", tmp_path / "model"))
    hub.add("org/base", build("bert", tmp_path / "base", seed=1))
    submit, refresh = blocks("Submit a checkpoint in five minutes")
    newcomer.follow(submit)
    assert git(newcomer.origin, "rev-parse", "--abbrev-ref", "submit-org-model")
    text = git(newcomer.origin, "show", "submit-org-model:submissions/org__model.yaml")
    assert f"revision: {commit}" in text
    assert "base: org/base" in text
    changed = git(newcomer.origin, "diff", "--name-only", "main", "submit-org-model")
    assert changed == "submissions/org__model.yaml"

    said = newcomer.follow(refresh)
    assert "org__model: to measure: tatoeba, lareqa" in said
    assert "org__model: measured, without " in said
    folder = newcomer.clone / "leaderboard" / "results" / "org__model" / commit[:12]
    assert list(folder.glob("tatoeba.*.parquet"))
    assert (newcomer.clone / "leaderboard" / "checkpoints" / "org__model.md").is_file()


def test_a_task(newcomer: Newcomer) -> None:
    make, check = blocks("Add a task")
    said = newcomer.follow(make)
    assert "my_pairs" in said
    assert "recall@10" in said
    (rows,) = (newcomer.clone / "leaderboard" / "results").rglob("my_pairs.*.parquet")
    assert rows.stat().st_size > 0
    checked(newcomer, check)


def test_a_task_kind(newcomer: Newcomer) -> None:
    (check,) = blocks("Add a task kind")
    checked(newcomer, check)
    text = section("Add a task kind")
    for kind in {card.kind for card in read_cards().values()}:
        assert f"`{kind}`" in text, kind
    for name, path in re.findall(r"`(\w+)`,? in `(harness/[\w/.]+)`", text):
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), (name, path)
    assert len(re.findall(r"`(\w+)`,? in `(harness/[\w/.]+)`", text)) >= 3


def test_a_metric(newcomer: Newcomer) -> None:
    """Outcomes that are there have it, in the board and compared: no kept fold is used again."""
    clone = newcomer.clone
    shutil.rmtree(clone / "submissions", ignore_errors=True)
    for model in (BASE, ENGLISH):
        measure(clone, model, bitext(model))
        submit(clone, model)
    newcomer.follow("xharness leaderboard")
    function, entry = blocks("Add a metric", "python")
    commands, check = blocks("Add a metric")
    card = clone / "tasks" / "target" / "demo_bitext.yaml"
    card.write_text(card.read_text().replace("metrics: [", "metrics: [all@10, "))
    with pytest.raises(AssertionError, match=r"demo_bitext.yaml:6: metrics.0: all@10 is not a met"):
        newcomer.follow("xharness tasks demo_bitext")
    with (clone / "harness" / "metrics" / "ranking.py").open("a") as ranking:
        ranking.write(f"\n\n{function}")
    table = clone / "harness" / "metrics" / "by_kind.py"
    start = "RANKS: Mapping[str, Metric] = {\n"
    assert start in table.read_text()
    table.write_text(table.read_text().replace(start, start + entry))

    said = newcomer.follow(commands.replace(" A B ", f" {ENGLISH} {BASE} "))
    scores = pq.read_table(clone / "leaderboard" / "scores.parquet").to_pylist()
    found = {
        (row["model"], row["lang"], row["direction"]): row["value"]
        for row in scores
        if row["metric"] == "all@10"
    }
    assert found[ENGLISH, "de", "en-de"] == found[ENGLISH, "de", "de-en"] == 1
    assert found[BASE, "de", "en-de"] == found[ENGLISH, "sw", "en-sw"] == 0
    assert found[ENGLISH, "macro", "en-xx"] == 0.5
    assert "all@10" in said
    assert "+50.00" in said
    checked(newcomer, check)


def checked(newcomer: Newcomer, block: str) -> None:
    """A call of the tests: the target exists, and so does all that it names."""
    assert newcomer.follow(block).startswith("make test")
    (named,) = re.findall(r'ARGS="(.*)"', block)
    for path in named.split():
        assert (ROOT / path).exists(), path


def test_files_and_scripts_that_are_named_are_there() -> None:
    named = re.findall(r"`((?:harness|tasks|tests|submissions|\.ci)/[\w./]*)`", TEXT)
    assert len(named) > 8
    missing = [path for path in named if not (ROOT / path).exists() and path != "harness/x.py"]
    assert missing == []
    for workflow in re.findall(r"`(\w+\.yml)`", section("The workflows")):
        assert (ROOT / ".github" / "workflows" / workflow).exists(), workflow
