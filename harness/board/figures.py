"""The figures of the board: small hand-made SVG, readable in light and dark, with text for those
who do not see them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from harness.analysis.contrasts import Contrast
from harness.analysis.entries import Entry, Result
from harness.analysis.gather import Board
from harness.analysis.standings import Standing
from harness.board.words import adjusted_p, plain, size, told, word
from harness.cards.languages import read_languages

if TYPE_CHECKING:
    from harness.alignment.align import Alignment

# An image cannot know the theme of the page around it, only the system's: so it brings its ground.
STYLE = """
svg{font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.ground{fill:#fff;stroke:#d0d7de}.text{fill:#1f2328}.faint{fill:#59636e}
.grid{stroke:#d0d7de}.zero{stroke:#59636e}.mark{fill:#0969da}.hollow{fill:#fff;stroke:#0969da;stroke-width:2}.bar{stroke:#0969da}
.none{fill:#eaeef2}.dim{opacity:.55}.ramp{fill:#0969da}
@media(prefers-color-scheme:dark){.ground{fill:#0d1117;stroke:#3d444d}.text{fill:#f0f6fc}
.faint{fill:#9198a1}.grid{stroke:#3d444d}.zero{stroke:#9198a1}.mark{fill:#4493f8}.hollow{fill:#0d1117;stroke:#4493f8}
.bar{stroke:#4493f8}.none{fill:#212830}.ramp{fill:#4493f8}}
"""
LINES = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#9a6700", "#0a7ea4", "#cf222e")
LINES_SHOWN = len(LINES)
ROWS_SHOWN = 60


def draw(board: Board) -> dict[str, str]:
    """Name under `leaderboard/` → SVG, of every figure that there is something to show in."""
    files: dict[str, str] = {}
    if answered := [one for one in board.contrasts if one.difference is not None]:
        files["figures/contrasts.svg"] = forest(answered)
    for standing in board.standings:
        for task in standing.tasks:
            files[f"figures/{standing.track}-{task}.svg"] = heat_map(standing, task)
    if curves := layer_curves(board.entries):
        for task, lines in curves.items():
            files[f"figures/layers-{task}.svg"] = curve_chart(task, lines)
    return files


def forest(contrasts: Sequence[Contrast]) -> str:
    """A line per contrast: the difference in points, its 95 % interval (thick) and its simultaneous
    one (thin); a hollow mark where the verdict is neither *helps* nor *hurts*."""
    rows = [(one, one.verdict) for one in contrasts if one.difference is not None]
    bounds = [
        100 * end
        for _, verdict in rows
        for end in (verdict.estimate, verdict.low, verdict.high, verdict.family_low,
                    verdict.family_high)
        if end is not None
    ]  # fmt: skip
    ticks = _ticks(min(0.0, *bounds), max(0.0, *bounds))
    left, width, top, step = 340, 300, 46, 58
    bottom = top + step * len(rows)

    def x(at: float) -> float:
        return left + width * (at - ticks[0]) / (ticks[-1] - ticks[0])

    title = "Difference in points; thick: 95 % interval, thin: simultaneous; hollow: not clear"
    body = [_text(16, 26, title, "text", weight=600)]
    for tick in ticks:
        kind = "zero" if tick == 0 else "grid"
        body.append(f'<path class="{kind}" d="M{x(tick):.1f} {top - 8}V{bottom}"/>')
        label = f"{tick:+g}".replace("-", "−") if tick else "0"
        body.append(_text(x(tick), bottom + 18, label, "faint", "middle"))
    said = []
    for index, (one, verdict) in enumerate(rows):
        y = top + step * index + 16
        body.append(_text(16, y + 1, _short(one.name, 48), "text"))
        where = f"{one.base} · {one.track} · {one.metric}{' · stand-ins' * one.stand_ins}"
        body.append(_text(16, y + 17, _short(where, 56), "faint", size=11))
        for low, high, thick in (
            (verdict.family_low, verdict.family_high, 1),
            (verdict.low, verdict.high, 3),
        ):
            if low is not None and high is not None:
                ends = f"M{x(100 * low):.1f} {y}H{x(100 * high):.1f}"
                body.append(f'<path class="bar" stroke-width="{thick}" d="{ends}"/>')
        mark = "mark" if verdict.word in ("helps", "hurts") else "hollow"
        middle = x(100 * (verdict.estimate or 0.0))
        body.append(f'<circle class="{mark}" cx="{middle:.1f}" cy="{y}" r="4.5"/>')
        at = left + width + 16
        body.append(_text(at, y - 4, word(verdict), "text", weight=600, size=12))
        body.append(_text(at, y + 11, f"{size(verdict)} {plain(verdict)}", "text", size=12))
        body.append(_text(at, y + 26, f"{adjusted_p(verdict)}", "faint", size=11))
        said.append(f"{one.name} on {one.base}: {told(verdict)}")
    return _svg(left + width + 250, bottom + 34, "Contrasts between intermediate tasks", said, body)


def heat_map(standing: Standing, task: str) -> str:
    """Checkpoints × languages of one task: the darker, the higher."""
    rows = [row for row in standing.rows if task in row.tasks][:ROWS_SHOWN]
    langs = list(rows[0].tasks[task].values)
    names = read_languages()
    cell, left, top = 22, 210, 58
    width = max(left + cell * len(langs) + 70, 560)
    metric = rows[0].tasks[task].metric
    most = max(v.value for row in rows for v in row.tasks[task].values.values()) or 1.0
    title = f"{task}, {metric} in percent, {standing.track} (full colour: {100 * most:.0f})"
    body = [_text(16, 26, title, "text", weight=600)]
    for column, lang in enumerate(langs):
        body.append(_text(left + cell * (column + 0.5), top - 8, lang, "faint", "middle", 11))
    body.append(_text(left + cell * len(langs) + 36, top - 8, "mean", "faint", "middle", 11))
    told = []
    for index, row in enumerate(rows):
        y = top + cell * index
        result = row.tasks[task]
        body.append(_text(16, y + 15, _short(row.entry.slug, 28), "text", size=12))
        for column, lang in enumerate(langs):
            value = result.values[lang].value
            where = f'x="{left + cell * column}" y="{y}" width="{cell - 2}" height="{cell - 2}"'
            full = names[lang.split("-")[0]].name
            body.append(
                f'<rect class="none" {where} rx="3"/>'
                f'<rect class="ramp" {where} rx="3" fill-opacity="{value / most:.3f}">'
                f"<title>{escape(row.entry.slug)}, {escape(full)}: {100 * value:.1f}</title></rect>"
            )
        if result.macro is not None:
            mean = f"{100 * result.macro.value:.1f}"
            body.append(_text(left + cell * len(langs) + 36, y + 15, mean, "text", "middle", 12))
            told.append(f"{row.entry.slug}: mean {mean}")
    height = top + cell * len(rows) + 16
    return _svg(width, height, title, told, body)


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
    ticks = _ticks(0.0, 100 * most)
    left, width, top, high = 56, 480, 46, 220

    def at(layer: int, value: float) -> tuple[float, float]:
        return left + width * layer / max(deepest, 1), top + high * (1 - 100 * value / ticks[-1])

    metric = lines[0][1][0].metric
    title = f"{task}: {metric} in percent by layer"
    body = [_text(16, 26, title, "text", weight=600)]
    for tick in ticks:
        y = at(0, tick / 100)[1]
        body.append(f'<path class="grid" d="M{left} {y:.1f}H{left + width}"/>')
        body.append(_text(left - 8, y + 4, f"{tick:g}", "faint", "end", 11))
    for layer in range(0, deepest + 1, max(1, deepest // 12)):
        body.append(_text(at(layer, 0)[0], top + high + 18, str(layer), "faint", "middle", 11))
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
        body.append(_text(left + 32, y, _short(entry.slug, 60), "text", size=12))
        best = max((r for r in results if r.macro), key=lambda r: r.macro.value if r.macro else 0)
        value = best.macro.value if best.macro else 0.0
        told.append(f"{entry.slug}: best at layer {best.layer} with {100 * value:.1f}")
    return _svg(left + width + 30, top + high + 44 + 18 * len(lines) + 4, title, told, body)


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
        (56, "cosine", ("cosine", "random"), 1.0, _ticks(min(0.0, *cosines), max(cosines))),
        (400, "recall@10 in percent", ("recall@10",), 100.0, _ticks(0.0, max(known, default=1.0))),
    )
    body = [_text(16, 26, _short(f"{found.model}: alignment by layer", 80), "text", weight=600)]
    told = []
    for left, title, metrics, scale, ticks in panels:

        def at(layer: int, value: float, left: int = left, ticks: list[float] = ticks) -> str:
            share = (value - ticks[0]) / (ticks[-1] - ticks[0])
            return f"{left + wide * layer / max(deepest, 1):.1f} {top + high * (1 - share):.1f}"

        body.append(_text(left, top - 22, title, "faint", size=12))
        for tick in ticks:
            y = float(at(0, tick).split()[1])
            body.append(f'<path class="grid" d="M{left} {y:.1f}h{wide}"/>')
            body.append(_text(left - 8, y + 4, f"{tick:g}", "faint", "end", 11))
        for layer in range(0, deepest + 1, max(1, deepest // 6)):
            x = float(at(layer, ticks[0]).split()[0])
            body.append(_text(x, top + high + 18, str(layer), "faint", "middle", 11))
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
        body.append(_text(x + 32, key, unit, "text", size=12))
    told_dash = "dashed: random pairs · ring: layer of the standard protocol"
    body.append(_text(56 + 110 * len(units), key, told_dash, "faint", size=11))
    return _svg(700, key + 18, f"{found.model}: alignment by layer", told, body)


def _svg(width: float, height: float, title: str, told: Sequence[str], body: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" height="{height:g}" role="img" aria-labelledby="title desc">\n'
        f'<title id="title">{escape(title)}</title>\n'
        f'<desc id="desc">{escape("; ".join(told))}</desc>\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="ground" x=".5" y=".5" width="{width - 1:g}" height="{height - 1:g}"'
        ' rx="8"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _text(
    x: float,
    y: float,
    text: str,
    kind: str,
    anchor: str = "start",
    size: int = 13,
    weight: int = 400,
) -> str:
    style = f' font-size="{size}"' if size != 13 else ""
    style += f' font-weight="{weight}"' if weight != 400 else ""
    style += f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{style}>{escape(text)}</text>'


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from below ``low`` to above ``high``, some four to eight of them."""
    span = max(high - low, 1e-9)
    step = next(
        (s for power in range(-3, 4) for s in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
         if span / s <= 6), 1000.0
    )  # fmt: skip
    first = int(low // step)
    last = int(-(-high // step))
    return [round(step * k, 6) for k in range(first, max(last, first + 1) + 1)]
