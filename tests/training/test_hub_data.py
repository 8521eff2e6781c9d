"""Data sets on the Hub, pinned at the first use, in a process of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.hub.server import Hub
from tests.training.cards import CARD, source

SCRIPT = """
import json, sys
from pathlib import Path
from harness.errors import HarnessError
from harness.data.load import DataLocation
from harness.cards.training import read_intermediate
from harness.training.data.reading import read

for offline in (True, False, True):
    try:
        made = read(read_intermediate(sys.argv[1]), DataLocation(None, Path(sys.argv[2]), offline))
        first = made.examples[0]
        print(json.dumps([made.route, made.revision, first.first, first.second, first.label]))
    except HarnessError as error:
        print(json.dumps([error.exit_code, str(error)]))
"""


def test_without_a_revision_the_newest_is_pinned_and_recorded(tmp_path: Path) -> None:
    table = pa.table({"premise": ["A bridge."], "hypothesis": ["A ferry."], "label": [1]})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    own = source("records", "own/{code}.tsv", columns={"first": "a", "label": "l"})
    own["splits"]["train"]["hub"] = {
        "id": "org/rows",
        "files": {"rows": "data/train-*.parquet"},
        "columns": {"rows": {"first": "premise", "second": "hypothesis", "label": "label"}},
    }
    card = tmp_path / "own.yaml"
    card.write_text(yaml.safe_dump(CARD | {"source": own, "label_names": {"1": "yes"}}))
    with Hub() as hub:
        name = "data/train-00000-of-00001.parquet"
        commit = hub.add("org/rows", {name: buffer.getvalue()}, kind="datasets")
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(card), str(tmp_path / "cache")],
            env=os.environ | hub.environment(tmp_path / "home"),
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        requests = list(hub.requests)
    before, online, offline = (json.loads(line) for line in done.stdout.splitlines())
    assert before[0] == 5
    assert "run it once without --offline; hub: org/rows: not in the cache" in before[1]
    assert online == offline == ["hub", f"org/rows@{commit}", "A bridge.", "A ferry.", 1]
    assert sum("/resolve/" in request and "HEAD" not in request for request in requests) == 1
