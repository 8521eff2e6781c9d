"""The board as Markdown: `README.md` and a page per checkpoint, safe to render on GitHub."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from harness.board.answer import answer
from harness.board.differences import Gain
from harness.board.entries import Entry, Result, Value, board_units
from harness.board.figures import layer_curves
from harness.board.fold import official
from harness.board.standings import Row, Standing, gate
from harness.board.words import at_chance, p_value, percent, points, span
from harness.cards import read_card
from harness.contrast import Estimate, Part
from harness.scoring import MACRO

if TYPE_CHECKING:
    import jinja2

    from harness.board.build import Board
    from harness.board.contrasts import Contrast

BESIDE = ("hit@10", "map@20", "accuracy", "exact_match")
EVAL = "xharness eval"
PLAIN = re.compile(r"[A-Za-z0-9 .,:%+()/−—-]*")  # most cells, and nothing to escape in them


class Raw(str):
    """Markdown that is meant as such; any other text is escaped where it goes into a page."""


@cache
def environment() -> jinja2.Environment:
    """Templates of the board; a value that is no ``Raw`` is escaped when it is put in."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("harness.board"),
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if isinstance(value, Raw) else cell(value),
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def cell(value: object) -> str:
    """Text for a table cell or a paragraph: one line, without a meaning in Markdown or HTML."""
    text = " ".join(str(value).split())
    if PLAIN.fullmatch(text):
        return text
    text = "".join(c for c in text if c.isprintable())
    text = escape(text, quote=False)
    return re.sub(r"([\\`*_\[\]|~$])", lambda m: f"&#{ord(m[1])};", text)


def code(text: str) -> Raw:
    """A command in a table cell."""
    return Raw(f"<code>{cell(text)}</code>")


def link(text: str, target: str) -> Raw:
    """A link to a file of the board."""
    return Raw(f"[{cell(text)}]({quote(target)})")


def picture(text: str, target: str) -> Raw:
    """A figure with what it shows in words."""
    return Raw(f"!{link(text, target)}")


def table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1, tail: int = 0
) -> Raw:
    """A table; the first ``left`` and last ``tail`` columns are set left, the others right."""
    lines = [f"| {' | '.join(cell(header) for header in headers)} |"]
    size = len(headers)
    marks = [":--" if at < left or at >= size - tail else "--:" for at in range(size)]
    lines.append(f"| {' | '.join(marks)} |")
    for row in rows:
        cells = [str(c) if isinstance(c, Raw) else cell(c) for c in row]
        lines.append(f"| {' | '.join(cells)} |")
    return Raw("\n".join(lines))


def write(board: Board) -> dict[str, str]:
    """Name under `leaderboard/` → text."""
    files = {"README.md": _readme(board)}
    page = environment().get_template("checkpoint.md.j2")
    for entry in board.entries:
        files[f"checkpoints/{entry.slug}.md"] = page.render(
            entry=entry,
            facts=_facts(board, entry),
            results=[_result_section(result) for result in entry.results],
        )
    return files


def _readme(board: Board) -> str:
    answered = [one for one in board.contrasts if one.difference is not None]
    return environment().get_template("README.md.j2").render(
        answer=[Raw(sentence) for sentence in answer(board)],
        stand_ins=any(entry.stand_in for entry in board.entries),
        contrasts=_contrast_table(board),
        open_questions=_open_questions(board),
        forest=bool(answered),
        breakdowns=[_breakdown(board, one) for one in answered],
        gains=_gain_table(board.gains) if board.gains else None,
        standings=[_standing(one) for one in board.standings],
        curves=[
            picture(
                f"Curves of {task} over the layers that were pooled; a ring marks the standard"
                " protocol's layer",
                f"figures/layers-{task}.svg",
            )
            for task in layer_curves(board.entries)
        ],
        apart=_apart_table(board.entries),
        flagged=_flagged_table(board.standings),
        coverage=_coverage_table(board),
        published=_published_table(board),
        commands=_command_table(board.entries),
    )  # fmt: skip


def _name(entry: Entry, folder: str = "checkpoints/") -> Raw:
    text = link(entry.model, f"{folder}{entry.slug}.md")
    return Raw(f"{text} *(stand-in)*") if entry.stand_in else text


def _contrast_table(board: Board) -> Raw | None:
    rows = []
    for one in board.contrasts:
        base = board.entry(one.base).model
        what = f"{one.metric}, {one.track}"
        if one.difference is None:
            continue
        low, high = one.interval
        estimate = Estimate(one.difference.estimate.difference, low, high, one.p or 1.0, 0)
        did = one.difference.seen_less_unseen
        notes = [f"{one.claim}: {_count(one)}", one.difference.label]
        notes += ["stand-ins"] * one.stand_ins
        notes += [f"left out: {left}" for left in one.left_out]
        rows.append(
            (
                base, one.name, what, Raw(f"**{points(estimate.difference)}**"),
                _span(low, high), p_value(one.holm),
                "n/a" if did is None else _with_span(did),
                "; ".join(notes),
            )
        )  # fmt: skip
    if not rows:
        return None
    headers = ("base", "contrast", "measure", "A − B", "95 % interval", "Holm p",
               "seen − unseen languages", "what it rests on")  # fmt: skip
    return table(headers, rows, left=3, tail=1)


def _open_questions(board: Board) -> list[str]:
    """Base and measure → the contrasts that nobody can answer yet, and why."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for one in board.contrasts:
        if one.difference is None:
            where = (board.entry(one.base).model, f"{one.metric}, {one.track}")
            found.setdefault(where, {}).setdefault(one.why, []).append(one.name)
    listed = []
    for (base, what), whys in found.items():
        reasons = [f"{', '.join(names)} ({why})" for why, names in whys.items()]
        listed.append(f"{base}, {what}: {'; '.join(reasons)}")
    return listed


def _count(one: Contrast) -> str:
    return f"{len(one.a)} against {len(one.b)} checkpoint{'s' * (len(one.b) > 1)}"


def _breakdown(board: Board, one: Contrast) -> dict[str, object]:
    assert one.difference is not None
    groups: list[tuple[str, Part]] = [
        (by, part) for by, parts in one.difference.groups.items() for part in parts
    ]
    chance = _chance(board, one)
    return {
        "title": f"{one.name} on {board.entry(one.base).model}: {one.metric}, {one.track}",
        "groups": table(
            ("by", "group", "languages", "A − B", "95 % interval", "q"),
            [(by, part.name, " ".join(part.languages), *_estimate(part)) for by, part in groups],
            left=3,
        ),
        "languages": table(
            ("task", "language", "A − B", "95 % interval", "q", ""),
            [
                (part.task, part.name, *_estimate(part),
                 "at chance" if (part.task, part.name) in chance else "")
                for part in one.difference.languages
            ],
            left=2,
        ),
    }  # fmt: skip


def _estimate(part: Part) -> tuple[str, Raw, str]:
    estimate = part.estimate
    return points(estimate.difference), _span(estimate.low, estimate.high), p_value(part.q)


def _with_span(estimate: Estimate) -> Raw:
    return Raw(f"{points(estimate.difference)} {span(estimate.low, estimate.high)}")


def _span(low: float | None, high: float | None) -> Raw:
    return Raw(span(low, high))  # brackets around numbers are no link


def _chance(board: Board, one: Contrast) -> set[tuple[str, str]]:
    """(task, language) where every checkpoint of the contrast is at chance: it says nothing."""
    members = [board.entry(slug).tasks(one.track) for slug in (*one.a, *one.b)]
    shared = [(task, lang) for task in members[0] for lang in members[0][task].values]
    return {
        (task, lang)
        for task, lang in shared
        if all(task in tasks and at_chance(tasks[task], lang) for tasks in members)
    }


def _gain_table(found: Sequence[Gain]) -> Raw:
    headers = ("checkpoint", "kind", "base", "track", "over", "A − B", "95 % interval", "q")
    rows = [
        (_name(gain.entry), gain.entry.kind, gain.base.model, gain.track, gain.label,
         points(gain.difference), _span(gain.low, gain.high), p_value(gain.q))
        for gain in found
    ]  # fmt: skip
    return table(headers, rows, left=5)


def _standing(standing: Standing) -> dict[str, object]:
    several = len(standing.tasks) > 1
    tasks = (*standing.tasks, *standing.beside)
    headers = ["rank", "checkpoint", "kind", "base"]
    headers += [f"mean {standing.metric}"] * several
    headers += [f"{task}" for task in tasks]
    rows = []
    for row in standing.rows:
        cells: list[object] = ["—" if row.rank is None else row.rank, _name(row.entry)]
        cells += [row.entry.kind, row.entry.submission.base or "" if row.entry.submission else ""]
        if several:
            cells.append(_value(row.mean) if row.mean is not None else row.why)
        cells += [_task_cell(row, task) for task in tasks]
        rows.append(cells)
    return {
        "track": standing.track,
        "metric": standing.metric,
        "tasks": [_task_name(task) for task in standing.tasks],
        "beside": list(standing.beside),
        "pictures": [
            picture(
                f"Heat map of {task}, {standing.track}: {standing.metric} of each checkpoint in"
                " each language",
                f"figures/{standing.track}-{task}.svg",
            )
            for task in standing.tasks
        ],
        "ranking": table(headers, rows, left=4),
        "metrics": _metric_table(standing),
        "notes": [
            f"{row.entry.model} is not ranked: {row.why}" for row in standing.rows if row.why
        ],
    }


def _task_name(task: str) -> str:
    card = read_card(task)
    return f"{card.title} ({len(board_units(task, tuple(card.languages)))} languages)"


def _task_cell(row: Row, task: str) -> object:
    result = row.tasks.get(task)
    if result is None:
        return "—"
    text = _value(result.macro)
    return Raw(f"{text} †") if result.contaminated else text


def _value(value: Value | None) -> Raw:
    if value is None:
        return Raw("—")
    return Raw(f"**{percent(value.value)}** [{percent(value.low)}, {percent(value.high)}]")


def _metric_table(standing: Standing) -> Raw:
    """recall@10 beside hit@10 and mAP@20 or accuracy: none of them alone tells enough."""
    present = [
        metric
        for metric in BESIDE
        if any(metric in r.beside for row in standing.rows for r in row.tasks.values())
    ]
    rows = []
    for task in (*standing.tasks, *standing.beside):
        for row in standing.rows:
            if result := row.tasks.get(task):
                beside = [result.beside.get(metric) for metric in present]
                if "hit@10" in present and result.card.kind == "bitext" and result.macro:
                    beside[present.index("hit@10")] = result.macro.value  # one relevant candidate
                rows.append(
                    (task, row.entry.slug, result.metric, _value(result.macro),
                     *("" if value is None else percent(value) for value in beside))
                )  # fmt: skip
    return table(("task", "checkpoint", "headline", "value", *present), rows, left=3)


def _apart_table(entries: Sequence[Entry]) -> Raw | None:
    rows = []
    for entry in entries:
        for result in entry.results:
            why = list(result.notes)
            if result.missing:
                why.append(f"no mean, missing: {' '.join(result.missing)}")
            if why:
                rows.append(
                    (_name(entry), result.task, result.track, result.metric,
                     _value(result.macro), "; ".join(why))
                )  # fmt: skip
    headers = ("checkpoint", "task", "track", "metric", "mean", "why")
    return table(headers, rows, left=4, tail=1) if rows else None


def _flagged_table(standings: Sequence[Standing]) -> Raw | None:
    rows = [
        (standing.track, task, one.checkpoint or "all checkpoints", one.lang,
         percent(one.score), percent(one.predicted))
        for standing in standings
        for task, found in gate(standing).items()
        for one in found
    ]  # fmt: skip
    headers = ("track", "task", "checkpoint", "language", "score", "predicted")
    return table(headers, rows, left=4) if rows else None


def _coverage_table(board: Board) -> Raw:
    cards = {r.task: r.card for entry in board.entries for r in entry.results}
    tasks = sorted(cards)
    sizes = {task: len(board_units(task, tuple(cards[task].languages))) for task in tasks}
    rows = []
    for entry in board.entries:
        revision = entry.revision or "pending"
        cells: list[object] = [_name(entry), entry.kind, code(revision[:18])]
        for task in tasks:
            found = [r for r in entry.results if r.task == task]
            whole = sorted({r.track for r in found if r.regular})
            partial = max((len(r.values) for r in found), default=0)
            cells.append(", ".join(whole) or (f"{partial} of {sizes[task]}" if found else "—"))
        seen = ", ".join(sorted(entry.contaminated)) or "—"
        cells += [seen, "measured" if entry.results else "not measured"]
        rows.append(cells)
    headers = ("checkpoint", "kind", "revision", *tasks, "trained on", "provenance")
    return table(headers, rows, left=len(headers))


def _published_table(board: Board) -> Raw:
    rows = [
        (one.model, one.task, one.metric, f"{one.value:.1f}", one.languages, one.source, one.caveat)
        for one in board.published
    ]
    headers = ("model", "task", "metric", "value", "languages", "source", "caveat")
    return table(headers, rows, left=3, tail=2)


def _command_table(entries: Sequence[Entry]) -> Raw | None:
    rows = [
        (_name(entry), result.task, result.track, code(command(result)))
        for entry in entries
        for result in entry.results
    ]
    return table(("checkpoint", "task", "track", "command"), rows, left=4) if rows else None


def command(result: Result) -> str:
    """The command that measures a result again."""
    meta = result.folded.meta
    resolved = meta["resolved"]
    local = str(meta["revision"]).startswith("local:")
    model = f"./{meta['model']}" if local else f"{meta['model']}@{meta['revision']}"
    words = [*EVAL.split(), model, "--task", result.task]
    if meta["track"] in ("frozen", "native"):
        words += ["--protocol", meta["protocol"]]
    card = result.card
    own = set(board_units(result.task, tuple(card.languages)))
    there = set(meta["languages"])
    if there == set(card.languages) != own:
        words += ["--suite", "full"]
    elif there != own:
        words += [word for unit in meta["languages"] for word in ("--lang", unit)]
    custom = {str(reason).split(" ", 1)[0] for reason in meta["custom"]}
    for name in ("pooling", "layer", "dtype"):
        if name in custom:
            words += [f"--{name}", str(resolved[name])]
    if "prompts" in custom:
        for role, prompt in resolved["prompts"].items():
            words += [f"--prompt-{role}", str(prompt)]
    if meta["split"] != card.split:
        words += ["--split", meta["split"]]
    if meta["limit"] is not None:
        words += ["--limit", str(meta["limit"])]
    if meta["seed"]:
        words += ["--seed", str(meta["seed"])]
    return shlex.join(words)


def _facts(board: Board, entry: Entry) -> list[tuple[str, object]]:
    submission = entry.submission
    facts: list[tuple[str, object]] = [
        ("model", entry.model),
        ("revision", entry.revision or "pending: pinned at its first evaluation"),
    ]
    if entry.results:
        meta = entry.results[0].folded.meta
        facts.append(("parameters", f"{meta['parameters']:,}" if meta.get("parameters") else "—"))
    if submission is None:
        return [*facts, ("submission", "none: nothing is known of its training")]
    base = submission.base or "—"
    facts += [
        ("kind", entry.kind + (", a stand-in: no evidence" if entry.stand_in else "")),
        ("base", link(base, f"{entry.base}.md") if entry.base else base),
        ("trained on", ", ".join(submission.datasets) or "—"),
        ("languages of that data", " ".join(submission.languages) or "—"),
        ("contaminated", ", ".join(sorted(entry.contaminated)) or "none known"),
        ("licence", submission.licence or "not given"),
    ]
    return facts + [("note", note) for note in submission.notes]


def _result_section(result: Result) -> dict[str, Any]:
    meta = result.folded.meta
    rows = result.folded.table.drop_columns(["draws", "keys", "parts"]).to_pylist()
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    lines: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        if row["lang"] != MACRO:
            lines.setdefault((row["lang"], row["direction"]), {})[row["metric"]] = row
    shown = []
    for (lang, direction), values in lines.items():
        first = next(iter(values.values()))
        if not official(result.card, first["group"]):
            continue
        cells: list[object] = [lang, direction or "—", first["n"]]
        for metric in metrics:
            value = values[metric]
            interval = f" [{percent(value['low'])}, {percent(value['high'])}]"
            text = percent(value["value"])
            cells.append(Raw(text + interval) if metric == result.metric else text)
        shown.append(cells)
    why = list(result.notes)
    if result.contaminated:
        why.append("trained on this task's data: not ranked, not contrasted")
    layer = f", layer {result.layer}" if result.layer is not None else ""
    return {
        "title": f"{result.card.title}, {result.track}{layer}",
        "metric": result.metric,
        "mean": None if result.macro is None else _value(result.macro),
        "missing": " ".join(result.missing),
        "why": "; ".join(why),
        "signature": meta["signature"],
        "harness": " ".join(str(v)[:12] for v in (meta.get("harness") or {}).values() if v),
        "device": f"{meta.get('device', '')}, {meta.get('dtype', '')}",
        "file": link(result.path, f"../results/{result.path}"),
        "command": code(command(result)),
        "table": table(("language", "direction", "n", *metrics), shown, left=2),
    }
