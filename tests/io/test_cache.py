"""What the cache is said to hold, whatever stands in its files."""

from pathlib import Path

import pytest

from harness.io.cache import entries


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '{"checkpoint": 3}', '{"base": []}'])
@pytest.mark.parametrize(
    ("kind", "file", "name"),
    [
        ("vectors", "parts.json", "abc"),
        ("tokens", "parts.json", "abc"),
        ("tuned", "training.json", "abc (not finished)"),
    ],
)
def test_a_store_whose_record_has_another_shape_has_its_folders_name(
    kind: str, file: str, name: str, text: str, tmp_path: Path
) -> None:
    folder = tmp_path / kind / "abc"
    folder.mkdir(parents=True)
    (folder / file).write_text(text)
    assert [(entry.kind, entry.name) for entry in entries(tmp_path)] == [(kind, name)]
