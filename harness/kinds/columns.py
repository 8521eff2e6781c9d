"""Columns of outcome rows as numbers, whether they were read as a dictionary or as plain text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Codes = npt.NDArray[np.int64]
BLOCK = 8_192  # rows that are Python's own at a time, at some 1 kB each


def dictionary(column: pa.ChunkedArray | pa.Array) -> pa.DictionaryArray:
    """The column as one dictionary array."""
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def codes(column: pa.DictionaryArray) -> Codes:
    """int64[n]: for each row the place of its value in the dictionary."""
    found: Codes = column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def text(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column as one array of strings."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def joined(*parts: pa.Array | str, separator: str) -> pa.Array:
    """Columns of strings (or a constant) put together row by row."""
    whole = [pa.scalar(part) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*whole, separator)


def values(rows: pa.Table | pa.RecordBatch, *names: str) -> Iterator[tuple[Any, ...]]:
    """Of each row the values of some columns as Python's own, a block of rows at a time."""
    for start in range(0, len(rows), BLOCK):
        block = rows.slice(start, BLOCK)
        yield from zip(*(block.column(name).to_pylist() for name in names), strict=True)
