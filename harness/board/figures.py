"""The figures of the board: small hand-made SVG, readable in light and dark, with text for those
who do not see them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from harness.analysis.contrasts import Contrast
from harness.analysis.gains import Gain, widest
from harness.analysis.gather import Board
from harness.analysis.standings import Standing
from harness.board import svg
from harness.board.answer import lead_contrast
from harness.board.curves import curve_chart, layer_curves
from harness.board.words import plain, size, told, word
from harness.cards.catalogue import read_card
from harness.cards.languages import Language, read_languages
from harness.statistics.verdict import Verdict

CONTRASTS_SHOWN = 12  # in the README's forest plot
FAINTEST = 0.005  # of the largest effect in a map: below half a point no colour is a full one
COLUMNS_SHOWN = 8  # variants in a map of effects


def draw(board: Board) -> dict[str, str]:
    """Name under `leaderboard/` → SVG, for every figure that has something to show."""
    files: dict[str, str] = {}
    names = {entry.slug: entry.title for entry in board.entries}
    answered = [one for one in board.contrasts if one.difference is not None]
    if answered:
        lead = lead_contrast(board)
        first = [one for one in answered if lead is None or one.base == lead.base]
        others = [one for one in answered if one not in first]
        files["figures/contrasts.svg"] = forest([*first, *others][:CONTRASTS_SHOWN], names)
    for base in dict.fromkeys(one.base for one in answered):
        files[forest_name(base)] = forest([one for one in answered if one.base == base], names)
    for one in answered:
        for task in drawn_tasks(one):
            files[effects_name(one, task)] = effects(one, task, names[one.base])
    for standing in board.standings:
        for task in standing.tasks:
            if columns := effect_columns(board, standing, task):
                files[effect_map_name(standing, task)] = effect_map(standing, task, columns)
    for task, lines in layer_curves(board.entries).items():
        files[f"figures/layers-{task}.svg"] = curve_chart(task, lines)
    return files


def forest_name(base: str) -> str:
    """The file of a base's forest plot."""
    return f"figures/contrasts-{base}.svg"


def effects_name(one: Contrast, task: str) -> str:
    """The file of a contrast's effects in the languages of a task."""
    what = re.sub(r"[^A-Za-z0-9]+", "-", one.name).strip("-").lower()
    return f"figures/effects-{one.base}-{what}-{one.track}-{task}.svg"


def effect_map_name(standing: Standing, task: str) -> str:
    """The file of a map of effects."""
    return f"figures/effects-{standing.track}-{task}.svg"


def drawn_tasks(one: Contrast) -> list[str]:
    """The tasks of a contrast, one figure for each."""
    return [] if one.difference is None else list(
        dict.fromkeys(part.task for part in one.difference.languages)
    )  # fmt: skip


def forest(contrasts: Sequence[Contrast], names: Mapping[str, str]) -> str:
    """A line per contrast: the difference in points, its 95 % interval (thick) and its simultaneous
    one (thin); a hollow mark where the verdict is neither *helps* nor *hurts*.

    ``names``: slug of a base → the name that people read.
    """
    rows = [(one, one.verdict) for one in contrasts if one.difference is not None]
    bounds = [
        100 * end
        for _, verdict in rows
        for end in (verdict.estimate, verdict.low, verdict.high, verdict.family_low,
                    verdict.family_high)
        if end is not None
    ]  # fmt: skip
    ticks = svg.ticks(min(0.0, *bounds), max(0.0, *bounds))
    left, width, top, step = 20, svg.WIDE - 40, 62, 66
    bottom = top + step * len(rows)

    x = svg.scale(ticks, left, width)
    body = [
        svg.text((16, 26), "Difference A − B in points", "text", weight=600),
        svg.text((16, 44), "thick: 95 % interval · thin: simultaneous · hollow: not clear", "faint",
              size=12),
    ]  # fmt: skip
    said = []
    bases = sorted({names[one.base] for one, _ in rows})
    if len(bases) == 1:
        body.append(svg.text((svg.WIDE - 16, 26), svg.short(bases[0], 36), "faint", "end", 11))
    for index, (one, verdict) in enumerate(rows):
        y = top + step * index + 16
        frozen = one.track == "frozen"
        where = f"{one.metric} of {_tasks(one)}{f' · {one.track}' * (not frozen)}"
        where += f" · {names[one.base]}" * (len(bases) > 1)
        where += " · stand-ins" * one.stand_ins
        figure = f"{size(verdict)} {plain(verdict)}"
        body.append(svg.text((16, y), svg.short(one.name, 34), "text", weight=600))
        body.append(svg.text((svg.WIDE - 16, y), word(verdict), "text", "end", 12, 600))
        body.append(svg.text((16, y + 16), svg.short(where, 66 - len(figure)), "faint", size=11))
        body.append(svg.text((svg.WIDE - 16, y + 16), figure, "text", "end", 11))
        middle = y + 32
        for tick in ticks:
            kind = "zero" if tick == 0 else "grid"
            body.append(f'<path class="{kind}" d="M{x(tick):.1f} {middle - 10}v20"/>')
        body += svg.interval(verdict, x, middle)
        said.append(f"{one.name} on {names[one.base]}: {told(verdict)}")
    body += svg.axis(ticks, x, bottom + 18)
    return svg.document(svg.WIDE, bottom + 30, "Contrasts between intermediate tasks", said, body)


def _tasks(one: Contrast) -> str:
    """The tasks whose mean it is of, or how many they are: means over others do not compare."""
    tasks = drawn_tasks(one)
    return ", ".join(tasks) if len(tasks) < 3 else f"{len(tasks)} tasks"


def effects(one: Contrast, task: str, base: str) -> str:
    """A line per language of a task, the largest effect first: the difference in points with its
    plain interval; hollow where it is not clear, faint where the language is at chance."""
    assert one.difference is not None  # it has tasks
    names = read_languages()
    lines = [
        (part, one.difference.line_verdict(part))
        for part in one.difference.languages
        if part.task == task
    ]
    lines.sort(key=lambda line: -line[0].estimate.difference)
    bounds = [
        100 * end
        for _, verdict in lines
        for end in (verdict.estimate, verdict.low, verdict.high)
        if end is not None
    ]
    ticks = svg.ticks(min(0.0, *bounds), max(0.0, *bounds))
    left, width, top, step = 132, svg.NARROW - 132 - 70, 62, 16
    bottom = top + step * len(lines)

    x = svg.scale(ticks, left, width)
    title = f"{read_card(task).title}: {one.name}"
    what = f"{base} · {one.metric} · points"
    body = [
        svg.text((16, 24), svg.short(title, 52), "text", weight=600),
        svg.text((16, 42), svg.short(what, 60), "faint", size=11),
    ]
    for tick in ticks:
        kind = "zero" if tick == 0 else "grid"
        body.append(f'<path class="{kind}" d="M{x(tick):.1f} {top - 6}V{bottom + 2}"/>')
    said = []
    for index, (part, verdict) in enumerate(lines):
        y = top + step * index + 8
        said.append(f"{(name := language_words(part.name, names))}: {told(verdict)}")
        chance = verdict.why == "at chance"
        body.append(f'<g class="{"dim" if chance else "shown"}">')
        body.append(svg.text((left - 10, y + 4), svg.short(name, 19), "text", "end", 12))
        body += svg.interval(verdict, x, y, simultaneous=False)
        text = "at chance" if chance else size(verdict)
        body.append(svg.text((svg.NARROW - 14, y + 4), text, "text", "end", 11))
        body.append("</g>")
    body += svg.axis(ticks, x, bottom + 18)
    key = "bar: 95 % interval, unadjusted · hollow: not clear (q by task)"
    body.append(svg.text((16, bottom + 38), key, "faint", size=11))
    return svg.document(svg.NARROW, bottom + 50, f"{title}, {what}", said, body)


def language_words(unit: str, names: Mapping[str, Language]) -> str:
    """`German`; of a context in German and a question in Hindi, `German, question Hindi`."""
    return ", question ".join(names[code].name for code in unit.split("-"))


def effect_columns(
    board: Board, standing: Standing, task: str
) -> list[tuple[Gain, dict[str, Verdict]]]:
    """The variants of a ranking with the verdict in each language of a task, the best ones first.

    Empty where the board has too many variants for differences per language.
    """
    gains = widest(board.gains, standing.track, standing.tasks)
    found = []
    for row in standing.rows:
        gain = gains.get(row.entry.slug)
        if gain is None or gain.difference is None:
            continue
        lines = {
            part.name: gain.difference.line_verdict(part)
            for part in gain.difference.languages
            if part.task == task
        }
        if lines:
            found.append((gain, lines))
    return found[:COLUMNS_SHOWN]


def effect_map(
    standing: Standing, task: str, columns: Sequence[tuple[Gain, Mapping[str, Verdict]]]
) -> str:
    """Languages × variants: each variant's difference to its base in points, written and coloured.

    Blue is more and orange less; bold where the verdict is *helps* or *hurts*.
    """
    names = read_languages()
    langs = list(dict.fromkeys(lang for _, lines in columns for lang in lines))

    def mean(lang: str) -> float:
        known = [v.estimate for _, lines in columns if (v := lines.get(lang)) and v.estimate]
        return sum(known) / len(columns)

    langs.sort(key=lambda lang: -mean(lang))
    wide, high, left = 58, 19, 138
    top = 62 + 17 * len(columns) + 26
    sizes = [abs(v.estimate or 0.0) for _, lines in columns for v in lines.values()]
    most = max([FAINTEST, *sizes])
    title = f"{read_card(task).title}: against the base, in points of {standing.metric}"
    body = [
        svg.text((16, 24), svg.short(title, 58), "text", weight=600),
        svg.text((16, 42), "bold: clear (q by task) · faint: at chance", "faint", size=11),
    ]
    said = []
    for at, (gain, lines) in enumerate(columns):
        letter = chr(ord("A") + at)
        key = f"{letter}: {gain.entry.title}"
        body.append(svg.text((16, 64 + 17 * at), svg.short(key, 66), "text", size=12))
        place = left + wide * (at + 0.5)
        body.append(svg.text((place, top - 8), letter, "faint", "middle", 12, 600))
        for index, lang in enumerate(langs):
            if (verdict := lines.get(lang)) is None or verdict.estimate is None:
                continue
            y = top + high * index
            way = "below" if verdict.estimate < 0 else "above"
            share = 0.55 * abs(verdict.estimate) / most
            chance = verdict.why == "at chance"
            where = f'x="{left + wide * at}" y="{y}" width="{wide - 2}" height="{high - 2}"'
            body.append(
                f'<rect class="none" {where} rx="3"/>'
                f'<rect class="mark {way}" {where} rx="3" fill-opacity="{share:.3f}"/>'
            )
            bold = 700 if verdict.word in ("helps", "hurts") else 400
            kind = "faint" if chance else "text"
            body.append(svg.text((place - 1, y + 13), size(verdict), kind, "middle", 11, bold))
            words = language_words(lang, names)
            said.append(f"{gain.entry.title}, {words}: {size(verdict)}, {word(verdict)}")
    for index, lang in enumerate(langs):
        name = svg.short(language_words(lang, names), 20)
        body.append(svg.text((left - 8, top + high * index + 13), name, "text", "end", 12))
    width = max(left + wide * len(columns) + 14, svg.NARROW)
    return svg.document(width, top + high * len(langs) + 14, title, said, body)
