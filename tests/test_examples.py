"""The notebooks in examples/ run, and show what they did when they were written."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.evaluation.models import DEMO_MODEL, find_checkpoint

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))


def shown(source: str, names: dict[str, Any]) -> dict[str, str]:
    """Run a cell; the value of a last expression as a notebook shows it."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if last is None:
        return {}
    assert isinstance(last, ast.Expr)
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    found = {"text/plain": repr(value)}
    return found | ({"text/html": value._repr_html_()} if hasattr(value, "_repr_html_") else {})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_shows_what_it_says(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XHARNESS_CACHE", str(tmp_path))
    names: dict[str, Any] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            found = shown("".join(cell["source"]), names)
            kept = {k: "".join(v) for one in cell["outputs"] for k, v in one["data"].items()}
            # The demo's model is made where it runs: the processor decides its last bits, and so
            # its revision, not its scores.
            revision = find_checkpoint(DEMO_MODEL, tmp_path, offline=True).revision
            assert found == {k: re.sub(r"local:\w{64}", revision, v) for k, v in kept.items()}


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS
