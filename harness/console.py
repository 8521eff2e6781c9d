"""What a person sees: the plan and the live progress on stderr, tables on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from harness.cards import SuiteEntry, TaskCard, read_card
from harness.scoring import MACRO
from harness.target_recipes import recipe_of

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.jobs import Job
    from harness.plan import Plan
    from harness.storage import Entry
    from harness.train.target import Tuning, Watcher

Row = Mapping[str, Any]

# Metrics that are shown beside the headline: recall@10 of LAReQA alone would mislead, since 11
# relevant candidates bound it by 10/11.
BESIDE: Mapping[str, tuple[str, ...]] = {
    "bitext": ("accuracy", "mrr"),
    "passages": ("hit@10", "map@20"),
    "mining": ("precision", "recall", "f1_oracle"),
    "span_qa": ("exact_match",),
}


class TextsColumn(ProgressColumn):
    """Texts done, and per second. The bar goes by characters, since texts differ in length."""

    def render(self, task: Task) -> Text:
        """Such as ``1,200/7,000 texts 85/s``."""
        done, total = task.fields["texts"], task.fields["total_texts"]
        rate = f" {done / task.elapsed:,.0f}/s" if task.elapsed and done else ""
        return Text(f"{done:,}/{total:,} texts{rate}", style="progress.download")


class Display:
    """Reports a run on stderr: live on a terminal, a line per finished task in a pipe."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._verbose = verbose
        self._progress: Progress | None = None
        self._bar: TaskID | None = None

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def planned(self, plan: Plan) -> None:
        """Say what will run, then start the progress display where there is something to do."""
        for line in describe_plan(plan, verbose=self._verbose):
            self.console.print(line, soft_wrap=True)
        todo = sum(task.todo_characters for task in plan.tasks)
        texts = sum(task.todo_texts for task in plan.tasks)
        if self._progress is not None and self._bar is not None:  # one bar for several models
            bar = self._progress.tasks[0]
            self._progress.update(
                self._bar,
                total=(bar.total or 0) + todo,
                total_texts=bar.fields["total_texts"] + texts,
            )
        elif todo and self.console.is_terminal and not self.console.quiet:
            self._progress = Progress(
                BarColumn(),
                TextsColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._progress.start()
            self._bar = self._progress.add_task("", total=todo, texts=0, total_texts=texts)

    def advance(self, texts: int, characters: int) -> None:
        """Move the bar on."""
        if self._progress is not None and self._bar is not None:
            done = self._progress.tasks[0].fields["texts"] + texts
            self._progress.update(self._bar, advance=characters, texts=done)

    def finished(self, job: Job, table: pa.Table) -> None:
        """One line per finished task."""
        shown = summary(table.to_pylist())
        if shown:
            row = shown[0]
            layer = f" layer {row['layer']}" if row["layer"] is not None else ""
            self.console.print(
                f"  [green]✓[/] {job.card.name}{layer}: {row['metric']} {percent(row['mean'])}"
            )

    @contextmanager
    def tuning(self, tuning: Tuning) -> Iterator[Watcher]:
        """Say what is trained and how it goes; the bar of the run stands still meanwhile."""
        from harness.train.progress import Progress as Training

        training = Training(quiet=self.console.quiet)
        if tuning.done:
            yield training
            return
        running = self._progress
        if running is not None:
            running.stop()
        with training:
            training.say(f"tuning on {tuning.recipe.train}, seed {tuning.seed}")
            yield training
        if running is not None:
            running.start()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def describe_plan(plan: Plan, *, verbose: bool = False) -> list[str]:
    """What will run, line by line, with rich's markup."""
    checkpoint, request = plan.checkpoint, plan.request
    millions = f"{checkpoint.parameters / 1e6:,.1f}M parameters"
    lines = [
        f"[bold]{escape(checkpoint.id)}[/] at {escape(checkpoint.revision)}"
        f" ({escape(checkpoint.model_type)}, {millions})",
        f"  protocol {request.protocol.name}, dtype {request.protocol.dtype},"
        f" device {request.device}",
    ]
    if checkpoint.base is not None:
        lines.append(
            f"  adapter on {escape(checkpoint.base.id)} at {escape(checkpoint.base.revision)}"
        )
    lines += [_tuning_line(tuning) for tuning in plan.tunings.values()]
    for task in plan.tasks:
        jobs = task.jobs
        first = jobs[0]
        signature = first.signature if len(jobs) == 1 else f"{len(jobs)} layers"
        layer = f", layer {first.layer}" if len(jobs) == 1 and task.card.lengths else ""
        done = min(len(task.done[job.signature] & set(task.units)) for job in jobs)
        state = "done already" if done == len(task.units) else f"{task.todo_texts:,} texts to do"
        if 0 < done < len(task.units):
            state += f", {done} of {len(task.units)} languages done"
        tuned = f", tuned on {task.recipe.train}" if task.recipe else ""
        lines.append(
            f"  {task.card.name} [dim]{signature}[/]: {_count(len(task.units), 'language')}{layer}"
            f"{tuned}, {task.texts:,} distinct texts, {state}"
        )
        lines += [f"    [yellow]note[/] {escape(note)}" for note in task.loaded.notes]
        for job in jobs if verbose or len(jobs) == 1 else ():
            lines += [f"    [yellow]not ranked[/] {escape(reason)}" for reason in job.custom]
    for name, downloads in plan.downloads.items():
        size = sum(download.size or 0 for download in downloads)
        known = "" if all(download.size for download in downloads) else " or more"
        lines.append(
            f"  {name}: to download, {_count(len(downloads), 'file')}, {megabytes(size)}{known}"
        )
    lines += [
        f"  {task} [dim]does not apply[/]: {escape(why)}" for task, why in plan.inapplicable.items()
    ]
    lines += [f"  [red]{task} missing[/]: {escape(why)}" for task, why in plan.missing.items()]
    return lines


def _tuning_line(tuning: Tuning) -> str:
    recipe, settings = tuning.recipe, tuning.recipe.recipe
    windows = " or more" if recipe.card.kind == "span" else ""  # of a long context several
    size = (
        f"{tuning.examples:,} examples, {settings.epochs:g} epochs, {tuning.steps:,} steps{windows}"
    )
    if tuning.done:
        state = f"trained already ({tuning.folder})"
    else:
        saved = f", goes on after step {tuning.saved:,}" if tuning.saved else ""
        state = f"to train into {tuning.folder}{saved}"
    head = "fresh QA head" if recipe.card.kind == "span" else "dual encoder"
    return (
        f"  {head} by {recipe.name} on {recipe.train}, seed {tuning.seed}: {size}, {escape(state)}"
    )


def summary(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One entry per model, task and signature: the headline's mean, best and worst language."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("model", "revision", "task", "signature", "layer"))
        groups.setdefault(key, []).append(row)
    return [_summarised(members) for members in groups.values()]


def _summarised(members: list[Row]) -> dict[str, Any]:
    first = members[0]
    card = read_card(first["task"])
    scored = [row for row in members if row["metric"] is not None]
    present = {row["metric"] for row in scored}
    metric = card.primary if card.primary in present else next(iter(sorted(present)), "")
    of_metric = _official_direction(card, [row for row in scored if row["metric"] == metric])
    languages = [row for row in of_metric if row["lang"] != MACRO]
    means = {
        name: row["value"]
        for name in BESIDE[card.kind]
        for row in _official_direction(card, scored)
        if row["lang"] == MACRO and row["metric"] == name and name != metric
    }
    entry: dict[str, Any] = {
        "model": first["model"],
        "revision": first["revision"],
        "task": first["task"],
        "track": first["track"],
        "layer": first["layer"],
        "signature": first["signature"],
        "split": first["split"],
        "metric": metric,
        "languages": len(languages),
        "mean": next((row["value"] for row in of_metric if row["lang"] == MACRO), None),
        "best": None,
        "worst": None,
        "beside": means,
        "complete": first["complete"],
        "note": "; ".join(dict.fromkeys(row["note"] for row in members if row["note"])),
    }
    if languages:
        best = max(languages, key=lambda row: row["value"])
        worst = min(languages, key=lambda row: row["value"])
        entry["best"] = (best["lang"], best["value"])
        entry["worst"] = (worst["lang"], worst["value"])
    return entry


def _official_direction(card: TaskCard, rows: list[Row]) -> list[Row]:
    """Of bitext retrieval the official direction, English → xx."""
    if card.kind != "bitext":
        return rows
    return [row for row in rows if row["direction"].startswith("en-")]


def score_table(rows: Iterable[Row]) -> Table:
    """The scores per task, in percent."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name, justify in (
        ("task", "left"),
        ("metric", "left"),
        ("mean", "right"),
        ("best", "right"),
        ("worst", "right"),
        ("languages", "right"),
        ("beside", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    entries = summary(rows)
    tracks = (
        len({(entry["track"], entry["layer"]) for entry in entries if entry["mean"] is not None})
        > 1
    )
    for entry in entries:
        table.add_row(*_cells(entry, tracks))
    return table


def _cells(entry: Row, tracks: bool) -> list[str]:
    name = entry["task"]
    if tracks and entry["track"]:
        layer = f", layer {entry['layer']}" if entry["layer"] is not None else ""
        name += f" [dim]{entry['track']}{layer}[/]"
    note = f"[yellow]{escape(entry['note'])}[/]" if entry["note"] else ""
    if entry["mean"] is None:
        return [name, "[dim]—[/]", "", "", "", "", note]
    beside = " · ".join(f"{metric} {percent(value)}" for metric, value in entry["beside"].items())
    return [
        name,
        entry["metric"],
        f"[bold]{percent(entry['mean'])}[/]",
        _place(entry["best"]),
        _place(entry["worst"]),
        str(entry["languages"]),
        " ".join(part for part in (beside, note) if part),
    ]


def _place(pair: tuple[str, float] | None) -> str:
    return f"{pair[0]} {percent(pair[1])}" if pair else ""


def percent(value: float | None) -> str:
    """A value in [0, 1] in percent with one decimal."""
    return "—" if value is None else f"{100 * value:.1f}"


def megabytes(size: int) -> str:
    """A size in bytes for people."""
    return f"{size / 1e6:,.1f} MB" if size else "size unknown"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def stdout() -> Console:
    """The console for data: wide enough for whole rows where it is not a terminal."""
    return _Output(highlight=False, width=None if sys.stdout.isatty() else 160)


class _Output(Console):
    """A console whose reader may leave: the command goes on and ends with its own exit code."""

    def on_broken_pipe(self) -> None:
        """Print into nothing from now on (rich would end the program with 1)."""
        discard_stdout()


def discard_stdout() -> None:
    """Send what is still printed nowhere: the reader of a pipe has left."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def task_table(
    suites: Mapping[str, Iterable[SuiteEntry]], cards: Mapping[str, TaskCard], *, everything: bool
) -> Table:
    """Tasks with their kind, languages and metrics, and the suites that they are in."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in ("task", "kind", "languages", "headline", "official", "suites"):
        table.add_column(name, justify="right" if name == "languages" else "left")
    for name, card in cards.items():
        members = {
            suite: len(entry.languages or card.languages)
            for suite, entries in suites.items()
            for entry in entries
            if entry.task == name
        }
        if not members and not everything:
            continue
        inside = ", ".join(
            suite if count == len(card.languages) else f"{suite} ({count})"
            for suite, count in members.items()
        )
        table.add_row(
            name, card.kind, str(len(card.languages)), card.primary, card.official, inside
        )
    return table


def card_lines(card: TaskCard) -> list[str]:
    """One card for people."""
    lines = [
        f"[bold]{escape(card.title)}[/] ({card.name}, {card.kind}, version {card.version})",
        f"  languages: {' '.join(card.languages)}",
        f"  metrics: {', '.join(card.metrics)} (headline {card.primary}, official {card.official})",
        f"  splits: {', '.join(card.source.splits)} (own: {card.split})",
        f"  licence: {escape(card.licence)}",
        f"  citation: {escape(' '.join(card.citation.split()))}",
        f"  card hash: {card.hash[:12]}",
    ]
    if card.lengths is not None:
        lines.insert(3, f"  tokens: query {card.lengths.query}, document {card.lengths.document}")
    if (recipe := recipe_of(card.name)) is not None:
        settings = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in recipe.recipe)
        lines.append(f"  tuned by {recipe.name} on {recipe.train}: {settings}")
        lines += [f"    {escape(' '.join(note.split()))}" for note in recipe.notes]
    return lines + [f"  note: {escape(' '.join(note.split()))}" for note in card.notes]


def cache_table(found: Iterable[Entry], root: Any) -> Table:
    """What the cache holds."""
    table = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        show_edge=False,
        title=str(root),
        title_justify="left",
    )
    for name, justify in (("kind", "left"), ("what", "left"), ("size", "right"), ("used", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for entry in found:
        table.add_row(
            entry.kind, escape(entry.name), megabytes(entry.size), f"{entry.days:.1f} days ago"
        )
    return table
