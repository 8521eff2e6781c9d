"""The loss of every step: a table during training, and a curve drawn from it at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HEADER = "step\ttask\tloss\tlearning_rate\n"
WIDTH, HEIGHT, LEFT, BOTTOM = 720, 320, 64, 40
COLOURS = ("#1f6f8b", "#c8553d", "#588157", "#7b5ea7", "#b08900", "#3d5a80", "#8d6e63", "#00796b")
POINTS = 400  # of a curve


class LossLog:
    """``loss.tsv`` of a run, a line per step; a resumed run drops the steps that it repeats."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def go_on_from(self, step: int) -> None:
        """Keep the lines up to this step."""
        rows = [row for row in self.rows() if row[0] <= step]
        lines = [f"{number}\t{task}\t{loss!r}\t{rate!r}\n" for number, task, loss, rate in rows]
        self.path.write_text(HEADER + "".join(lines), encoding="utf-8")

    def add(self, step: int, task: str, loss: float, learning_rate: float) -> None:
        """Append the line of a step."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{step}\t{task}\t{loss!r}\t{learning_rate!r}\n")

    def rows(self) -> list[tuple[int, str, float, float]]:
        """(step, task, loss, learning rate) of every whole line."""
        if not self.path.is_file():
            return []
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines()[1:]:
            fields = line.split("\t")
            if len(fields) == 4:
                found.append((int(fields[0]), fields[1], float(fields[2]), float(fields[3])))
        return found


class NullLossLog(LossLog):
    """The log of a process other than the first, which writes nothing."""

    def go_on_from(self, step: int) -> None:
        """Nothing."""

    def add(self, step: int, task: str, loss: float, learning_rate: float) -> None:
        """Nothing."""


def smoothed(values: Sequence[float], share: float = 0.05) -> list[float]:
    """The mean of each value and those before it, over ``share`` of all of them."""
    window = max(1, round(share * len(values)))
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    return [
        (sums[at + 1] - sums[max(0, at + 1 - window)]) / min(window, at + 1)
        for at in range(len(values))
    ]


def svg(rows: Sequence[tuple[int, str, float, float]]) -> str:
    """The curve of every task, smoothed, with its figures as the text alternative."""
    tasks = list(dict.fromkeys(task for _, task, _, _ in rows))
    steps = max(step for step, *_ in rows)
    curves = {}
    for task in tasks:
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
