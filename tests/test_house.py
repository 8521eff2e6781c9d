"""The plan of the house holds: `make house` shows what these rules are about."""

from tests.house import PACKAGE, between_rooms, circles, imports, lines_of_code, room

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


def test_benchmarks_are_a_small_set_of_scripts() -> None:
    scripts = (PACKAGE.parent / "benchmarks").glob("*.py")
    assert sum(map(lines_of_code, scripts)) <= 2_000
