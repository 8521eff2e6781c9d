"""Attempts on disk, what fits a machine, and what is asked of Hugging Face Jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError, UsageError
from harness.refresh.fitting import Limits, memory, memory_needed
from harness.refresh.handover import request
from harness.refresh.measured import claimed_model
from harness.submissions.attempts import FILE, Attempt, dated, read_attempts, write_attempts

FAILED = Attempt(model="org/x", status="failed", reason="no", exit_code=4, since="then")


def test_attempts_are_kept_and_the_same_bytes(tmp_path: Path) -> None:
    measured = Attempt(model="org/y", status="measured")
    write_attempts(tmp_path, {"y": measured, "x": FAILED})
    text = (tmp_path / FILE).read_bytes()
    assert read_attempts(tmp_path) == {"x": FAILED}  # measured whole says nothing
    write_attempts(tmp_path, read_attempts(tmp_path))
    assert (tmp_path / FILE).read_bytes() == text
    write_attempts(tmp_path, {"y": measured})
    assert read_attempts(tmp_path) == {}
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"x": {"model": "org/x"}}', '{"x": {"model": "m", "status": "?"}}']
)
def test_damaged_attempts_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DataError, match=r"attempts\.json"):
        read_attempts(tmp_path)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("model: org/x\nlicnce: mit\n", "org/x"),  # what is wrong is elsewhere
        ("model: org/x\nmodel: org/y\n", "org/y"),
        ("modl: org/x\n", None),
        ("model: [org/x]\n", None),
        ("- org/x\n", None),
        ("model: 'org/x\n", None),
    ],
)
def test_the_model_of_a_submission_that_does_not_fit(
    text: str, model: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert claimed_model(path) == model


def test_the_same_failure_keeps_its_date() -> None:
    again = FAILED.model_copy(update={"since": ""})
    assert dated(again, FAILED) is FAILED
    other = again.model_copy(update={"reason": "else"})
    assert dated(other, FAILED).since > "2026"


def test_what_can_be_tried_again() -> None:
    assert FAILED.final
    assert not FAILED.model_copy(update={"exit_code": 3}).final
    assert not FAILED.model_copy(update={"exit_code": -9}).final


def test_what_fits() -> None:
    assert Limits(300_000_000, memory=8 << 30).misfit(278_000_000) == ""
    assert Limits(300_000_000, memory=None).misfit(560_000_000) == (
        "does not fit: 560 M parameters, more than --max-parameters 300,000,000"
    )
    why = Limits(memory=16 << 30).misfit(7_000_000_000, about=True)
    assert why.startswith("does not fit: about 7,000 M parameters need about")
    assert "this machine has 17 GB" in why
    found = memory()
    assert found is None or found > 1 << 28
    assert memory_needed(0) < memory_needed(10**9) < 8 * 10**9 + (3 << 30)


def asked(parameters: int, **changes: object) -> dict[str, object]:
    attempt = Attempt(
        model="org/x; rm -rf /", revision="a" * 40, status="pending", parameters=parameters
    )
    given: dict[str, Any] = {"suite": "xtreme-r", "protocol": "standard", "tasks": ["tatoeba"]}
    return request("x", attempt, **(given | {"namespace": "me"} | changes))


def test_a_job_has_no_secret_and_no_text_of_others_in_its_script() -> None:
    wanted = asked(560_000_000)
    assert "secrets" not in wanted
    command = wanted["command"]
    assert isinstance(command, list)
    assert command[:2] == ["bash", "-c"]
    assert "org/x" not in command[2]
    assert command[4] == f"org/x; rm -rf /@{'a' * 40}"
    assert wanted["flavor"] == "t4-small"
    assert asked(7_000_000_000)["flavor"] == "l40sx1"
    with pytest.raises(UsageError, match="no single GPU"):
        asked(70_000_000_000)
