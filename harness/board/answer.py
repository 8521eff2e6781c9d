"""The answer to the project's question, with its uncertainty and its reach, or why not yet."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.contrasts import Contrast
from harness.analysis.gains import Gain
from harness.analysis.gather import Board
from harness.board.markdown import cell
from harness.board.words import p_value, points, span

FIRST = "English QA − base"
LEVEL = 0.05
AGAINST = {
    "multilingual QA − base": "multilingual QA against no intermediate training",
    "multilingual QA − English QA": "multilingual QA against English QA",
    "English NLI − base": "English NLI against no intermediate training",
}


def answer(board: Board) -> list[str]:
    """Lines of Markdown: the answer, what stands beside it, and how far all of it carries."""
    frozen = [one for one in board.contrasts if one.track == "frozen"]
    bases = list(dict.fromkeys(one.base for one in frozen))
    answered = {
        base: [one for one in frozen if one.base == base and one.difference is not None]
        for base in bases
    }
    # The base with the most answers that are evidence, then with the most answers.
    bases.sort(key=lambda b: (-sum(not one.stand_ins for one in answered[b]), -len(answered[b]), b))
    if not bases or not answered[bases[0]]:
        return _not_yet(frozen)
    base = bases[0]
    found = {one.name: one for one in answered[base]}
    lead = found.get(FIRST) or next(iter(found.values()))
    assert lead.difference is not None  # it is among the answered
    a, b = lead.name.split(" − ")
    first = (
        f"On {cell(board.entry(base).model)}, {_subject(lead, a)} {_verb(lead)} cross-lingual"
        f" retrieval: **{_size(lead)}** against"
        f" {'no intermediate training' if b == 'base' else cell(b)}. (recall@10, frozen vectors,"
        f" {cell(_over(board, lead))}; *p* by Holm's method.)"
    )
    beside = [
        f"{what}: {_size(found[key])}"
        for key, what in AGAINST.items()
        if key in found and found[key] is not lead
    ]
    beside += _other_kinds(board, base, {part.task for part in lead.difference.languages})
    missing = [f"{one.name} ({one.why})" for one in frozen
               if one.base == base and one.difference is None]  # fmt: skip
    if missing:
        beside.append(f"not answered yet: {cell('; '.join(missing))}")
    return [first, "", *(f"- {line}" for line in beside), "", _reach(list(found.values()))]


def _subject(lead: Contrast, kind: str) -> str:
    if lead.claim != "recipe":
        return f"intermediate training on {cell(kind)}"
    return f"one recipe of intermediate training on {cell(kind)} ({len(lead.a)} seeds)"


def _reach(found: Sequence[Contrast]) -> str:
    """How far the answers carry."""
    if any(one.stand_ins for one in found):
        return (
            "**These checkpoints are stand-ins made to try the board with, so this is no evidence"
            " about any kind of training.**"
        )
    claims = {one.claim for one in found}
    if claims == {"descriptive"}:
        return (
            "With fewer than three independent checkpoints a side this describes these checkpoints"
            " in these languages, not kinds of training at large."
        )
    if "objective" not in claims:
        return (
            "Each kind is one recipe here, so this is about these recipes on this base, in these"
            " languages, not about kinds of training at large."
        )
    return "All of it is for these languages; *what it rests on* says how far each answer carries."


def _not_yet(frozen: list[Contrast]) -> list[str]:
    why = sorted({one.why for one in frozen if one.name == FIRST})
    reason = cell("; ".join(why)) if why else "no variant with its base is on the board"
    return [
        "To what extent intermediate training on English QA generalises to cross-lingual retrieval"
        f" cannot be answered yet: {reason}.",
        "It takes a base and a checkpoint trained from it on English QA, both measured whole under"
        " the standard protocol; what is there so far follows.",
    ]


def _verb(one: Contrast) -> str:
    low, high = one.interval
    assert one.difference is not None
    unsure = low is None or high is None or low <= 0 <= high
    if unsure or one.holm is None or one.holm >= LEVEL:
        return "made no separable difference to"
    return "raised" if one.difference.estimate.difference > 0 else "lowered"


def _size(one: Contrast) -> str:
    assert one.difference is not None
    holm = p_value(one.holm)
    sign = "*p* " + (holm if holm.startswith("<") else f"= {holm}")
    size = f"{points(one.difference.estimate.difference)} points {span(*one.interval)} ({sign}"
    if (above := one.difference.above_chance) is not None:
        value = points(above.estimate.difference)
        value += f" {span(above.estimate.low, above.estimate.high)}"
        size += f"; {value} where not at chance, {above.name}"
    return f"{size})"


def _over(board: Board, one: Contrast) -> str:
    assert one.difference is not None
    counts: dict[str, int] = {}
    for part in one.difference.languages:
        counts[part.task] = counts.get(part.task, 0) + 1
    return ", ".join(f"{task} in {count} languages" for task, count in counts.items())


def _other_kinds(board: Board, base: str, tasks: set[str]) -> list[str]:
    """The other objectives over the same tasks, exploratory: the largest gain of each kind."""
    named = {"English QA", "multilingual QA", "English NLI"}
    kinds: dict[str, list[Gain]] = {}
    for gain in board.gains:
        if gain.base.slug != base or gain.track != "frozen" or set(gain.tasks) != tasks:
            continue
        if gain.entry.kind not in named:
            kinds.setdefault(gain.entry.kind, []).append(gain)
    lines = []
    for kind, (best, *others) in kinds.items():
        size = f"{points(best.difference)} points {span(best.low, best.high)}"
        among = f", the best of {len(others) + 1}" * bool(others)
        lines.append(f"{cell(kind)} against no intermediate training: {size}{among} (exploratory)")
    return lines
