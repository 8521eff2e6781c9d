"""The figures of the board: small hand-made SVG, readable in light and dark, with text for those
who do not see them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.analysis.contrasts import Contrast
from harness.analysis.entries import Entry, Result
from harness.analysis.gains import Gain, widest
from harness.analysis.gather import Board
from harness.analysis.standings import Standing
from harness.board import svg
from harness.board.answer import lead_contrast
from harness.board.words import plain, size, told, word
from harness.cards.catalogue import read_card
from harness.cards.languages import Language, read_languages
from harness.statistics.verdict import Verdict

if TYPE_CHECKING:
    from harness.alignment.align import Alignment

LINES = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#9a6700", "#0a7ea4", "#cf222e")
LINES_SHOWN = len(LINES)
WIDE, NARROW = 430, 410  # of figures, in pixels: text stays readable on a phone
CONTRASTS_SHOWN = 12  # in the README's forest plot
FAINTEST = 0.005  # of the largest effect in a map: below half a point no colour is a full one
COLUMNS_SHOWN = 8  # variants in a map of effects


def draw(board: Board) -> dict[str, str]:
    """Name under `leaderboard/` → SVG, of every figure that there is something to show in."""
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
    left, width, top, step = 20, WIDE - 40, 62, 66
    bottom = top + step * len(rows)

    x = svg.scale(ticks, left, width)
    body = [
        svg.text((16, 26), "Difference A − B in points", "text", weight=600),
        svg.text((16, 44), "thick: 95 % interval · thin: simultaneous · hollow: not clear", "faint",
              size=12),
    ]  # fmt: skip
    said = []
    for index, (one, verdict) in enumerate(rows):
        y = top + step * index + 16
        frozen = one.track == "frozen"
        where = f"{names[one.base]} · {one.metric}{f' · {one.track}' * (not frozen)}"
        where += " · stand-ins" * one.stand_ins
        figure = f"{size(verdict)} {plain(verdict)}"
        body.append(svg.text((16, y), svg.short(one.name, 34), "text", weight=600))
        body.append(svg.text((WIDE - 16, y), word(verdict), "text", "end", 12, 600))
        body.append(svg.text((16, y + 16), svg.short(where, 66 - len(figure)), "faint", size=11))
        body.append(svg.text((WIDE - 16, y + 16), figure, "text", "end", 11))
        middle = y + 32
        for tick in ticks:
            kind = "zero" if tick == 0 else "grid"
            body.append(f'<path class="{kind}" d="M{x(tick):.1f} {middle - 10}v20"/>')
        body += svg.interval(verdict, x, middle)
        said.append(f"{one.name} on {names[one.base]}: {told(verdict)}")
    body += svg.axis(ticks, x, bottom + 18)
    return svg.document(WIDE, bottom + 30, "Contrasts between intermediate tasks", said, body)


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
    left, width, top, step = 132, NARROW - 132 - 70, 62, 16
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
        body.append(svg.text((NARROW - 14, y + 4), text, "text", "end", 11))
        body.append("</g>")
    body += svg.axis(ticks, x, bottom + 18)
    key = "bar: 95 % interval, unadjusted · hollow: not clear (q by task)"
    body.append(svg.text((16, bottom + 38), key, "faint", size=11))
    return svg.document(NARROW, bottom + 50, f"{title}, {what}", said, body)


def language_words(unit: str, names: Mapping[str, Language]) -> str:
    """`German`; of a context in German and a question in Hindi, `German, question Hindi`."""
    return ", question ".join(names[code].name for code in unit.split("-"))


def effect_columns(
    board: Board, standing: Standing, task: str
) -> list[tuple[Gain, dict[str, Verdict]]]:
    """The variants of a ranking with the verdict in each language of a task, the best ones first.

    None of them where the board has too many variants to work the languages out.
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
    width = max(left + wide * len(columns) + 14, NARROW)
    return svg.document(width, top + high * len(langs) + 14, title, said, body)


def layer_curves(entries: Sequence[Entry]) -> dict[str, list[tuple[Entry, list[Result]]]]:
    """Task → checkpoints that were measured at three layers or more (frozen, else regular)."""
    found: dict[str, list[tuple[Entry, list[Result]]]] = {}
    for entry in entries:
        tasks: dict[str, dict[int, Result]] = {}
        for result in entry.results:
            only_layer = all(note.startswith("layer ") for note in result.notes)
            whole = result.layer is not None and not result.missing
            if result.track == "frozen" and only_layer and whole:
                tasks.setdefault(result.task, {}).setdefault(result.layer or 0, result)
        for task, layers in tasks.items():
            if len(layers) >= 3:
                found.setdefault(task, []).append((entry, [layers[k] for k in sorted(layers)]))
    return dict(sorted(found.items()))


def curve_chart(task: str, lines: Sequence[tuple[Entry, list[Result]]]) -> str:
    """A line per checkpoint over its layers; a ring marks the layer of the standard protocol."""
    lines = lines[:LINES_SHOWN]
    deepest = max(result.layer or 0 for _, results in lines for result in results)
    most = max(r.macro.value for _, results in lines for r in results if r.macro)
    ticks = svg.ticks(0.0, 100 * most)
    left, width, top, high = 56, NARROW - 86, 46, 220

    def at(layer: int, value: float) -> tuple[float, float]:
        return left + width * layer / max(deepest, 1), top + high * (1 - 100 * value / ticks[-1])

    metric = lines[0][1][0].metric
    title = f"{task}: {metric} in percent by layer"
    body = [svg.text((16, 26), title, "text", weight=600)]
    for tick in ticks:
        y = at(0, tick / 100)[1]
        body.append(f'<path class="grid" d="M{left} {y:.1f}H{left + width}"/>')
        body.append(svg.text((left - 8, y + 4), f"{tick:g}", "faint", "end", 11))
    for layer in range(0, deepest + 1, max(1, deepest // 12)):
        body.append(svg.text((at(layer, 0)[0], top + high + 18), str(layer), "faint", "middle", 11))
    told = []
    for index, ((entry, results), colour) in enumerate(zip(lines, LINES, strict=False)):
        points = [(at(r.layer or 0, r.macro.value), r) for r in results if r.macro]
        path = "L".join(f"{x:.1f} {y:.1f}" for (x, y), _ in points)
        dash = "" if index % 2 == 0 else ' stroke-dasharray="6 3"'
        body.append(f'<path fill="none" stroke="{colour}" stroke-width="2"{dash} d="M{path}"/>')
        for (x, y), result in points:
            if not result.notes:
                ring = f'fill="none" stroke="{colour}" stroke-width="2"'
                body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {ring}/>')
        y = top + high + 44 + 18 * index
        body.append(f'<path stroke="{colour}" stroke-width="3"{dash} d="M{left} {y - 4}h24"/>')
        body.append(svg.text((left + 32, y), svg.short(entry.title, 60), "text", size=12))
        best = max((r for r in results if r.macro), key=lambda r: r.macro.value if r.macro else 0)
        value = best.macro.value if best.macro else 0.0
        told.append(f"{entry.title}: best at layer {best.layer} with {100 * value:.1f}")
    return svg.document(left + width + 30, top + high + 44 + 18 * len(lines) + 4, title, told, body)


def alignment_chart(found: Alignment) -> str:
    """Two panels over the layers, a colour for words and one for sentences.

    Left the cosine of translations (solid) and of random pairs (dashed), right recall@10 with its
    95 % intervals; a ring marks the layer of the standard protocol.
    """
    units = [(unit, rows) for unit in ("words", "sentences") if (rows := found.of(unit))]
    deepest, wide, high, top = found.depth, 270, 220, 78
    cosines = [
        row.values[name] for _, rows in units for row in rows for name in ("cosine", "random")
    ]
    recalls = [100 * row.intervals["recall@10"][1] for _, rows in units for row in rows]
    known = [value for value in recalls if value == value]  # nan: nothing was ranked
    panels = (
        (56, "cosine", ("cosine", "random"), 1.0, svg.ticks(min(0.0, *cosines), max(cosines))),
        (
            400,
            "recall@10 in percent",
            ("recall@10",),
            100.0,
            svg.ticks(0.0, max(known, default=1.0)),
        ),
    )
    body = [
        svg.text((16, 26), svg.short(f"{found.model}: alignment by layer", 80), "text", weight=600)
    ]
    told = []
    for left, title, metrics, scale, ticks in panels:

        def at(layer: int, value: float, left: int = left, ticks: list[float] = ticks) -> str:
            share = (value - ticks[0]) / (ticks[-1] - ticks[0])
            return f"{left + wide * layer / max(deepest, 1):.1f} {top + high * (1 - share):.1f}"

        body.append(svg.text((left, top - 22), title, "faint", size=12))
        for tick in ticks:
            y = float(at(0, tick).split()[1])
            body.append(f'<path class="grid" d="M{left} {y:.1f}h{wide}"/>')
            body.append(svg.text((left - 8, y + 4), f"{tick:g}", "faint", "end", 11))
        for layer in range(0, deepest + 1, max(1, deepest // 6)):
            x = float(at(layer, ticks[0]).split()[0])
            body.append(svg.text((x, top + high + 18), str(layer), "faint", "middle", 11))
        for (unit, rows), colour in zip(units, LINES, strict=False):
            for metric in metrics:
                drawn = [row for row in rows if row.values[metric] == row.values[metric]]
                if not drawn:
                    continue
                dash = ' stroke-dasharray="6 3"' if metric == "random" else ""
                path = "L".join(at(row.layer, scale * row.values[metric]) for row in drawn)
                pen = f'fill="none" stroke="{colour}" stroke-width="2"'
                body.append(f'<path {pen}{dash} d="M{path}"/>')
                for row in drawn:
                    if metric == "recall@10":
                        low, above = (at(row.layer, scale * v) for v in row.intervals[metric])
                        body.append(f'<path stroke="{colour}" d="M{low}L{above}"/>')
                    if row.layer == found.standard_layer:
                        across, down = at(row.layer, scale * row.values[metric]).split()
                        body.append(f'<circle cx="{across}" cy="{down}" r="5" {pen}/>')
                best = max(drawn, key=lambda row: row.values[metric])
                told.append(
                    f"{unit}, {metric}: highest at layer {best.layer}, {best.values[metric]:.3f}"
                )
    key = top + high + 44
    for index, ((unit, _), colour) in enumerate(zip(units, LINES, strict=False)):
        x = 56 + 110 * index
        body.append(f'<path stroke="{colour}" stroke-width="3" d="M{x} {key - 4}h24"/>')
        body.append(svg.text((x + 32, key), unit, "text", size=12))
    told_dash = "dashed: random pairs · ring: layer of the standard protocol"
    body.append(svg.text((56 + 110 * len(units), key), told_dash, "faint", size=11))
    return svg.document(700, key + 18, f"{found.model}: alignment by layer", told, body)
