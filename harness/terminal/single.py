"""Shows single examples: the question, the right answer, and what the model found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape

from harness.terminal.console import percent
from harness.terminal.grids import Grid

Example = Mapping[str, Any]
# Column → its name, in the order of the lines.
LABELS: Mapping[str, str] = {
    "question": "question",
    "text": "query",
    "texts": "text",
    "choices": "choices",
    "context": "context",
    "gold": "gold",
    "prediction": "prediction",
    "hits": "hits",
}
LONGEST = 300  # A text is cut after so many characters.


def example_lines(examples: Sequence[Example]) -> Iterator[str]:
    """Yield the lines of the examples with rich's markup; each model and task has a heading."""
    heading: tuple[Any, ...] = ()
    for example in examples:
        own = (example["model"], example["task"], example["signature"])
        if own != heading:
            heading = own
            yield f"[bold]{escape(str(own[0]))}[/] {own[1]} [dim]{own[2]}[/]"
        yield f"[bold]{escape(name_of(example))}[/] {escape(score_of(example))}"
        for column, label in LABELS.items():
            for text in texts_of(example, column):
                yield f"  [dim]{label}[/] {escape(text)}"


def example_grid(examples: Sequence[Example]) -> Grid:
    """Make a table of the examples, with a column for each kind of text that they have."""
    columns = [name for name in LABELS if any(one.get(name) for one in examples)]
    rows = tuple(
        (
            str(one["task"]),
            name_of(one),
            score_of(one),
            *(" / ".join(texts_of(one, column)) for column in columns),
        )
        for one in examples
    )
    head = ("task", "example", "score", *(LABELS[name] for name in columns))
    return Grid(head, rows, left=len(head))


def name_of(example: Example) -> str:
    """Return the id of the example (both ids for a mined pair) and its language."""
    pair = f"{example.get('source_id')} {example.get('target_id')}"
    return f"{example.get('example_id') or pair} ({example['lang']})"


def score_of(example: Example) -> str:
    """Return the score in percent, and the rank of the relevant candidate where there is one."""
    rank = example.get("rank")
    return percent(example["score"]) + (f", rank {rank:,}" if rank is not None else "")


def texts_of(example: Example, column: str) -> list[str]:
    """Return the texts of a column, one line each; long ones are cut."""
    value = example.get(column)
    values = value if isinstance(value, (list, tuple)) else [value]
    lines = (" ".join(str(text).split()) for text in values if text is not None)
    return [line if len(line) <= LONGEST else f"{line[:LONGEST]}…" for line in lines]
