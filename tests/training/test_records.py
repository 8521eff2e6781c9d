"""The rows of whole files are those that the `datasets` library reads, which is an independent
reader of the same formats; of damaged files it makes rows too, and ours does not."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data.formats import LocalFile
from harness.errors import DataError
from harness.training.data.records import read_records

COLUMNS = ("first", "second")
# Control characters are left out: no table of texts holds them, and each reader treats them so.
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8).map(
    "t".__add__
)
MARKS = st.sampled_from(['"', "'", ",", "\t", "\n", "\u2028", "NA", "007", "é", "語"])
TABLE = st.lists(st.tuples(TEXT, st.lists(MARKS, max_size=4).map("t".join)), min_size=1, max_size=6)
Row = dict[str, str]


def write_delimited(rows: list[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(
            stream, COLUMNS, delimiter="," if path.suffix == ".csv" else "\t", lineterminator="\n"
        )
        table.writeheader()
        table.writerows(rows)


def write_lines(rows: list[Row], path: Path) -> None:
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines), encoding="utf-8")


def write_parquet(rows: list[Row], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)


def other_rows(path: Path) -> list[Any]:
    """By `datasets`, streamed: otherwise it may give what it kept of an earlier file."""
    from datasets import Features, Value, load_dataset

    texts = Features({name: Value("string") for name in COLUMNS})
    options: dict[str, Any] = {"features": texts}
    kind = {".jsonl": "json", ".parquet": "parquet"}.get(path.suffix, "csv")
    if kind == "csv":
        options |= {"sep": "," if path.suffix == ".csv" else "\t", "keep_default_na": False}
    return list(load_dataset(kind, data_files=str(path), split="train", streaming=True, **options))


def our_rows(path: Path) -> list[Any]:
    return [record for _, record in read_records(LocalFile(path, path.name))]


@pytest.mark.parametrize(
    ("ending", "write"),
    [
        ("csv", write_delimited),
        ("tsv", write_delimited),
        ("jsonl", write_lines),
        ("parquet", write_parquet),
    ],
)
@given(table=TABLE)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whole_files_give_the_rows_of_another_reader(
    tmp_path: Path, ending: str, write: Callable[[list[Row], Path], None], table: Any
) -> None:
    rows = [dict(zip(COLUMNS, pair, strict=True)) for pair in table]
    path = tmp_path / f"rows.{ending}"
    write(rows, path)
    assert our_rows(path) == other_rows(path) == rows


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        # `datasets` takes the first column of such a row for its number: the others move up.
        ("long.tsv", "first\tsecond\na\tb\tc\n", "3 columns, not 2"),
        ("short.tsv", "first\tsecond\na\n", "1 columns, not 2"),  # and fills this one
        ("cr.tsv", "first\tsecond\na\rb\tc\n", "1 columns, not 2"),
        ("nan.jsonl", '{"first": NaN}', "NaN is not a JSON number"),
        ("twice.jsonl", '{"first": "a", "first": "b"}', "occurs twice"),
        ("empty.jsonl", "", "empty"),
    ],
)
def test_damaged_files_give_no_rows(tmp_path: Path, name: str, text: str, why: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(DataError, match=why):
        our_rows(path)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.tsv"])
def test_text_that_looks_like_something_else_stays_text(tmp_path: Path, name: str) -> None:
    rows = [{"first": "2024-01-01", "second": "NA"}, {"first": "007", "second": "1e5"}]
    write = write_lines if name.endswith("jsonl") else write_delimited
    write(rows, tmp_path / name)
    assert our_rows(tmp_path / name) == rows
