"""Reads published figures, which stand beside the board's own and never among them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from harness.cards.languages import task_root
from harness.io.strict_yaml import Strict, read_model

Percent = Annotated[float, Field(ge=0, le=100)]


class PublishedScore(Strict):
    """One published score, in percent, with where it stands and what must be known of it.

    ``languages``: how many it is a mean over, None where that is not said. ``apart``: why it must
    not be set beside the board's scores (another metric, split or protocol), or empty. ``table``:
    the title of the table that it is a part of, or empty.
    """

    model: str
    task: str
    metric: str
    value: Percent
    languages: int | None = Field(default=None, ge=1)
    source: str
    caveat: str
    apart: str = ""
    table: str = ""

    @property
    def shown(self) -> str:
        """The value with the digits that it was published with, one at least."""
        return f"{self.value:.1f}" if round(self.value, 1) == self.value else f"{self.value:.2f}"


class Column(Strict):
    """What the figures of a column of a table have in common."""

    task: str
    metric: str
    languages: int | None = Field(default=None, ge=1)
    apart: str = ""


class Row(Strict):
    """A model's figures, one for each column; None where there is none."""

    model: str
    values: list[Percent | None]


class Table(Strict):
    """A table as published: models by tasks, or by languages of one."""

    title: str
    source: str
    caveat: str
    columns: list[Column]
    rows: list[Row]

    @model_validator(mode="after")
    def _whole(self) -> Table:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(
                    f"{row.model} has {len(row.values)} values for {len(self.columns)} columns"
                )
        return self

    @property
    def figures(self) -> list[PublishedScore]:
        """Its scores one by one."""
        return [
            PublishedScore(
                model=row.model,
                value=value,
                source=self.source,
                caveat=self.caveat,
                table=self.title,
                **column.model_dump(),
            )
            for row in self.rows
            for column, value in zip(self.columns, row.values, strict=True)
            if value is not None
        ]


class Figures(Strict):
    """What tasks/published.yaml holds."""

    figures: list[PublishedScore]
    tables: list[Table] = Field(default_factory=list)


def read_figures() -> tuple[PublishedScore, ...]:
    """Return the published figures, those of tables last. Raises DataError where the file does not
    fit.
    """
    found = read_model(task_root() / "published.yaml", Figures, "tasks/published.yaml")
    return (*found.figures, *(figure for table in found.tables for figure in table.figures))
