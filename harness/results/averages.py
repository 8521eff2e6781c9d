"""The average of a suite, by a named rule, and never of a part of it.

XTREME's script takes the unweighted mean over the languages of a task (English too), then the mean
over the tasks; a question answering task counts with the mean of exact match and F1. The tables of
mGTE and mmBERT count it with F1 alone, which is more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.cards.catalogue import card_names, read_card, read_suites
from harness.results.scores import MACRO, by_file

# Task → language → metric → value, in whatever unit.
Values = Mapping[str, Mapping[str, Mapping[str, float]]]
SUITES = ("xtreme", "xtreme-r")
RULES: Mapping[str, tuple[str, ...]] = {
    "exact match and F1 in question answering, as XTREME's script": ("exact_match", "f1"),
    "F1 alone in question answering, as mGTE's and mmBERT's tables": ("f1",),
}


@dataclass(frozen=True)
class Average:
    """``tasks``: each one's mean over its languages. ``value``: theirs; None where any is missing.

    ``missing``: tasks, or task/language, without a value.
    """

    suite: str
    rule: str
    tasks: Mapping[str, float]
    missing: tuple[str, ...]

    @property
    def value(self) -> float | None:
        """The mean over the tasks, only if all of them are there in all languages."""
        if self.missing:
            return None
        return sum(self.tasks.values()) / len(self.tasks)


def averages(values: Values) -> list[Average]:
    """Of each suite every task of which has a value, the average by each rule."""
    suites = read_suites()
    return [
        _average(suite, rule, values)
        for suite in SUITES
        if all(values.get(entry.task) for entry in suites[suite])
        for rule in RULES
    ]


def of_rows(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Values, in percent, of rows of the scores table that are of one file for each task.

    A task with several files (tracks, layers, seeds, folders) has none: which one is meant is not
    said.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    files: Counter[str] = Counter()
    for own in by_file(rows):
        for row in own:
            task, direction = row["task"], row["direction"]
            if row["value"] is None or row["lang"] == MACRO or task not in card_names():
                continue
            if read_card(task).kind == "bitext" and not direction.startswith("en-"):
                continue
            of_task = found.setdefault(task, {})
            of_task.setdefault(row["lang"], {})[row["metric"]] = 100 * row["value"]
        files.update({row["task"] for row in own if row["value"] is not None})
    return {task: values for task, values in found.items() if files[task] == 1}


def in_words(average: Average, noted: Container[str] = ()) -> str:
    """Such as ``average of xtreme (exact match and F1 …): 65.24``.

    ``noted``: tasks whose rows have a note, such as one of --limit; they are named.
    """
    name = f"average of {average.suite} ({average.rule})"
    if average.value is None:
        lacking = ", ".join(average.missing[:5]) + (", …" if len(average.missing) > 5 else "")
        return f"no {name}: without {lacking}"
    seen = ", ".join(task for task in average.tasks if task in noted)
    return f"{name}: {average.value:.2f}{f'; see the notes on {seen}' if seen else ''}"


def _average(suite: str, rule: str, values: Values) -> Average:
    tasks: dict[str, float] = {}
    missing: list[str] = []
    for entry in read_suites()[suite]:
        card = read_card(entry.task)
        languages = entry.languages or card.languages
        metrics = RULES[rule] if card.kind == "span_qa" else (card.official,)
        found = values.get(entry.task, {})
        lacking = [lang for lang in languages if not set(metrics) <= found.get(lang, {}).keys()]
        if lacking:
            whole = len(lacking) == len(languages)
            missing += [entry.task] if whole else [f"{entry.task}/{lang}" for lang in lacking]
            continue
        tasks[entry.task] = _mean(
            [_mean([found[lang][metric] for lang in languages]) for metric in metrics]
        )
    return Average(suite, rule, tasks, tuple(missing))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
