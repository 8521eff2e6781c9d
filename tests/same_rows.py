"""Do two results folders hold the same rows? `python -m tests.same_rows OLD NEW`

A change of the code that means to change no number is checked with it: evaluate the demo suite, and
Tatoeba in a language or two where the data is at hand, before and after. Metadata may differ.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq

from harness.results.outcomes import OutcomeFile, find


def _by_name(folder: Path) -> dict[tuple[str, str, str], OutcomeFile]:
    """Checkpoint folder, task and layer → file. The signature may differ: it holds versions."""
    found = {}
    for file in find(folder):
        layer = file.meta()["resolved"].get("layer")
        found[file.path.parts[-3], file.path.name.split(".")[0], f"layer {layer}"] = file
    return found


def differences(old: Path, new: Path) -> list[str]:
    """One line for each file that is on one side alone, or whose rows or columns differ."""
    left, right = _by_name(old), _by_name(new)
    found = [f"{'/'.join(key)}: only in one of them" for key in sorted(left.keys() ^ right.keys())]
    for key in sorted(left.keys() & right.keys()):
        ours, theirs = (pq.read_table(side[key].path) for side in (left, right))
        if ours.column_names != theirs.column_names:
            found.append(f"{'/'.join(key)}: columns {ours.column_names} and {theirs.column_names}")
        elif ours.to_pylist() != theirs.to_pylist():
            pairs = zip(ours.to_pylist(), theirs.to_pylist(), strict=False)
            count = sum(one != other for one, other in pairs) + abs(len(ours) - len(theirs))
            found.append(f"{'/'.join(key)}: {count} of {max(len(ours), len(theirs))} rows differ")
    return found


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m tests.same_rows OLD NEW")
    lines = differences(Path(sys.argv[1]), Path(sys.argv[2]))
    print("\n".join(lines) or "the same rows")
    sys.exit(bool(lines))
