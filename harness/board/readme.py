"""The board's README: the answer, the contrasts, the rankings and what they rest on."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harness.analysis.contrasts import Contrast
from harness.analysis.differences import Difference
from harness.analysis.entries import Entry, board_units
from harness.analysis.gains import Gain
from harness.analysis.gather import Board
from harness.analysis.published import Figure
from harness.analysis.standings import Row, Standing, gate
from harness.analysis.variants import recipe_of
from harness.board.answer import answer
from harness.board.figures import layer_curves
from harness.board.markdown import Raw, cell, code, environment, picture, table
from harness.board.pages import command, name, scored
from harness.board.waiting import waiting_table
from harness.board.words import (
    adjusted_p,
    decimals,
    equals,
    p_value,
    percent,
    plain,
    points,
    simultaneous,
    size,
    span,
    word,
)
from harness.cards.task import read_card
from harness.results.scores import indistinct_words
from harness.statistics.contrast import Part

BESIDE = (
    "hit@10", "map@20", "accuracy", "exact_match", "same_language@10", "other_language_recall@10"
)  # fmt: skip
UNLIKE = "not comparable with the board's"


def write(board: Board) -> str:
    """`leaderboard/README.md`."""
    answered = [one for one in board.contrasts if one.difference is not None]
    return environment().get_template("README.md.j2").render(
        answer=[Raw(line) for line in answer(board)],
        study=board.study,
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
        indistinct=_indistinct_table(board.entries),
        coverage=_coverage_table(board),
        waiting=waiting_table(board.entries),
        published=_published_table(board),
        published_tables=_published_tables(board),
        commands=_command_table(board.entries),
    )  # fmt: skip


def _contrast_table(board: Board) -> Raw | None:
    rows = []
    for one in board.contrasts:
        if one.difference is None:
            continue
        verdict = one.verdict
        notes = [f"{one.claim}: {_count(board, one)}", one.difference.label]
        notes += ["stand-ins"] * one.stand_ins
        notes += [f"left out: {left}" for left in one.left_out]
        rows.append(
            (
                board.entry(one.base).model, one.name, f"{one.metric}, {one.track}",
                Raw(f"**{word(verdict)}**"), Raw(f"**{size(verdict)}**"), _unbroken(plain(verdict)),
                _unbroken(simultaneous(verdict)), p_value(verdict.p), adjusted_p(verdict),
                _above_chance(one.difference, _indistinct(board, one)), _seen(one),
                "; ".join(notes),
            )
        )  # fmt: skip
    if not rows:
        return None
    headers = ("base", "contrast", "measure", "verdict", "A − B", "95 % interval", "simultaneous",
               "p", "adjusted p", "above chance", "seen − unseen languages",
               "evidence (runs, seeds, tasks)")  # fmt: skip
    return table(headers, rows, left=4, tail=1)


def _open_questions(board: Board) -> list[str]:
    """Base and measure → the contrasts that nobody can answer yet, and why."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    waiting: list[str] = []
    for one in board.contrasts:
        base = board.entry(one.base)
        if not base.results:
            waiting.append(base.model)
        elif one.difference is None:
            where = (base.model, f"{one.metric}, {one.track}")
            found.setdefault(where, {}).setdefault(one.why, []).append(one.name)
    listed = []
    for (model, what), whys in found.items():
        reasons = [f"{', '.join(names)} ({why})" for why, names in whys.items()]
        listed.append(f"{model}, {what}: {'; '.join(reasons)}")
    if waiting:
        listed.append(f"all of {', '.join(dict.fromkeys(waiting))}: the base is not measured")
    return listed


def _above_chance(difference: Difference, tied: set[tuple[str, str]]) -> str:
    """``tied``: the cells (a language of a task) with many indistinct candidates."""
    if (part := difference.above_chance) is not None:
        verdict = difference.line_verdict(part, adjusted=False)
        text = f"{size(verdict)} {_unbroken(plain(verdict))}, {part.name}"
        left = set(part.columns)
    elif difference.at_chance:
        return "none"
    else:
        text, left = "all", {(part.task, part.name) for part in difference.languages}
    indistinct = len(left & tied)
    return Raw(f"{text}; {indistinct} with indistinct candidates" if indistinct else text)


def _seen(one: Contrast) -> str:
    """Seen − unseen, with the tasks that have languages of both kinds."""
    assert one.difference is not None
    did = one.difference.seen_less_unseen
    if did is None:
        return "n/a"
    places = decimals(did.se, did.difference, did.low, did.high)
    interval = _unbroken(span(did.low, did.high, places))
    p = "unadjusted" if one.seen_holm is None else f"Holm p {equals(one.seen_holm)}"
    return Raw(
        f"{points(did.difference, places)} {interval}, {p} ({cell(one.difference.seen_label)})"
    )


def _count(board: Board, one: Contrast) -> str:
    return " against ".join(_side(board, slugs) for slugs in (one.a, one.b))


def _side(board: Board, slugs: Sequence[str]) -> str:
    """How many checkpoints a side has; seeds of one recipe are told as such."""
    entries = [board.entry(slug) for slug in slugs]
    origins = {recipe_of(entry) or entry.slug for entry in entries}
    if len(origins) == 1 < len(entries):
        return f"{len(entries)} seeds"
    text = f"{len(origins)} checkpoint{'s' * (len(origins) > 1)}"
    return text if len(origins) == len(entries) else f"{text} in {len(entries)} seeds"


def _breakdown(board: Board, one: Contrast) -> dict[str, object]:
    assert one.difference is not None
    groups: list[tuple[str, Part]] = [
        (by, part) for by, parts in one.difference.groups.items() for part in parts
    ]
    tied = _indistinct(board, one)
    return {
        "title": f"{one.name} on {board.entry(one.base).model}: {one.metric}, {one.track}",
        "groups": table(
            ("by", "group", "languages", "A − B", "95 % interval", "q", "verdict"),
            [
                (by, part.name, " ".join(part.languages), *_line(one.difference, part))
                for by, part in groups
            ],
            left=3, tail=1,
        ),
        "languages": table(
            ("task", "language", "A − B", "95 % interval", "q", "verdict"),
            [
                (part.task, part.name, *_line(one.difference, part, tied))
                for part in one.difference.languages
            ],
            left=2, tail=1,
        ),
    }  # fmt: skip


def _line(
    difference: Difference, part: Part, tied: Collection[tuple[str, str]] = ()
) -> tuple[str, Raw, str, str]:
    """``tied``: the cells (a language of a task) with many indistinct candidates."""
    verdict = difference.line_verdict(part)
    said = f"{word(verdict)}, indistinct" if (part.task, part.name) in tied else word(verdict)
    return size(verdict), _unbroken(plain(verdict)), p_value(part.q), said


def _unbroken(interval: str) -> Raw:
    # Brackets around numbers are no link; a narrow column breaks a line at any blank.
    return Raw(interval.replace(" ", "&nbsp;"))


def _indistinct(board: Board, one: Contrast) -> set[tuple[str, str]]:
    """(task, language) where a checkpoint of the contrast has many candidates of equal ids."""
    members = [board.entry(slug).tasks(one.track) for slug in (*one.a, *one.b)]
    return {(task, lang) for tasks in members for task in tasks for lang in tasks[task].indistinct}


def _gain_table(found: Sequence[Gain]) -> Raw:
    headers = ("checkpoint", "kind", "base", "track", "over", "verdict", "A − B", "95 % interval",
               "p", "adjusted p")  # fmt: skip
    rows = [
        (name(gain.entry), gain.entry.kind, gain.base.model, gain.track, gain.label,
         word(gain.verdict), size(gain.verdict), _unbroken(plain(gain.verdict)),
         p_value(gain.verdict.p), adjusted_p(gain.verdict))
        for gain in found
    ]  # fmt: skip
    return table(headers, rows, left=6)


def _standing(standing: Standing) -> dict[str, object]:
    several = len(standing.tasks) > 1
    tasks = (*standing.tasks, *standing.beside)
    headers = ["rank", "checkpoint", "kind", "base"]
    headers += [f"mean {standing.metric}"] * several
    headers += [f"{task}" for task in tasks]
    against_base = any(row.gain is not None for row in standing.rows)
    headers += ["against its base"] * against_base
    rows = []
    for row in standing.rows:
        cells: list[object] = ["—" if row.rank is None else row.rank, name(row.entry)]
        cells += [row.entry.kind, row.entry.submission.base or "" if row.entry.submission else ""]
        if several:
            cells.append(scored(row.mean) if row.mean is not None else row.why)
        cells += [_task_cell(row, task) for task in tasks]
        if against_base:
            cells.append(_against_base(row))
        rows.append(cells)
    return {
        "track": standing.track,
        "metric": standing.metric,
        "tasks": [_taskname(task) for task in standing.tasks],
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


def _against_base(row: Row) -> str:
    if row.gain is None:
        return "—"
    verdict = row.gain.verdict
    return Raw(f"{size(verdict)} {_unbroken(plain(verdict))}, {word(verdict)}")


def _taskname(task: str) -> str:
    card = read_card(task)
    return f"{card.title} ({len(board_units(task, tuple(card.languages)))} languages)"


def _task_cell(row: Row, task: str) -> object:
    result = row.tasks.get(task)
    if result is None:
        return "—"
    text = scored(result.macro)
    return Raw(f"{text} †") if result.contaminated else text


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
                    (task, row.entry.slug, result.metric, scored(result.macro),
                     *("" if value is None else percent(value) for value in beside))
                )  # fmt: skip
    return table(("task", "checkpoint", "headline", "value", *present), rows, left=3)


def _apart_table(entries: Sequence[Entry]) -> Raw | None:
    rows = []
    curves = _curve_results(entries)
    for entry in entries:
        for result in entry.results:
            if result.path in curves:
                continue
            why = list(result.notes)
            if result.missing:
                why.append(f"no mean, missing: {' '.join(result.missing)}")
            if why:
                rows.append(
                    (name(entry), result.task, result.track, result.metric,
                     scored(result.macro), "; ".join(why))
                )  # fmt: skip
    headers = ("checkpoint", "task", "track", "metric", "mean", "why")
    return table(headers, rows, left=4, tail=1) if rows else None


def _indistinct_table(entries: Sequence[Entry]) -> Raw | None:
    """Where more than 5 % of a language's candidates share their token ids with another."""
    curves = _curve_results(entries)
    rows = [
        (name(entry), result.task, result.track,
         indistinct_words(result.indistinct).partition(": ")[2])
        for entry in entries
        for result in entry.results
        if result.indistinct and result.path not in curves
    ]  # fmt: skip
    return table(("checkpoint", "task", "track", "share"), rows, left=4) if rows else None


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


def _coverage_table(board: Board) -> Raw | None:
    cards = {r.task: r.card for entry in board.entries for r in entry.results}
    tasks = sorted(cards)
    sizes = {task: len(board_units(task, tuple(cards[task].languages))) for task in tasks}
    rows = []
    for entry in (entry for entry in board.entries if entry.results):
        cells: list[object] = [name(entry), entry.kind, code((entry.revision or "")[:18])]
        for task in tasks:
            found = [r for r in entry.results if r.task == task]
            whole = sorted({r.track for r in found if r.regular})
            partial = max((len(r.values) for r in found), default=0)
            cells.append(", ".join(whole) or (f"{partial} of {sizes[task]}" if found else "—"))
        seen = ", ".join(sorted(entry.contaminated)) or "—"
        made = entry.submission.conversion if entry.submission else None
        state = f"measured, safetensors from {made}" if made else "measured"
        cells += [seen, f"{state}; not whole: {entry.why}" if entry.why else state]
        rows.append(cells)
    headers = ("checkpoint", "kind", "revision", *tasks, "trained on targets", "provenance")
    return table(headers, rows, left=len(headers)) if rows else None


def _published_table(board: Board) -> Raw:
    rows = [
        (one.model, one.task, one.metric, one.shown, one.languages or "not said", one.source,
         one.caveat, one.apart or "—")
        for one in board.published
        if not one.table
    ]  # fmt: skip
    headers = ("model", "task", "metric", "value", "languages", "source", "caveat", UNLIKE)
    return table(headers, rows, left=3, tail=3)


def _published_tables(board: Board) -> list[tuple[str, str, str, Raw]]:
    """Title, source, caveat and table of each that is shown whole; a model is a column."""
    found: dict[str, list[Figure]] = {}
    for one in board.published:
        if one.table:
            found.setdefault(one.table, []).append(one)
    return [
        (title, figures[0].source, figures[0].caveat, _by_task(figures))
        for title, figures in found.items()
    ]


def _by_task(figures: Sequence[Figure]) -> Raw:
    models = list(dict.fromkeys(one.model for one in figures))
    values = {(one.task, one.model): one.shown for one in figures}
    rows = [
        (one.task, one.metric, one.languages or "not said",
         *(values[one.task, model] for model in models), one.apart or "—")
        for one in {one.task: one for one in figures}.values()
    ]  # fmt: skip
    return table(("task", "metric", "languages", *models, UNLIKE), rows, left=2, tail=1)


def _curve_results(entries: Sequence[Entry]) -> set[str]:
    """Results that are in the curves over the layers, the protocol's own layer aside."""
    return {
        result.path
        for lines in layer_curves(entries).values()
        for _, results in lines
        for result in results
        if result.notes
    }


def _command_table(entries: Sequence[Entry]) -> Raw | None:
    curves = _curve_results(entries)
    rows = [
        (name(entry), result.task, result.track, code(command(result, every_layer=several)))
        for entry in entries
        for result in entry.results
        for several in [
            any(other.path in curves for other in entry.results if other.task == result.task)
        ]
        if result.path not in curves
    ]
    return table(("checkpoint", "task", "track", "command"), rows, left=4) if rows else None
