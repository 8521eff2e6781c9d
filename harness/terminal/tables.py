"""Tables for a terminal: scores, tasks, cards and what the cache holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from harness.cards.catalogue import SuiteEntry, card_names, read_card
from harness.cards.target_recipes import recipe_beside, recipe_of
from harness.cards.task import TaskCard
from harness.results.scores import MACRO, indistinct_words
from harness.terminal.console import megabytes, percent

if TYPE_CHECKING:
    from harness.io.cache import Entry

Row = Mapping[str, Any]
MOST_NOTES = 4  # of one task in a table

# Metrics that are shown beside the headline: recall@10 of LAReQA alone would mislead, since 11
# relevant candidates bound it by 10/11.
BESIDE: Mapping[str, tuple[str, ...]] = {
    "bitext": ("accuracy", "mrr"),
    "passages": ("hit@10", "map@20"),
    "mining": ("precision", "recall", "f1_oracle"),
    "span_qa": ("exact_match",),
    "tagging": ("accuracy", "f1_pos"),
}


def summary(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One entry per model, task and signature: the headline's mean, best and worst language."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("model", "revision", "task", "signature", "layer"))
        groups.setdefault(key, []).append(row)
    return [_summarised(members) for members in groups.values()]


def _summarised(members: list[Row]) -> dict[str, Any]:
    first = members[0]
    scored = [row for row in members if row["metric"] is not None]
    metric, kind = headline_of(scored)
    of_metric = official_direction([row for row in scored if row["metric"] == metric])
    languages = [row for row in of_metric if row["lang"] != MACRO]
    means = {
        name: row["value"]
        for name in BESIDE.get(kind, ())
        for row in official_direction(scored)
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
        "interval": next(
            ((row["low"], row["high"]) for row in of_metric if row["lang"] == MACRO), None
        ),
        "best": None,
        "worst": None,
        "beside": means,
        "indistinct": {row["lang"]: row["indistinct"] for row in languages},
        "complete": first["complete"],
        "note": _joined([row["note"] for row in members if row["note"]]),
    }
    if languages:
        best = max(languages, key=lambda row: row["value"])
        worst = min(languages, key=lambda row: row["value"])
        entry["best"] = (best["lang"], best["value"])
        entry["worst"] = (worst["lang"], worst["value"])
    return entry


def _joined(notes: Iterable[str]) -> str:
    """The distinct notes; of many, as of forty languages without a file, the first and how many."""
    distinct = list(dict.fromkeys(notes))
    if len(distinct) > MOST_NOTES:
        return f"{distinct[0]}; and {len(distinct) - 1} more"
    return "; ".join(distinct)


def headline_of(rows: Sequence[Row]) -> tuple[str, str]:
    """(metric, kind) that the rows of one task are shown by.

    Of a card outside the package the rows say no kind; their first metric is its headline.
    """
    if not rows:
        return "", ""
    present = list(dict.fromkeys(row["metric"] for row in rows))
    if rows[0]["task"] not in card_names():
        return present[0], ""
    card = read_card(rows[0]["task"])
    return (card.primary if card.primary in present else min(present)), card.kind


def official_direction(rows: Sequence[Row]) -> list[Row]:
    """Of rows in two directions, as bitext retrieval has them, the official one: English → xx."""
    official = [row for row in rows if row["direction"].startswith("en-")]
    # Of questions in one language on contexts in another, `lang` is the second of a direction.
    both = any(row["direction"] in (f"{row['lang']}-en", "xx-en") for row in rows)
    return official if both else list(rows)


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
    notes = [text for text in (entry["note"], indistinct_words(entry["indistinct"])) if text]
    note = f"[yellow]{escape('; '.join(notes))}[/]" if notes else ""
    if entry["mean"] is None:
        return [name, "[dim]—[/]", "", "", "", "", note]
    beside = " · ".join(f"{metric} {percent(value)}" for metric, value in entry["beside"].items())
    return [
        name,
        entry["metric"],
        _mean(entry),
        _place(entry["best"]),
        _place(entry["worst"]),
        str(entry["languages"]),
        " ".join(part for part in (beside, note) if part),
    ]


def _mean(entry: Row) -> str:
    """The mean, with its interval where the rows have one."""
    low, high = entry["interval"] or (None, None)
    shown = "" if low is None or high is None else f" \\[{percent(low)}, {percent(high)}]"
    return f"[bold]{percent(entry['mean'])}[/]{shown}"


def _place(pair: tuple[str, float] | None) -> str:
    return f"{pair[0]} {percent(pair[1])}" if pair else ""


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
    for recipe in filter(None, (recipe_of(card.name), recipe_beside(card.name))):
        settings = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in recipe.recipe)
        tuned = "also tuned" if card.name in recipe.beside else "tuned"
        lines.append(f"  {tuned} by {recipe.name} on {recipe.train}: {settings}")
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
