"""Tables for a terminal: scores, tasks, cards, and the content of the cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from harness.cards.catalogue import SuiteEntry, card_names, read_card
from harness.cards.target_recipes import recipe_beside, recipe_of
from harness.cards.task import TaskCard
from harness.results.scores import MACRO, Row, by_file, indistinct_words
from harness.terminal.console import megabytes, percent, plain_table

if TYPE_CHECKING:
    from harness.io.cache import Entry

MOST_NOTES = 4  # the most notes of one task that a table shows

# Kind → metrics that are shown beside the primary one. Recall@10 of LAReQA alone would mislead:
# with 11 relevant candidates it is 10/11 at most.
BESIDE: Mapping[str, tuple[str, ...]] = {
    "bitext": ("accuracy", "mrr"),
    "passages": ("hit@10", "map@20"),
    "mining": ("precision", "recall", "f1_oracle"),
    "span_qa": ("exact_match",),
    "tagging": ("accuracy", "f1_pos"),
}


def summary(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return an entry per outcome file: mean, best and worst of the primary metric."""
    return [_summarised(members) for members in by_file(rows)]


def _summarised(members: Sequence[Row]) -> dict[str, Any]:
    first = members[0]
    scored = [row for row in members if row["metric"] is not None]
    metric, kind = headline_of(scored)
    of_metric = official_direction([row for row in scored if row["metric"] == metric])
    languages = [row for row in of_metric if row["lang"] != MACRO]
    macro = next((row for row in of_metric if row["lang"] == MACRO), None)
    best = max(languages, key=lambda row: row["value"], default=None)
    worst = min(languages, key=lambda row: row["value"], default=None)
    means = {
        name: row["value"]
        for name in BESIDE.get(kind, ())
        for row in official_direction(scored)
        if row["lang"] == MACRO and row["metric"] == name and name != metric
    }
    return {
        "model": first["model"],
        "revision": first["revision"],
        "task": first["task"],
        "track": first["track"],
        "layer": first["layer"],
        "signature": first["signature"],
        "metric": metric,
        "languages": len(languages),
        "mean": macro and macro["value"],
        "interval": macro and (macro["low"], macro["high"]),
        "best": best and (best["lang"], best["value"]),
        "worst": worst and (worst["lang"], worst["value"]),
        "beside": means,
        "indistinct": {row["lang"]: row["indistinct"] for row in languages},
        "complete": first["complete"],
        "note": _joined([row["note"] for row in members if row["note"]]),
    }


def _joined(notes: Iterable[str]) -> str:
    """Join the distinct notes; of many, such as forty missing files, the first and their number."""
    distinct = list(dict.fromkeys(notes))
    if len(distinct) > MOST_NOTES:
        return f"{distinct[0]}; and {len(distinct) - 1} more"
    return "; ".join(distinct)


def headline_of(rows: Sequence[Row]) -> tuple[str, str]:
    """Return (metric, kind) by which the rows of one task are shown.

    The rows of a card outside the package do not name its kind; their first metric is taken.
    """
    if not rows:
        return "", ""
    present = list(dict.fromkeys(row["metric"] for row in rows))
    if rows[0]["task"] not in card_names():
        return present[0], ""
    card = read_card(rows[0]["task"])
    return (card.primary if card.primary in present else min(present)), card.kind


def official_direction(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the official direction, English → xx, where there are two directions."""
    official = [row for row in rows if row["direction"].startswith("en-")]
    # For questions in one language on contexts in another, `lang` is the second of a direction.
    both = any(row["direction"] in (f"{row['lang']}-en", "xx-en") for row in rows)
    return official if both else list(rows)


def score_table(rows: Iterable[Row]) -> Table:
    """Make a table of the scores per task, in percent."""
    numbers = ("mean", "best", "worst", "languages")
    table = plain_table("task", "metric", *numbers, "beside", right=numbers)
    entries = summary(rows)
    tracks = {(entry["track"], entry["layer"]) for entry in entries if entry["mean"] is not None}
    for entry in entries:
        table.add_row(*_cells(entry, len(tracks) > 1))
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
        "; ".join(part for part in (beside, note) if part),
    ]


def _mean(entry: Row) -> str:
    """Write the mean, with its interval where the rows have one."""
    low, high = entry["interval"] or (None, None)
    shown = "" if low is None or high is None else f" \\[{percent(low)}, {percent(high)}]"
    return f"[bold]{percent(entry['mean'])}[/]{shown}"


def _place(pair: tuple[str, float] | None) -> str:
    return f"{pair[0]} {percent(pair[1])}" if pair else ""


def task_table(
    suites: Mapping[str, Iterable[SuiteEntry]], cards: Mapping[str, TaskCard], *, everything: bool
) -> Table:
    """Make a table of tasks with kind, languages, metrics and suites.

    Tasks that are in none of the suites are left out, unless ``everything`` is shown.
    """
    table = plain_table(
        "task", "kind", "languages", "headline", "official", "suites", right=("languages",)
    )
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
    """Return the lines that show one card."""
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
    """Make a table of the content of the cache."""
    table = plain_table("kind", "what", "size", "used", right=("size", "used"))
    table.title, table.title_justify = str(root), "left"
    for entry in found:
        table.add_row(
            entry.kind, escape(entry.name), megabytes(entry.size), f"{entry.days:.1f} days ago"
        )
    return table
