"""Differences: what their tests rest on, and what is kept of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from harness.analysis import differences, fold
from harness.analysis.differences import differ, differ_each
from harness.analysis.gains import sides
from harness.analysis.gather import read_board
from harness.statistics import resampling
from tests.board.boards import BASE, hits, measure, submit

PACKAGE = Path(differences.__file__).parent.parent
# Rooms whose modules decide numbers; the others read files, show things or run models.
ROOMS = ("analysis", "kinds", "metrics", "results", "statistics")
# They read and write files as they are.
FILES = {f"results/{name}.py" for name in ("encoding", "outcomes", "predictions", "xtreme_layout")}


def imported(name: str) -> Iterator[str]:
    """The modules of the rooms that a module imports, as paths in the package."""
    for node in ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness."):
            path = str(node.module).removeprefix("harness.").replace(".", "/")
            yield f"{path}.py"
            yield from (f"{path}/{one.name}.py" for one in node.names)


def reached(name: str) -> set[str]:
    """A module and all that it imports in the rooms, directly or not."""
    found, left = set[str](), [name]
    while left:
        one = left.pop()
        room = one.split("/")[0]
        if one in found or room not in ROOMS or not (PACKAGE / one).is_file():
            continue
        found.add(one)
        left += imported(one)
    return found


def digested(module: ModuleType) -> set[str]:
    """The files that a module's digest of code reads, as paths in the package."""
    read: list[Path] = []
    with pytest.MonkeyPatch.context() as patch:
        plain = Path.read_bytes
        patch.setattr(Path, "read_bytes", lambda path: (read.append(path), plain(path))[1])
        module._code_digest.__wrapped__()
    return {path.relative_to(PACKAGE).as_posix() for path in read if PACKAGE in path.parents}


def test_what_decides_a_fold_is_in_its_digest() -> None:
    assert reached("analysis/fold.py") - FILES <= digested(fold)


def test_what_decides_a_difference_is_in_its_digest() -> None:
    """What decides the folds of its runs is in the key of each fold."""
    assert reached("analysis/differences.py") - FILES <= digested(differences) | digested(fold)


@pytest.fixture
def board(root: Path) -> Path:
    """Twenty German sentences, ten Swahili ones, three seeds."""

    def rows(found: int) -> dict[str, list[dict[str, object]]]:
        line = [1] * found + [0] * (20 - found)
        return {"de": hits("de", line), "sw": hits("sw", line[5:15])}

    submit(root, BASE)
    measure(root, BASE, rows(8))
    for seed in (1, 2, 3):
        model = f"hand/de-{seed}"
        measure(root, model, rows(8 + seed))
        submit(root, model, base=BASE, objective="extractive-qa", languages=["de", "es"],
               recipe="many", seed=seed)  # fmt: skip
    return root


def test_a_line_has_the_clusters_of_its_own_languages(board: Path) -> None:
    (one,) = [one for one in read_board(board).contrasts if one.difference is not None]
    assert one.difference is not None
    clusters = {part.name: part.estimate.clusters for part in one.difference.languages}
    assert clusters == {"de": 20, "sw": 10}
    assert one.difference.estimate.clusters == 20
    for part in one.difference.languages:
        estimate = part.estimate
        assert estimate.variance is not None
        assert estimate.df is not None
        assert estimate.se is not None
        item = estimate.variance
        seed = estimate.se**2 - item
        df = (item + seed) ** 2 / (item**2 / (clusters[part.name] - 1) + seed**2 / 2)
        assert estimate.df == pytest.approx(df)


def test_differences_are_the_same_together_and_alone(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three checkpoints less their base, over the same items: their weights are drawn once."""
    entries = {entry.model: entry for entry in read_board(board).entries}
    results = board / "leaderboard" / "results"
    every = [
        sides(entry, entries[BASE], ["demo_bitext"], lambda one: one.tasks("frozen"))
        for model, entry in entries.items()
        if model != BASE
    ]
    alone = [differ(of, results) for of in every]
    assert len({one.estimate.difference for one in alone}) == 3
    drawn: list[int] = []
    plain = resampling.cluster_weights
    monkeypatch.setattr(
        resampling, "cluster_weights", lambda *of: (drawn.append(of[0]), plain(*of))[1]
    )
    assert differ_each(every, results, tmp_path) == alone
    assert drawn == [20]
    # What is kept is not drawn again.
    assert differ_each([*every[1:], every[0]], results, tmp_path) == [*alone[1:], alone[0]]
    assert drawn == [20]


def test_seen_less_unseen_names_its_tasks(board: Path) -> None:
    (one,) = [one for one in read_board(board).contrasts if one.difference is not None]
    assert one.difference is not None
    assert (one.difference.seen, one.difference.unseen) == (("de",), ("sw",))
    assert one.difference.seen_label == "demo_bitext"
