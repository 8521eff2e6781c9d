"""Published figures: reference rows, beside the board's own and never among them."""

from __future__ import annotations

from pydantic import Field

from harness.cards.languages import task_root
from harness.io.strict_yaml import Strict, read_model


class Figure(Strict):
    """One published score, in percent, with where it stands and why it may not be comparable."""

    model: str
    task: str
    metric: str
    value: float = Field(ge=0, le=100)
    languages: int = Field(ge=1)
    source: str
    caveat: str


class Figures(Strict):
    """What tasks/published.yaml holds."""

    figures: list[Figure]


def read_figures() -> tuple[Figure, ...]:
    """The published figures. DataError where the file does not fit."""
    path = task_root() / "published.yaml"
    return tuple(read_model(path, Figures, "tasks/published.yaml").figures)
