"""The board as one HTML file that needs no network."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.analysis.chance import at_chance
from harness.analysis.differences import Difference
from harness.analysis.entries import TRACKS, Entry
from harness.analysis.gather import Board
from harness.analysis.results import Result
from harness.board.waiting import waiting
from harness.board.words import plain, simultaneous, size, told, word
from harness.cards.languages import read_languages
from harness.statistics.hierarchy import ENOUGH
from harness.statistics.verdict import Verdict

MOST_DRAWS, LEAST_DRAWS = 200, 40
BUDGET = 8_000  # draws times checkpoints: some 2.5 MB for a suite of a hundred languages
UNIT = 1e-4  # of the draws' deviations: a hundredth of a point


def write(board: Board, *, pages: bool = True) -> str:
    """`index.html`. ``pages``: README and checkpoint pages lie beside it, and are linked."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.board"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    from markupsafe import Markup

    data = Markup(embedded(page_data(board)))
    return environment.get_template("index.html.j2").render(data=data, pages=pages)


def embedded(data: Any) -> str:
    """JSON for the inside of a script element: nothing in it can end the element."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_data(board: Board) -> dict[str, Any]:
    """What the page sorts, filters and compares."""
    measured = [entry for entry in board.shown if entry.results]
    draws = max(LEAST_DRAWS, min(MOST_DRAWS, BUDGET // max(len(measured), 1)))
    ranks = {
        standing.track: {row.entry.slug: row.rank for row in standing.rows}
        for standing in board.standings
    }
    why = {
        standing.track: {row.entry.slug: row.why for row in standing.rows if row.why}
        for standing in board.standings
    }
    tasks: dict[str, dict[str, Any]] = {}
    checkpoints = []
    for entry in measured:
        results = _results(entry, draws)
        for (track, task), result in _shown(entry).items():
            known = tasks.get(f"{track}/{task}") or _task(track, result)
            tasks[f"{track}/{task}"] = known
            known["languages"] = list(dict.fromkeys([*known["languages"], *result.values]))
        checkpoints.append(
            {
                "slug": entry.slug,
                "title": entry.title,
                "model": entry.model,
                "kind": entry.kind,
                "base": entry.base or (entry.submission and entry.submission.base) or "",
                "standIn": entry.stand_in,
                "seeds": len(entry.members) or 1,
                "ranks": {t: ranks[t][entry.slug] for t in ranks if entry.slug in ranks[t]},
                "why": {t: why[t][entry.slug] for t in why if entry.slug in why[t]},
                "results": results,
            }
        )
    codes = {code for task in tasks.values() for unit in task["languages"]
             for code in unit.split("-")}  # fmt: skip
    known_languages = read_languages()
    order = {track: place for place, track in enumerate(TRACKS)}
    return {
        "draws": draws,
        "unit": UNIT,
        "tasks": sorted(tasks.values(), key=lambda t: (order[t["track"]], t["task"])),
        "languages": {
            code: {
                "name": known_languages[code].name,
                "script": known_languages[code].script,
                "family": known_languages[code].family,
            }
            for code in sorted(codes)
        },
        "checkpoints": checkpoints,
        "waiting": [_waiting(entry) for entry in waiting(board.entries)],
        "verdicts": _verdicts(board),
        "averaged": {s.track: list(s.tasks) for s in board.standings},
    }


def _waiting(entry: Entry) -> dict[str, str]:
    """A submission without rows: what it is, why it has none, and since when."""
    attempt = entry.attempt
    return {
        "slug": entry.slug,
        "title": entry.title,
        "kind": entry.kind,
        "base": (entry.submission and entry.submission.base) or "",
        "state": "failed" if attempt is not None and attempt.status == "failed" else "pending",
        "why": entry.why or "not tried yet",
        "since": attempt.since[:10] if attempt is not None else "",
    }


def _verdicts(board: Board) -> list[dict[str, Any]]:
    """The verdicts that the board has, for the pairs of checkpoints that the page lists.

    The page shows these where both checkpoints and exactly these tasks are chosen, in either order.
    """
    slugs = {
        frozenset(one.slug for one in entry.members or (entry,)): entry.slug
        for entry in board.shown
    }
    known: dict[tuple[str, str, str, frozenset[str]], tuple[Verdict, Difference | None]] = {}
    for one in board.contrasts:  # the first is the question that the README answers
        a, b = (slugs.get(frozenset(side)) for side in (one.a, one.b))
        if one.difference is not None and a is not None and b is not None:
            known[a, b, one.track, one.tasks] = (one.verdict, one.difference)
    for gain in board.gains:
        key = (gain.entry.slug, gain.base.slug, gain.track, frozenset(gain.tasks))
        known.setdefault(key, (gain.verdict, gain.difference))
    found = []
    for (a, b, track, tasks), (verdict, difference) in known.items():
        lines = {}
        for part in difference.languages if difference is not None else ():
            line = difference.line_verdict(part) if difference is not None else verdict
            lines[f"{part.task} {part.name}"] = [_embedded(line), _embedded(line.mirrored())]
        found.append(
            {
                "a": a,
                "b": b,
                "track": track,
                "tasks": sorted(tasks),
                "said": [told(verdict), told(verdict.mirrored())],
                "mean": [_embedded(verdict), _embedded(verdict.mirrored())],
                "against": [f"{size(verdict)} {_intervals(verdict)}", word(verdict)],
                "better": verdict.word == "helps",
                "lines": lines,
            }
        )
    return found


def _embedded(verdict: Verdict) -> list[Any]:
    """A verdict for the page: text for the table, then numbers for the picture.

    The numbers are the estimate, the ends of the plain interval and, in a family, those of the
    simultaneous one.
    """
    ends = [verdict.estimate, verdict.low, verdict.high]
    if verdict.family_low is not None:
        ends += [verdict.family_low, verdict.family_high]
    numbers = [None if end is None else round(end, 6) for end in ends]
    return [size(verdict), _intervals(verdict), word(verdict), *numbers]


def _intervals(verdict: Verdict) -> str:
    """The plain interval, and in a family the simultaneous one beside it."""
    family = f", simultaneous {simultaneous(verdict)}" if verdict.family_low is not None else ""
    return plain(verdict) + family


def _shown(entry: Entry) -> dict[tuple[str, str], Result]:
    """(track, task) → the result that counts; else the first one, marked as not ranked."""
    found: dict[tuple[str, str], Result] = {}
    for track in TRACKS:
        for task, result in entry.tasks(track).items():
            found[track, task] = result
    for result in entry.results:
        if result.on_board and result.track in TRACKS:
            found.setdefault((result.track, result.task), result)
    return found


def _task(track: str, result: Result) -> dict[str, Any]:
    return {
        "track": track,
        "task": result.task,
        "title": result.card.title,
        "metric": result.metric,
        "languages": [],
    }


def _results(entry: Entry, count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (track, task), result in _shown(entry).items():
        note = list(result.notes)
        if result.missing:
            note.append(f"missing {' '.join(result.missing)}")
        if result.contaminated:
            note.append("trained on this task's data")
        found[f"{track}/{task}"] = {
            "languages": list(result.values),
            "values": [round(value.value, 6) for value in result.values.values()],
            "n": [value.n for value in result.values.values()],
            "indistinct": list(result.indistinct),
            "chance": [lang for lang in result.values if at_chance([result], lang)],
            "seeds": [
                [round(value.value, 6) for value in seed.values.values()]
                for seed in result.seeds
                if len(result.seeds) >= ENOUGH
            ],
            "deviations": _deviations(list(result.draws.values()), count),
            "apart": "; ".join(note),
            "origin": str(result.origin) if result.origin.provenance == "replicated" else "",
        }
    return found


def _deviations(draws: Sequence[Any], count: int) -> str:
    """int16[languages, count], little-endian, base64: draws minus their mean, in ``UNIT``.

    −32768 stands for a draw that does not exist, of a single parallel item.
    """
    stacked = np.stack([np.asarray(line[:count], dtype=np.float64) for line in draws])
    centred = (stacked - stacked.mean(axis=1, keepdims=True)) / UNIT
    whole = np.where(np.isnan(centred), -32768, np.round(centred).clip(-32767, 32767))
    return b64encode(whole.astype("<i2").tobytes()).decode()
