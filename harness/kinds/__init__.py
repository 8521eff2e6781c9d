"""The task kinds: what is run on a task's examples, and how its outcomes fold into scores."""

from __future__ import annotations

from harness.kinds import (
    bitext,
    classification,
    mining,
    multiple_choice,
    passages,
    span_qa,
    tagging,
)
from harness.kinds.kind import Kind

KINDS: dict[str, Kind] = {
    "bitext": bitext.KIND,
    "mining": mining.KIND,
    "passages": passages.KIND,
    "span_qa": span_qa.KIND,
    "classification": classification.KIND,
    "multiple_choice": multiple_choice.KIND,
    "tagging": tagging.KIND,
}
