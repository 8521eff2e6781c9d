"""The plan of the house holds: `make house` shows what these rules are about."""

from tests.house import (
    PACKAGE,
    between_rooms,
    circles,
    imports,
    lines_of_code,
    modules,
    parameters,
    room,
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
