"""Draws the scores by language, with matplotlib, which is an extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, TypeAlias

from harness.errors import UsageError
from harness.results.scores import MACRO
from harness.terminal.scores import model_names
from harness.terminal.tables import headline_of, official_direction

Row = Mapping[str, Any]


# Task and metric → model → language → value.
Panels: TypeAlias = dict[str, dict[str, dict[str, float]]]


def panels(rows: Sequence[Row], metric: str | None = None) -> Panels:
    """Return ``task, metric`` → model → language → value in [0, 1].

    Where a model has several files of a task, the first one is taken.

    Raises:
        UsageError: nothing was measured in the metric.
    """
    names, found = model_names(rows), Panels()
    scored = [row for row in rows if row["metric"] is not None and row["lang"] != MACRO]
    for task in dict.fromkeys(row["task"] for row in scored):
        of_task = [row for row in scored if row["task"] == task]
        wanted = metric or headline_of(of_task)[0]
        for row in official_direction([one for one in of_task if one["metric"] == wanted]):
            model = names[row["model"], row["revision"]]
            values = found.setdefault(f"{task}, {wanted}", {}).setdefault(model, {})
            values.setdefault(row["lang"], row["value"])
    if not found:
        raise UsageError(f"metric {metric!r} was not measured: leave it out for the headlines")
    return found


def language_figure(rows: Sequence[Row], metric: str | None = None) -> Any:
    """Draw a panel per task, in percent; languages are sorted by the score of the first model.

    Raises:
        UsageError: matplotlib is not installed, or nothing was measured in the metric.
    """
    shown = panels(rows, metric)
    if find_spec("matplotlib") is None:
        raise UsageError("plot needs matplotlib: pip install 'xharness[plot]'")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.6 * len(shown)), layout="constrained")
    for axes, (title, models) in zip(
        figure.subplots(len(shown), squeeze=False)[:, 0], shown.items(), strict=True
    ):
        first = next(iter(models.values()))
        order = sorted({lang for own in models.values() for lang in own},
                       key=lambda lang: (-first.get(lang, -1.0), lang))  # fmt: skip
        for model, own in models.items():
            present = [lang for lang in order if lang in own]
            places = [order.index(lang) for lang in present]
            axes.plot(places, [100 * own[lang] for lang in present], "o", label=model, alpha=0.8)
        axes.set_xticks(range(len(order)), order, rotation=90, fontsize="small")
        axes.set_ylim(0, 100)
        axes.set_ylabel("percent")
        axes.set_title(title)
        axes.grid(axis="y", alpha=0.3)
    figure.axes[0].legend(fontsize="small")
    return figure
