"""The answer to the project's question with its uncertainty and scope, or why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from harness.analysis.contrasts import UNMATCHED, Contrast
from harness.analysis.gains import Gain
from harness.analysis.gather import Board
from harness.board.markdown import cell
from harness.board.words import adjusted_p, figures, plain, size, word
from harness.cards.catalogue import read_card
from harness.statistics.hierarchy import Claim

FIRST = "English QA − base"
AGAINST = {
    "multilingual QA − base": "multilingual QA against {base}",
    "multilingual QA − English QA": "multilingual QA against English QA",
    "English NLI − base": "English NLI against {base}",
}

EVIDENCE: Mapping[Claim, str] = {
    "objective": "the kind of training on this base, from three independent checkpoints a side or"
    " more",
    "recipe": "the recipes alone, of which a side has one",
    "descriptive": "these checkpoints alone, which are fewer than a claim needs",
}


def answer(board: Board) -> list[str]:
    """Lines of Markdown: the answer, the other objectives, and the scope of both."""
    lead = lead_contrast(board)
    if lead is None:
        return _not_yet([one for one in board.contrasts if one.track == "frozen"])
    assert lead.difference is not None  # it is among the answered
    found = {one.name: one for one in _answered(board).get(lead.base, [])}
    a, b = lead.name.split(" − ")
    without = _without(board, lead.base)
    against = without if b == "base" else cell(b)
    first = (
        f"On {cell(board.entry(lead.base).title)}, {_claim(lead, a)}: {_size(lead)}, against"
        f" {against}. (recall@10, frozen vectors, {cell(_over(lead))}.)"
    )
    beside = [
        f"{what.format(base=without)}: **{word(found[key].verdict)}**,"
        f" {figures(found[key].verdict)}{_elsewhere(found[key], lead)}{_alone(found[key])}"
        for key, what in AGAINST.items()
        if key in found and found[key] is not lead
    ]
    beside += _other_kinds(board, lead.base, {part.task for part in lead.difference.languages})
    return [first, "", *(f"- {line}" for line in beside), "", _reach(list(found.values()))]


def _without(board: Board, base: str) -> str:
    """What a base lacks; one may itself have been trained for something else."""
    trained = board.entry(base).kind not in ("none", "not submitted")
    return f"no {'further' if trained else 'intermediate'} training"


def lead_contrast(board: Board) -> Contrast | None:
    """The contrast that answers the project's question: of the base with the most answers that are
    evidence, then with the most answers. None where no base has an answer."""
    answered = _answered(board)
    if not answered:
        return None
    bases = sorted(
        answered,
        key=lambda base: (
            -sum(not one.stand_ins for one in answered[base]), -len(answered[base]), base
        ),
    )  # fmt: skip
    found = {one.name: one for one in answered[bases[0]]}
    return found.get(FIRST) or next(iter(found.values()))


def _answered(board: Board) -> dict[str, list[Contrast]]:
    """Base → its contrasts of frozen vectors that have an answer."""
    found: dict[str, list[Contrast]] = {}
    for one in board.contrasts:
        if one.track == "frozen" and one.difference is not None:
            found.setdefault(one.base, []).append(one)
    return found


def _subject(lead: Contrast, kind: str) -> str:
    assert lead.difference is not None  # it is answered
    if lead.claim != "recipe" or lead.difference.evidence.checkpoints[0] > 1:
        return f"intermediate training on {cell(kind)}"
    return f"one recipe of intermediate training on {cell(kind)} ({len(lead.a)} seeds)"


def _reach(found: Sequence[Contrast]) -> str:
    """The scope of the answers."""
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
    carried = []
    for claim, what in EVIDENCE.items():
        if names := [cell(one.name) for one in found if one.claim == claim]:
            carried.append(f"{', '.join(names)}: {what}")
    return f"What each answer is about, in these languages. {'; '.join(carried)}."


def _not_yet(frozen: list[Contrast]) -> list[str]:
    why = sorted({one.why for one in frozen if one.name == FIRST})
    reason = cell("; ".join(why)) if why else "no variant with its base is on the board"
    return [
        "**Not known.** To what extent intermediate training on English QA generalises to"
        f" cross-lingual retrieval cannot be answered yet: {reason}.",
        "It takes a base and a checkpoint trained from it on English QA, both measured whole under"
        " the standard protocol; what is there so far follows.",
    ]


def _claim(lead: Contrast, kind: str) -> str:
    """The sentence that the verdict's word makes."""
    verdict, subject, target = lead.verdict, _subject(lead, kind), "cross-lingual retrieval"
    if verdict.word in ("helps", "hurts"):
        return f"{subject} **{verdict.word}** {target}"
    if verdict.word == "equal within δ":
        return f"{subject} leaves {target} **{word(verdict)}**"
    if verdict.word == "not known":
        return f"what {subject} does to {target} is **{word(verdict)}**"
    return (
        f"{subject} made **no clear difference** to {target} (no statistically significant"
        f" difference: {adjusted_p(verdict)}; the plain interval is unadjusted)"
    )


def _elsewhere(one: Contrast, lead: Contrast) -> str:
    """Name its tasks where they are not those of the first answer: the points of two means do not
    compare.
    """
    return f", over {cell(_over(one))}" if one.tasks != lead.tasks else ""


def _alone(one: Contrast) -> str:
    """Say where it leaves out checkpoints that other answers are over."""
    unmatched = any(left.why == UNMATCHED for left in one.left_out)
    return ", between the checkpoints of one design alone" if unmatched else ""


def _size(one: Contrast) -> str:
    assert one.difference is not None
    text = figures(one.verdict)
    if (above := one.difference.above_chance) is not None:
        verdict = one.difference.line_verdict(above, adjusted=False)
        text += f"; {size(verdict)} {plain(verdict)} where not at chance, {above.name}"
    return text


def _over(one: Contrast) -> str:
    assert one.difference is not None
    counts = Counter(task for task, _ in one.difference.columns)
    return ", ".join(
        f"{read_card(task).title} in {count} languages" for task, count in counts.items()
    )


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
        among = f", the best of {len(others) + 1}" * bool(others)
        lines.append(
            f"{cell(kind)} against {_without(board, base)}: **{word(best.verdict)}**,"
            f" {figures(best.verdict)}{among} (exploratory)"
        )
    return lines
