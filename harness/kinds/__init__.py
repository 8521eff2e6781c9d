"""The task kinds: what is run on a task's examples, and how its outcomes fold into scores."""

from __future__ import annotations

from harness.kinds import bitext, mining, passages, span_qa
from harness.kinds.kind import Kind

KINDS: dict[str, Kind] = {
    "bitext": bitext.KIND,
    "mining": mining.KIND,
    "passages": passages.KIND,
    "span_qa": span_qa.KIND,
}
