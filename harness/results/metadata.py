"""The metadata of an outcome file: every key that there must be, and the type of its value."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import one_line
from harness.inference.protocol import Dtype, Track

FORMAT = 1  # of rows and metadata: raised when a file of before cannot be read any more

Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1, max_length=1_000)]
# What becomes a part of a path, or of a message, has no separators and no control characters.
Unit = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)?$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Metadata(BaseModel):
    """What stands in a file under the key ``xharness``. Keys that are not named here are kept.

    Those with a default are in newer files only, or only where they apply. ``resolved``: the parts
    that the signature is over.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    format: Literal[1]
    model: Text
    revision: Annotated[str, Field(pattern=r"^(?:[0-9a-f]{40}|(?:local|object):[0-9a-f]{12,64})$")]
    base: str | None
    model_type: str | None
    parameters: Count | None
    task: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    task_version: Annotated[int, Field(ge=1)]
    card_hash: Digest
    card: dict[str, Any] | None = None
    kind: str
    track: Track
    protocol: Literal["standard", "native", "custom"]
    protocol_version: Count = 1
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    resolved: dict[str, Any]
    languages: Annotated[list[Unit], Field(min_length=1)]
    split: Text
    limit: Annotated[int, Field(ge=1)] | None
    seed: int
    dtype: Dtype
    device: str
    custom: list[str]
    contaminated: list[str] = Field(default_factory=list)
    degenerate: list[str]
    candidates: dict[str, Count] = Field(default_factory=dict)
    indistinct: dict[str, Count] = Field(default_factory=dict)
    data_complete: bool
    notes: list[str]
    remarks: list[str] = Field(default_factory=list)
    mixed: list[str]
    route: str
    data: dict[str, Digest]
    harness: dict[str, str | None]
    libraries: dict[str, str]
    timing: dict[str, dict[str, float]]


def check_metadata(value: Any) -> dict[str, Any]:
    """The metadata, as it is.

    Raises:
        ValueError: a key is missing, has another type, or names something twice; one line.
    """
    if not isinstance(value, dict):
        raise ValueError("the metadata is not an object")
    if value.get("format") != FORMAT or isinstance(value["format"], bool):
        raise ValueError(f"format {one_line(value.get('format'), 40)}, not {FORMAT}")
    try:
        Metadata.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = one_line(".".join(str(part) for part in first["loc"]), 60)
        raise ValueError(f"metadata: {key}: {one_line(first['msg'], 100)}") from None
    units = value["languages"]
    if len(set(units)) != len(units):
        twice = next(unit for unit in units if units.count(unit) > 1)
        raise ValueError(f"metadata: languages: {one_line(twice, 20)} is given twice")
    return value
