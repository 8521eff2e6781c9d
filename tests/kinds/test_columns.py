"""Columns of outcome rows as Python's values, a block of rows at a time."""

from __future__ import annotations

import pyarrow as pa
import pytest

from harness.kinds.columns import BLOCK, values


@pytest.mark.parametrize("rows", [0, 1, BLOCK, BLOCK + 1])
@pytest.mark.parametrize("chunks", [1, 3])
def test_values_are_those_of_each_row(rows: int, chunks: int) -> None:
    numbers = list(range(rows))
    size = rows // chunks + 1
    parts = [numbers[start : start + size] for start in range(0, rows, size)]
    table = pa.table(
        {
            "n": pa.chunked_array(parts, pa.int64()),
            "x": pa.chunked_array([[str(n) for n in part] for part in parts], pa.string()),
            "l": pa.chunked_array([[[n, n + 1] for n in part] for part in parts],
                                  pa.list_(pa.int64())),
        }
    )  # fmt: skip
    assert list(values(table, "x", "l")) == [(str(n), [n, n + 1]) for n in numbers]
    for batch in table.combine_chunks().to_batches():
        assert list(values(batch, "n")) == [(n,) for n in numbers]
