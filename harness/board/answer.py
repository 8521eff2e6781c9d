"""The answer to the project's question, in two sentences with their uncertainty, or why not yet."""

from __future__ import annotations

from harness.board.contrasts import Contrast
from harness.board.gather import Board
from harness.board.markdown import cell
from harness.board.words import p_value, points, span

FIRST = "English QA − base"
LEVEL = 0.05
VERSUS = "multilingual QA − English QA"
OTHERS = {"multilingual QA − base": "multilingual QA", "English NLI − base": "English NLI"}


def answer(board: Board) -> list[str]:
    """Two sentences as Markdown: what the contrasts say, and how far that carries."""
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
    name = cell(board.entry(base).model)
    lead = found.get(FIRST) or next(iter(found.values()))
    assert lead.difference is not None  # it is among the answered
    first = (
        f"On {name}, intermediate training on {cell(lead.name.split(' − ')[0])} {_verb(lead)}"
        f" cross-lingual retrieval (recall@10, frozen vectors, {cell(_over(board, lead))}):"
        f" **{_size(lead)}** against"
        f" {'no intermediate training' if lead.name.endswith('base') else 'English QA'}"
    )
    others = [f"{what}: {_size(found[key])}" for key, what in OTHERS.items()
              if key in found and found[key] is not lead]  # fmt: skip
    others += _other_kinds(board, base, {part.task for part in lead.difference.languages})
    first += f"; {'; '.join(others)}." if others else "."
    second = []
    if VERSUS in found and found[VERSUS] is not lead:
        second.append(f"Multilingual against English QA: {_size(found[VERSUS])}")
    missing = [f"{one.name} ({one.why})" for one in frozen
               if one.base == base and one.difference is None]  # fmt: skip
    if missing:
        second.append(f"not answered yet: {cell('; '.join(missing))}")
    if any(one.stand_ins for one in found.values()):
        second.append(
            "**these checkpoints are stand-ins made to try the board with, so this is no evidence"
            " about any kind of training**"
        )
    elif all(one.claim == "descriptive" for one in found.values()):
        second.append(
            "with fewer than three independent checkpoints a side this describes these"
            " checkpoints in these languages, not kinds of training at large"
        )
    else:
        second.append("all of it for these languages")
    text = "; ".join(second)
    return [first, f"{text[0].upper()}{text[1:]}."]


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
    sign = "Holm p " + (holm if holm.startswith("<") else f"= {holm}")
    size = f"{points(one.difference.estimate.difference)} points {span(*one.interval)} ({sign})"
    if (above := one.difference.above_chance) is None:
        return size
    value = f"{points(above.estimate.difference)} {span(above.estimate.low, above.estimate.high)}"
    return f"{size[:-1]}; {value} where not at chance, {above.name})"


def _over(board: Board, one: Contrast) -> str:
    assert one.difference is not None
    counts: dict[str, int] = {}
    for part in one.difference.languages:
        counts[part.task] = counts.get(part.task, 0) + 1
    return ", ".join(f"{task} in {count} languages" for task, count in counts.items())


def _other_kinds(board: Board, base: str, tasks: set[str]) -> list[str]:
    """The other objectives over the same tasks, exploratory: the largest gain of each kind."""
    named = {"English QA", "multilingual QA", "English NLI"}
    kinds: dict[str, str] = {}
    for gain in board.gains:
        if gain.base.slug != base or gain.track != "frozen" or set(gain.tasks) != tasks:
            continue
        if gain.entry.kind not in named:
            size = f"{points(gain.difference)} points {span(gain.low, gain.high)}"
            kinds.setdefault(gain.entry.kind, f"{cell(gain.entry.kind)}: up to {size}, exploratory")
    return list(kinds.values())
