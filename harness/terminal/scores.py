"""Shows scores of models as grids: a line per task or language, and a column per model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from harness.cards.task import CUSTOM
from harness.results.scores import MACRO, Row, by_file
from harness.terminal.console import percent
from harness.terminal.grids import Grid
from harness.terminal.tables import headline_of, official_direction, summary

INTERVALS = "percent; in brackets 95 % intervals over parallel items"
MARKED = f"{INTERVALS}; * is not ranked"


def model_names(rows: Iterable[Row]) -> dict[tuple[str, str], str]:
    """Return (model, revision) → the name of its column, with a revision where two share a name."""
    keys = list(dict.fromkeys((row["model"], row["revision"]) for row in rows))
    names = [model for model, _ in keys]
    return {
        (model, revision): model
        if names.count(model) == 1
        else f"{model}@{revision.removeprefix('local:')[:12]}"
        for model, revision in keys
    }


def score_grid(rows: Sequence[Row], *, by_language: bool) -> Grid:
    """Make a grid of the primary metric of each task: its mean, or every language.

    Each model has a column. A file that differs from another of its model and task in track, layer,
    split, seed or options has a line of its own, and so has each further file of one run. What is
    not ranked, or is a mean over other languages than a suite's, is marked.
    """
    names = model_names(rows)
    files = _files(rows)
    lines: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}
    for own, told in zip(files, _labels(files, rows), strict=True):
        for row in own:
            if row["value"] is None or (row["lang"] == MACRO) == by_language:
                continue
            # Questions in several languages may share the language of the contexts.
            shared = sum(one["lang"] == row["lang"] for one in own) > 1
            where = (row["direction"] or row["lang"]) if shared else row["lang"]
            key = (row["task"], row["metric"], told, where if by_language else "")
            cells = lines.setdefault(key, {})
            cells[row["model"], row["revision"]] = with_interval(row) + "*" * _apart(row)
    apart = any(key[2] for key in lines)
    head = ("task", "metric", *(["run"] * apart), *(["language"] * by_language))
    body = tuple(
        (
            *key[:2],
            *([key[2]] * apart),
            *([key[3]] * by_language),
            *(cells.get(model, "—") for model in names),
        )
        for key, cells in lines.items()
    )
    return Grid((*head, *names.values()), body, left=len(head), caption=MARKED)


def task_grid(rows: Sequence[Row]) -> Grid:
    """Make a grid with a line per model and task: mean, best and worst language, and notes."""
    names = model_names(rows)
    lines = []
    for entry in summary(rows):
        best, worst = (
            f"{pair[0]} {percent(pair[1])}" if pair else ""
            for pair in (entry["best"], entry["worst"])
        )
        lines.append(
            (
                names[entry["model"], entry["revision"]],
                entry["task"],
                entry["metric"],
                percent(entry["mean"]),
                best,
                worst,
                str(entry["languages"]),
                entry["note"],
            )
        )
    head = ("model", "task", "metric", "mean", "best", "worst", "languages", "note")
    return Grid(head, tuple(lines), left=3, caption="percent")


def mean_notes(rows: Sequence[Row]) -> list[str]:
    """Return notes on the languages of means that are not to be compared as they stand.

    A mean over other languages than a suite's has a note with these. A task whose other means are
    over the languages of several suites has one with their numbers.
    """
    names = model_names(rows)
    notes = []
    whole: dict[tuple[str, str], dict[tuple[str, ...], list[str]]] = {}
    for own in _files(rows):
        model, revision, task, split = (
            own[0][name] for name in ("model", "revision", "task", "split")
        )
        langs = sorted({row["lang"] for row in own} - {MACRO})
        if any(row["lang"] == MACRO and not row["complete"] for row in own):
            over = " ".join(langs[:12]) + " …" * (len(langs) > 12)
            notes.append(
                f"{names[model, revision]}, {task}: incomplete, a mean over {len(langs)}: {over}"
            )
        elif any(row["lang"] == MACRO for row in own):
            of_task = whole.setdefault((task, split), {})
            of_task.setdefault(tuple(langs), []).append(names[model, revision])
    for (task, _), found in whole.items():
        if len(found) > 1:
            over = ", ".join(
                f"{len(langs)} of {' '.join(dict.fromkeys(models))}"
                for langs, models in found.items()
            )
            notes.append(f"{task}: means over different languages: {over}")
    return list(dict.fromkeys(notes))


def chance_notes(found: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """Return a note for each model and task of ``rows`` with languages at chance.

    ``found``: what ``analysis.measured.languages_at_chance`` gives.
    """
    names = model_names(rows)
    shown = {(row["model"], row["revision"], row["task"], row["lang"]) for row in rows}
    notes = []
    for one in found:
        model, revision, task = one["model"], one["revision"], one["task"]
        languages = [x for x in one["languages"] if (model, revision, task, x) in shown]
        if languages:
            notes.append(f"{names[model, revision]}, {task}: at chance in {' '.join(languages)}")
    return list(dict.fromkeys(notes))


def board_grid(board: Sequence[Row], own: Sequence[Row], track: str) -> Grid:
    """Make a grid of the models of one track, with a column per task; the ``own`` ones are marked.

    A model that both have stands there twice. Of several files of a task, one that may be ranked is
    shown first. Models are sorted by their mean over the tasks that all of the own models have.
    Those that lack one of these tasks come last.
    """
    cards = {(row["task"], _custom(row)) for row in (*own, *board) if _custom(row)}
    several = Counter(task for task, _ in cards)
    versions = {task for task, number in several.items() if number > 1}
    means: dict[tuple[bool, str, str], dict[str, Row]] = {}
    for mine, rows in ((True, own), (False, board)):
        of_track = [row for row in rows if row["track"] == track]
        for of_file in sorted(_files(of_track), key=lambda rows: any(map(_apart, rows))):
            for row in of_file:
                if row["lang"] == MACRO and row["value"] is not None:
                    model = means.setdefault((mine, row["model"], row["revision"]), {})
                    card = f" ({_custom(row)})" if row["task"] in versions else ""
                    model.setdefault(f"{row['task']}{card} {row['metric']}", row)
    tasks = list(dict.fromkeys(name for of_model in means.values() for name in of_model))
    shared = [name for name in tasks if all(name in means[model] for model in means if model[0])]

    def place(model: tuple[bool, str, str]) -> tuple[bool, float]:
        values = [means[model][name]["value"] for name in shared if name in means[model]]
        return len(values) < len(shared), -sum(values)

    names = model_names(row for row in (*own, *board) if row["track"] == track)
    lines = tuple(
        (
            names[model[1:]] + " (own)" * model[0],
            *(_board_cell(means[model].get(name)) for name in tasks),
        )
        for model in sorted(means, key=place)
    )
    return Grid(("model", *tasks), lines, caption=f"track {track}: {MARKED}")


def _apart(row: Row) -> bool:
    return bool(row["note"] or not row["complete"])


def _board_cell(row: Row | None) -> str:
    if row is None:
        return "—"
    return with_interval(row) + "*" * _apart(row)


def _files(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Return the rows of the primary metric in the official direction, by file."""
    found: list[Sequence[Row]] = []
    for own in by_file(rows):
        scored = [row for row in own if row["metric"] is not None]
        metric, _ = headline_of(scored)
        if shown := official_direction([row for row in scored if row["metric"] == metric]):
            found.append(shown)
    return found


def _labels(files: Sequence[Sequence[Row]], rows: Sequence[Row]) -> list[str]:
    """Return what distinguishes each file from others of its model and task, in words.

    Where no column does, it is the signature, and of one run in several folders the number; the
    protocol's own run has none, so that it shares a line with that of other models.
    """
    before: dict[tuple[str, ...], list[str]] = {}
    labels = [""] * len(files)
    for number, own in sorted(enumerate(files), key=lambda pair: bool(pair[1][0]["note"])):
        row, told = own[0], _told_apart(own[0], rows)
        alike = before.setdefault((row["model"], row["revision"], row["task"], told), [])
        signature = row["signature"]
        again = alike.count(signature)
        parts = (
            told,
            signature if alike and signature != alike[0] else "",
            f"file {again + 1}" if again else "",
        )
        alike.append(signature)
        labels[number] = ", ".join(filter(None, parts))
    return labels


def _told_apart(row: Row, rows: Sequence[Row]) -> str:
    """Return in words what distinguishes a row: track and split, and layer and seed of a model.

    Layers of different models are not compared: under one protocol they depend on the depth.
    """
    of_task = [one for one in rows if one["task"] == row["task"] and one["value"] is not None]
    own = [one for one in of_task if one["model"] == row["model"]]
    own = [one for one in own if one["revision"] == row["revision"]]
    parts = []
    for name, among in (("track", of_task), ("split", of_task), ("layer", own), ("seed", own)):
        if len({one[name] for one in among}) > 1 and row[name] is not None:
            parts.append(f"{row[name]}" if name == "track" else f"{name} {row[name]}")
    if len({_custom(one) for one in of_task}) > 1:
        parts.append(_custom(row))
    return ", ".join(parts)


def _custom(row: Row) -> str:
    """Return which card outside the package a row was measured by; nothing for another row."""
    return next((note for note in row["note"].split("; ") if note.startswith(CUSTOM)), "")


def with_interval(row: Row) -> str:
    """Write a value with its interval: ``71.7 [70.9, 72.5]``."""
    if row["low"] is None or row["high"] is None:
        return percent(row["value"])
    return f"{percent(row['value'])} [{percent(row['low'])}, {percent(row['high'])}]"
