"""The public functions of the package, under both of its names."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path

import pytest
import yaml

import harness
import xharness

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = [
    "align", "compare", "contrast", "evaluate", "leaderboard", "plan", "scores", "train", "verify",
]  # fmt: skip


def test_what_the_package_shows() -> None:
    assert dir(harness) == ["__version__", *FUNCTIONS]
    assert dir(xharness) == dir(harness)
    assert xharness.__version__ == harness.__version__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_signature_and_a_docstring(name: str) -> None:
    function = getattr(harness, name)
    assert getattr(xharness, name) is function
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    assert not [one.name for one in parameters if one.kind in kinds]
    assert all(one.annotation is not inspect.Parameter.empty for one in parameters)
    assert "Raises:" in inspect.getdoc(function)


def test_an_unknown_name_is_an_attribute_error() -> None:
    for module in (harness, xharness):
        with pytest.raises(AttributeError, match="no attribute 'evalute'"):
            module.evalute  # noqa: B018


def test_types_and_the_second_name_are_in_the_wheel() -> None:
    assert (ROOT / "harness/py.typed").read_text() == ""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert wheel["targets"]["wheel"]["packages"] == ["harness", "xharness.py"]
    assert "xharness.py" in wheel["targets"]["sdist"]["include"]


def test_the_citation_and_the_hooks_are_of_this_project() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (harness.__version__, "Apache-2.0")
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook["id"] for repo in config["repos"] for hook in repo["hooks"]]
    assert hooks == ["ruff-check", "ruff-format", "mypy", "submissions"]
