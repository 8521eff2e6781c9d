"""What `harness.evaluate` returns: scores that print, compare and draw themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.analysis.compare import Compared

Signatures = frozenset[str] | None  # None: of every file


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The scores of an evaluation in long form, as ``harness.scores`` has them.

    ``folders``: the results folder of each model, in the order in which they were given.
    ``compare_rows``: compares two folders or names, by the signatures that count on each side.
    """

    table: pa.Table
    folders: tuple[Path, ...]
    compare_rows: Callable[[str, str, Signatures, Signatures], list[Compared]] = field(repr=False)

    def to_arrow(self) -> pa.Table:
        """One row per task, language, direction and metric; see ``harness.scores``."""
        return self.table

    def to_pandas(self) -> Any:
        """The same rows as a pandas DataFrame.

        Raises:
            UsageError: pandas is not installed.
        """
        if find_spec("pandas") is None:
            raise UsageError("to_pandas needs pandas: pip install pandas, or use to_arrow()")
        return self.table.to_pandas()

    def by_language(self, metric: str | None = None) -> pa.Table:
        """The rows of single languages: those with a value in ``metric`` (None: in every one).

        Raises:
            UsageError: no task was measured in that metric.
        """
        import pyarrow.compute as pc

        from harness.results.scores import MACRO

        kept = (pc.field("lang") != MACRO) & pc.field("value").is_valid()
        rows = self.table.filter(kept)
        if metric is None:
            return rows
        known = sorted(set(rows.column("metric").to_pylist()))
        if metric not in known:
            raise UsageError(f"metric {metric!r} was not measured: give {', '.join(known)}")
        return rows.filter(pc.field("metric") == metric)

    def compare(self, other: Evaluation | str | Path) -> list[Compared]:
        """The paired differences, this minus ``other``, example by example.

        ``other``: an evaluation, or what ``harness.compare`` takes: an id, or a results folder. Of
        an evaluation only the files with its settings count, whatever else its folder holds.

        Raises:
            UsageError: one of the two has several models.
            NotFoundError, IncompleteError: as for ``harness.compare``.
        """
        theirs, counted = str(other), None
        if isinstance(other, Evaluation):
            theirs, counted = other._folder(), other._signatures()
        return self.compare_rows(self._folder(), theirs, self._signatures(), counted)

    def _signatures(self) -> Signatures:
        return frozenset(self.table.column("signature").to_pylist())

    def _folder(self) -> str:
        if len(self.folders) != 1:
            raise UsageError(
                f"an evaluation of {len(self.folders)} models is not compared: evaluate one by one"
            )
        return str(self.folders[0])

    def plot(self, metric: str | None = None) -> Any:
        """A figure of matplotlib: each language's score, one panel per task, models in colours.

        ``metric``: None for the headline of each task. It is shown where a notebook shows figures;
        ``figure.savefig(path)`` keeps it.

        Raises:
            UsageError: matplotlib is not installed, or nothing was measured in that metric.
        """
        from harness.terminal.plot import language_figure

        return language_figure(self.table.to_pylist(), metric)

    def _repr_html_(self) -> str:
        """The scores as a notebook shows them."""
        from harness.terminal.grids import html
        from harness.terminal.scores import task_grid

        return html(task_grid(self.table.to_pylist()))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        """The scores as the command shows them."""
        from io import StringIO

        from rich.console import Console

        from harness.terminal.tables import score_table

        text = StringIO()
        console = Console(file=text, width=120, color_system=None)
        models: dict[str, list[Any]] = {}
        for row in self.table.to_pylist():
            models.setdefault(f"{row['model']} at {row['revision']}", []).append(row)
        for name, rows in models.items():
            console.print(name, markup=False, soft_wrap=True)
            console.print(score_table(rows))
        return text.getvalue().rstrip()
