"""Writes a submission as the text of its file."""

from __future__ import annotations

import re
from typing import Any

import yaml

from harness.io.strict_yaml import parse, validated
from harness.submissions.submission import Submission


def as_yaml(submission: Submission) -> str:
    """Write a submission as YAML without empty fields; the text reads back as the same one."""
    fields = {
        key: value
        for key, value in submission.model_dump().items()
        if value is not None and value is not False and value not in ([], {})
    }
    text: str = yaml.dump(
        fields, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )  # fmt: skip
    if validated(parse(text.encode(), "submission"), Submission) != submission:
        raise AssertionError(f"a submission does not read back: {text!r}")
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML could take for another type, and keeps short lists on one line."""

    def text_node(self, data: str) -> yaml.ScalarNode:
        # PyYAML quotes what it would read as another type itself, but it takes fewer texts for
        # numbers than other programs do. Some line ends survive only in double quotes.
        number = re.fullmatch(r"[-+.\d][-+.\d_eE]*", data)
        style = '"' if number or not data.isprintable() else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def list_node(self, data: list[Any]) -> yaml.SequenceNode:
        short = sum(len(str(item)) + 2 for item in data) < 85
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=short)


_Dumper.add_representer(str, _Dumper.text_node)
_Dumper.add_representer(list, _Dumper.list_node)
