"""What a YAML file is told is short, whatever it holds: the remedy at the end stays."""

from __future__ import annotations

import pytest

from harness.cards.languages import task_root
from harness.cards.task import TaskCard
from harness.errors import DataError
from harness.io.strict_yaml import parse, validated

LONG = "\\e[31m " * 400


@pytest.mark.parametrize("key", ["official", "kind", "name", "scorer", "primary"])
def test_a_long_value_makes_a_short_message(key: str) -> None:
    lines = (task_root() / "target/demo_qa.yaml").read_text().splitlines()
    lines = [line for line in lines if not line.startswith(f"{key}:")]
    value = f'["{LONG}"]' if key == "official" else f'"{LONG}"'
    text = "\n".join([*lines, f"{key}: {value}"]) + "\n"
    with pytest.raises(DataError) as caught:
        validated(parse(text.encode(), "demo_qa.yaml"), TaskCard)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) <= 300
    assert message.startswith("demo_qa.yaml:")
