"""The plan of the house holds: `make house` shows what these rules are about."""

import re
from collections import Counter
from collections.abc import Callable

import pytest

from tests.house import (
    PACKAGE,
    between_rooms,
    circles,
    imports,
    lines_of_code,
    longest,
    modules,
    parameters,
    room,
    users,
)  # fmt: skip

GROUND = {"errors", "version"}
# They show or start what the others compute, and nothing below needs them.
UPSTAIRS = {
    "board", "terminal", "commands", "cli", "api", "evaluated", "harness", "publishing", "refresh",
    "viewer",
}  # fmt: skip
DOOR = {"api", "cli", "commands", "harness", "worker_main", "__main__", "refresh", "publishing"}


def test_no_room_leans_on_itself_by_way_of_others() -> None:
    assert circles() == []


def test_ground_rooms_import_nothing() -> None:
    assert {name: between_rooms().get(name, {}) for name in GROUND} == {name: {} for name in GROUND}


def test_what_computes_does_not_know_who_shows_it() -> None:
    found = [
        (module, other)
        for module, others in imports().items()
        for other in others
        if room(module) not in UPSTAIRS | DOOR and room(other) in UPSTAIRS
    ]
    assert found == []


# The commands declare an option a parameter, `api` is the door with their names; dropout takes the
# place of functions of torch and has their signatures.
LONG_SIGNATURES = {"harness.api", "harness.cli", "harness.training.dropout"}


def test_no_function_has_more_than_six_parameters() -> None:
    found = {
        f"{module}.{name}": count
        for module, path in modules().items()
        if module not in LONG_SIGNATURES and room(module) != "commands"
        for name, count in parameters(path)
        if count > 6
    }
    assert found == {}


def test_benchmarks_are_a_small_set_of_scripts() -> None:
    scripts = (PACKAGE.parent / "benchmarks").glob("*.py")
    assert sum(map(lines_of_code, scripts)) <= 2_000


@pytest.mark.parametrize(
    ("opening", "counted"),
    [("The three longest modules", longest), ("The three most imported modules", users)],
)
def test_contributing_names_the_extremes(opening: str, counted: Callable[[], Counter[str]]) -> None:
    """A few lines more or less may change who is third: the named are among the first six."""
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = text.split(opening)[1].split("\n\n")[1]
    named = re.findall(r"^- `([\w/]+)\.py`: \w+", listed, re.MULTILINE)
    first = [name for name, _ in counted().most_common(6)]
    assert len(named) == 3
    assert {f"harness.{name.replace('/', '.')}" for name in named} <= set(first)
    assert f"harness.{named[0].replace('/', '.')}" in first[:2]


def test_the_walk_of_one_eval_goes_from_import_to_import() -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    walk = text.split("### The walk of one `eval`")[1].split("###")[0]
    steps = re.findall(r"^\d+\. `([\w/]+)\.py`", walk, re.MULTILINE)
    first, *others = (f"harness.{step.replace('/', '.')}" for step in steps)
    assert 0 < len(others) < 9
    known = imports()
    reached = {first}
    for module in others:  # kinds are reached by way of their dict, in the package
        there = {inner for one in reached for inner in known[one]}
        assert module in there | {inner for one in there for inner in known[one]}
        reached.add(module)
