"""Writes the scores of a model as `.eval_results/xharness.yaml`, for its repository.

The Hub describes the format: https://huggingface.co/docs/hub/eval-results.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from harness.analysis.entries import Entry
from harness.analysis.results import Result
from harness.publishing.hub import address
from harness.publishing.measured import finished, headlines

FILE = ".eval_results/xharness.yaml"


def eval_results(entry: Entry, root: Path, data_set: str) -> bytes:
    """Write the file: one entry per task and track, with the primary metric in [0, 1].

    A task that has a data set on the Hub is named by that; others are named by the data set that
    has the rows.
    """
    entries = [_entry(result, track, root, data_set) for track, result in headlines(entry)]
    plain = eval_result_entries_to_yaml(entries)
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    return text.encode()


def _entry(result: Result, track: str, root: Path, data_set: str) -> EvalResultEntry:
    assert result.macro is not None  # Only complete results are published.
    source = result.card.source.splits[result.card.split].hub
    return EvalResultEntry(
        dataset_id=source.id if source else data_set,
        dataset_revision=source.revision if source else None,
        task_id=f"{result.task}_{track.replace('-', '_')}",
        value=round(result.macro.value, 6),
        date=finished(root, result),
        source_url=address("dataset", data_set),
        source_name="xharness",
        notes=_notes(result, track),
    )


def _notes(result: Result, track: str) -> str:
    assert result.macro is not None
    meta = result.folded.meta
    low, high = result.macro.low, result.macro.high
    notes = [f"{result.metric} in [0, 1], mean over {len(result.values)} languages"]
    if low is not None and high is not None:
        notes.append(f"95 % interval {low:.4f} to {high:.4f}")
    notes.append(f"track {track}")
    if result.layer is not None:
        notes.append(f"layer {result.layer}")
    if len(result.seeds) > 1:
        notes.append(f"mean over {len(result.seeds)} seeds")
    notes += [f"revision {meta['revision']}", f"signature {meta['signature']}"]
    notes.append(f"xharness {(meta.get('harness') or {}).get('version', 'unknown')}")
    if result.contaminated:
        notes.append("trained on this task's data")
    return "; ".join(notes)
