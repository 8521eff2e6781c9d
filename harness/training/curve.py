"""The loss of every step: training writes a table, and a curve is drawn from it at the end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from harness.training.saves import logged

HEADER = "step\ttask\tloss\tlearning_rate\n"
WIDTH, HEIGHT, LEFT, BOTTOM = 720, 320, 64, 40
COLOURS = ("#1f6f8b", "#c8553d", "#588157", "#7b5ea7", "#b08900", "#3d5a80", "#8d6e63", "#00796b")
POINTS = 400  # A curve is drawn through about this many points.


class LossLog:
    """The table ``loss.tsv`` of a run, which has a line per step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resume_after(self, step: int) -> None:
        """Keep the lines up to this step; a run that resumes after it writes the others again."""
        rows = [row for row in self.rows() if row[0] <= step]
        self.path.write_text(HEADER + "".join(_line(*row) for row in rows), encoding="utf-8")

    def add(self, step: int, task: str, loss: float, learning_rate: float) -> None:
        """Append the line of a step."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(step, task, loss, learning_rate))

    def rows(self) -> list[tuple[int, str, float, float]]:
        """Return (step, task, loss, learning rate) of every line that was written to its end.

        Raises:
            DataError: a line is damaged.
        """
        return logged(self.path, _row)


def _row(fields: Sequence[str]) -> tuple[int, str, float, float]:
    step, task, loss, learning_rate = fields
    return int(step), task, float(loss), float(learning_rate)


def _line(step: int, task: str, loss: float, learning_rate: float) -> str:
    return f"{step}\t{task}\t{loss!r}\t{learning_rate!r}\n"


def smoothed(values: Sequence[float], share: float = 0.05) -> list[float]:
    """Return running means: each is over a value and those before it, ``share`` of all at most."""
    window = max(1, round(share * len(values)))
    sums = list(accumulate(values, initial=0.0))
    return [
        (sums[at + 1] - sums[max(0, at + 1 - window)]) / min(window, at + 1)
        for at in range(len(values))
    ]


def svg(rows: Sequence[tuple[int, str, float, float]]) -> str:
    """Draw the smoothed curve of every task; its first and last values are the text alternative."""
    steps = max(step for step, *_ in rows)
    curves = {}
    for task in dict.fromkeys(task for _, task, _, _ in rows):
        own = [(step, loss) for step, name, loss, _ in rows if name == task]
        values = smoothed([loss for _, loss in own])
        points = list(zip([step for step, _ in own], values, strict=True))
        every = max(1, len(points) // POINTS)
        curves[task] = [*points[::every], points[-1]]
    top = max(value for points in curves.values() for _, value in points) or 1.0
    said = "; ".join(
        f"{task}: {points[0][1]:.4g} at step {points[0][0]}, {points[-1][1]:.4g} at step"
        f" {points[-1][0]}"
        for task, points in curves.items()
    )
    body = [_axis(steps, top)]
    for number, (task, points) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{_x(step, steps):.1f},{_y(value, top):.1f}" for step, value in points)
        body.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>')
        body.append(
            f'<text x="{WIDTH - 12}" y="{20 + 16 * number}" text-anchor="end" fill="{colour}">'
            f"{task}</text>"
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="title desc" font-family="sans-serif" font-size="12">\n'
        f'<title id="title">Training loss</title>\n<desc id="desc">{said}</desc>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _axis(steps: int, top: float) -> str:
    lines = []
    for part in range(5):
        value = top * part / 4
        y = _y(value, top)
        lines.append(
            f'<line x1="{LEFT}" x2="{WIDTH - 12}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#444">{value:.3g}</text>'
        )
    for part in range(5):
        step = round(steps * part / 4)
        lines.append(
            f'<text x="{_x(step, steps):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" '
            f'fill="#444">{step}</text>'
        )
    lines.append(
        f'<text x="{(WIDTH + LEFT) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle" '
        'fill="#444">step</text>'
    )
    return "\n".join(lines)


def _x(step: int, steps: int) -> float:
    return LEFT + (WIDTH - 12 - LEFT) * step / max(1, steps)


def _y(value: float, top: float) -> float:
    return (HEIGHT - BOTTOM) - (HEIGHT - BOTTOM - 12) * max(0.0, value) / top
