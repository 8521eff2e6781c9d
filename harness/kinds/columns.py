"""Columns of outcome rows as numbers, whether they were read as a dictionary or as plain text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Codes = npt.NDArray[np.int64]


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
