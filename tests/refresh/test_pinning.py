"""Pinning a submission: one line more, everything else as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import DataError
from harness.io.strict_yaml import read_model
from harness.refresh.pinning import pin
from harness.submissions.submission import Submission

COMMIT = "0123456789" * 4
LINE = f"revision: {COMMIT}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("model: org/x\nobjective: none\n", f"model: org/x\n{LINE}\nobjective: none\n"),
        (
            "# why\nobjective: none\n\nmodel: 'org/x' # which\n",
            f"# why\nobjective: none\n\nmodel: 'org/x' # which\n{LINE}\n",
        ),
        ("objective: none\nmodel: org/x", f"objective: none\nmodel: org/x\n{LINE}\n"),
        (
            "model: org/x\r\nobjective: none # a\r\n",
            f"model: org/x\r\n{LINE}\r\nobjective: none # a\r\n",
        ),
        (
            "model: org/x\nrevision:\nobjective: none\n",
            f"model: org/x\n{LINE}\nobjective: none\n",
        ),
        (
            "objective: none\nmodel:\n  org/x\nnotes: [a]\n",
            f"objective: none\n{LINE}\nmodel:\n  org/x\nnotes: [a]\n",
        ),
        (
            "objective: none\nmodel: >-\n  org/x\n",
            f"objective: none\n{LINE}\nmodel: >-\n  org/x\n",
        ),
    ],
)  # fmt: skip
def test_one_line_more(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(before.encode())
    pin(path, COMMIT)
    assert path.read_bytes() == after.encode()
    assert read_model(path, Submission).revision == COMMIT


@pytest.mark.parametrize(
    "text",
    [
        "{model: org/x, objective: none}\n",
        f"model: org/x\nrevision: {'a' * 40}\nobjective: none\n",
    ],
)
def test_what_cannot_be_pinned_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"x\.yaml: cannot be pinned: write the line"):
        pin(path, COMMIT)
    assert path.read_text() == text
