"""Small hand-made SVG: a document, its words, axes and intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from harness.statistics.verdict import Verdict

WIDE, NARROW = 430, 410  # of figures, in pixels: text stays readable on a phone
# An image cannot know the theme of the page around it, only the system's: so it brings its ground.
STYLE = """
svg{font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.ground{fill:#fff;stroke:#d0d7de}.text{fill:#1f2328}.faint{fill:#59636e}
.grid{stroke:#d0d7de}.zero{stroke:#59636e}.none{fill:#f6f8fa}.dim{opacity:.5}
.above{--way:#0969da}.below{--way:#bc4c00}.mark{fill:var(--way)}.bar{stroke:var(--way)}
.hollow{fill:#fff;stroke:var(--way);stroke-width:2}
@media(prefers-color-scheme:dark){.ground{fill:#0d1117;stroke:#3d444d}.text{fill:#f0f6fc}
.faint{fill:#9198a1}.grid{stroke:#3d444d}.zero{stroke:#9198a1}.none{fill:#151b23}
.above{--way:#4493f8}.below{--way:#f0883e}.hollow{fill:#0d1117}}
"""


def document(
    width: float, height: float, title: str, told: Sequence[str], body: Sequence[str]
) -> str:
    """The whole figure; ``told``: what it shows, for those who do not see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" height="{height:g}" role="img" aria-labelledby="title desc">\n'
        f'<title id="title">{escape(title)}</title>\n'
        f'<desc id="desc">{escape("; ".join(told))}</desc>\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="ground" x=".5" y=".5" width="{width - 1:g}" height="{height - 1:g}"'
        ' rx="8"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def text(
    at: tuple[float, float],
    words: str,
    kind: str,
    anchor: str = "start",
    size: int = 13,
    weight: int = 400,
) -> str:
    """Words at a place; ``kind``: text or faint."""
    style = f' font-size="{size}"' if size != 13 else ""
    style += f' font-weight="{weight}"' if weight != 400 else ""
    style += f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text class="{kind}" x="{at[0]:.1f}" y="{at[1]:.1f}"{style}>{escape(words)}</text>'


def short(text: str, length: int) -> str:
    """Text that is cut to a length."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from below ``low`` to above ``high``, some four to eight of them."""
    span = max(high - low, 1e-9)
    step = next(
        (s for power in range(-3, 4) for s in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
         if span / s <= 6), 1000.0
    )  # fmt: skip
    first = int(low // step)
    last = int(-(-high // step))
    return [round(step * k, 6) for k in range(first, max(last, first + 1) + 1)]


def axis(at: Sequence[float], x: Callable[[float], float], y: float) -> list[str]:
    """The numbers under an axis; ``x``: value → place."""
    labels = [f"{tick:+g}".replace("-", "−") if tick else "0" for tick in at]
    return [
        text((x(tick), y), label, "faint", "middle", 11)
        for tick, label in zip(at, labels, strict=True)
    ]


def scale(ticks: Sequence[float], left: float, width: float) -> Callable[[float], float]:
    """A value → its place, where the first and the last tick are at ``left`` and ``width`` on."""
    return lambda at: left + width * (at - ticks[0]) / (ticks[-1] - ticks[0])


def interval(
    verdict: Verdict, x: Callable[[float], float], y: float, *, simultaneous: bool = True
) -> list[str]:
    """The intervals and the mark of a verdict, on a line at ``y``; ``x``: points → place."""
    way = "below" if (verdict.estimate or 0.0) < 0 else "above"
    body = []
    for low, high, thick in (
        (verdict.family_low, verdict.family_high, 1),
        (verdict.low, verdict.high, 3 if simultaneous else 1.5),
    ):
        if low is not None and high is not None:
            ends = f"M{x(100 * low):.1f} {y}H{x(100 * high):.1f}"
            body.append(f'<path class="bar {way}" stroke-width="{thick}" d="{ends}"/>')
    mark = "mark" if verdict.word in ("helps", "hurts") else "hollow"
    middle = x(100 * (verdict.estimate or 0.0))
    body.append(f'<circle class="{mark} {way}" cx="{middle:.1f}" cy="{y}" r="4"/>')
    return body
