"""The page of the contrasts: every question of every base, its answer and the evidence."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harness.analysis.contrasts import Contrast
from harness.analysis.differences import Difference
from harness.analysis.gains import Gain
from harness.analysis.gather import Board
from harness.analysis.variants import recipe_of
from harness.board.figures import drawn_tasks, effects_name, forest_name, language_words
from harness.board.markdown import Raw, cell, environment, picture, table, unbroken
from harness.board.pages import named
from harness.board.words import (
    adjusted_p,
    decimals,
    equals,
    p_value,
    plain,
    points,
    simultaneous,
    size,
    span,
    word,
)
from harness.cards.languages import read_languages
from harness.statistics.contrast import Part


def write(board: Board) -> str:
    """`leaderboard/contrasts.md`."""
    answered = [one for one in board.contrasts if one.difference is not None]
    bases = list(dict.fromkeys(one.base for one in answered))
    return environment().get_template("contrasts.md.j2").render(
        bases=[
            _base(board, base, [one for one in answered if one.base == base]) for base in bases
        ],
        open_questions=open_questions(board),
        gains=_gain_table(board.gains) if board.gains else None,
    )  # fmt: skip


def _base(board: Board, base: str, answered: Sequence[Contrast]) -> dict[str, object]:
    what = "Forest plot: differences in points with plain and simultaneous intervals"
    return {
        "title": board.entry(base).title,
        "forest": picture(what, forest_name(base)),
        "answers": _answer_table(answered),
        "evidence": _evidence_table(board, answered),
        "breakdowns": [_breakdown(board, one) for one in answered],
    }


def _answer_table(answered: Sequence[Contrast]) -> Raw:
    rows = []
    for one in answered:
        verdict = one.verdict
        rows.append(
            (
                one.name, f"{one.metric}, {one.track}", Raw(f"**{word(verdict)}**"),
                Raw(f"**{size(verdict)}**"), unbroken(plain(verdict)),
                unbroken(simultaneous(verdict)), p_value(verdict.p), adjusted_p(verdict),
            )
        )  # fmt: skip
    headers = ("contrast", "measure", "verdict", "A − B", "95 % interval", "simultaneous", "p",
               "adjusted p")  # fmt: skip
    return table(headers, rows, left=3)


def _evidence_table(board: Board, answered: Sequence[Contrast]) -> Raw:
    rows = []
    for one in answered:
        assert one.difference is not None  # it is answered
        notes = [f"{one.claim}: {_count(board, one)}", one.difference.label]
        notes += ["stand-ins"] * one.stand_ins
        notes += _left_out(board, one)
        above = _above_chance(one.difference, _indistinct(board, one))
        rows.append((one.name, one.track, above, _seen(one), "; ".join(notes)))
    headers = ("contrast", "track", "above chance", "seen − unseen languages",
               "evidence (runs, seeds, tasks)")  # fmt: skip
    return table(headers, rows, left=len(headers))


def _left_out(board: Board, one: Contrast) -> list[str]:
    """What is not used, by reason; a variant of which nothing is used has one name."""
    of_reason: dict[str, set[str]] = {}
    for left in one.left_out:
        of_reason.setdefault(left.why, set()).add(left.slug)
    notes = []
    for why, slugs in of_reason.items():
        whole = [e for e in board.shown if {m.slug for m in e.members or (e,)} <= slugs]
        rest = slugs - {member.slug for entry in whole for member in entry.members}
        named = [entry.title for entry in whole if entry.members]
        named += [board.entry(slug).title for slug in sorted(rest)]
        notes.append(f"left out, {why}: {' · '.join(named)}")
    return notes


def open_questions(board: Board) -> list[str]:
    """Base and measure → the contrasts that nobody can answer yet, and why."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    waiting: list[str] = []
    for one in board.contrasts:
        base = board.entry(one.base)
        if not base.results:
            waiting.append(base.title)
        elif one.difference is None:
            where = (base.title, f"{one.metric}, {one.track}")
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
        text = f"{size(verdict)} {unbroken(plain(verdict))}, {part.name}"
        left = set(part.columns)
    elif difference.chance:
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
    interval = unbroken(span(did.low, did.high, places))
    p = "unadjusted" if one.seen_holm is None else f"Holm p {equals(one.seen_holm)}"
    return Raw(
        f"{points(did.difference, places)} {interval}, {p} ({cell(one.difference.seen_label)})"
    )


def _count(board: Board, one: Contrast) -> str:
    return " against ".join(_side(board, slugs) for slugs in (one.a, one.b))


def _side(board: Board, slugs: Sequence[str]) -> str:
    """How many checkpoints a side has; seeds of one recipe are counted as seeds."""
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
    tied, names = _indistinct(board, one), read_languages()
    return {
        "title": f"{one.name}: {one.metric}, {one.track}",
        "pictures": [
            picture(f"{one.name}: each language of {task}", effects_name(one, task))
            for task in drawn_tasks(one)
        ],
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
                (part.task, language_words(part.name, names), *_line(one.difference, part, tied))
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
    return size(verdict), unbroken(plain(verdict)), p_value(part.q), said


def _indistinct(board: Board, one: Contrast) -> set[tuple[str, str]]:
    """(task, language) where a checkpoint of the contrast has many candidates of equal ids."""
    members = [board.entry(slug).tasks(one.track) for slug in (*one.a, *one.b)]
    return {(task, lang) for tasks in members for task in tasks for lang in tasks[task].indistinct}


def _gain_table(found: Sequence[Gain]) -> Raw:
    headers = ("checkpoint", "over", "verdict", "A − B", "95 % interval", "p", "adjusted p")
    rows = [
        (named(gain.entry), f"{gain.label}, {gain.track}", word(gain.verdict), size(gain.verdict),
         unbroken(plain(gain.verdict)), p_value(gain.verdict.p), adjusted_p(gain.verdict))
        for gain in found
    ]  # fmt: skip
    return table(headers, rows, left=3)
