"""The page of intermediate tasks by target tasks: the paper's table, as measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis.best import Best
from harness.analysis.entries import Entry
from harness.analysis.gather import Board
from harness.analysis.published import PublishedScore
from harness.analysis.target_table import Group, Line, Mean, TargetTable
from harness.analysis.targets import Target
from harness.analysis.variants import on_base
from harness.board.markdown import Raw, cell, environment, table, unbroken
from harness.board.pages import named, scored
from harness.board.words import adjusted_p, plain, points, size, word
from harness.cards.catalogue import read_card
from harness.statistics.verdict import Verdict

NOT_MEASURED = "not measured"
AFTER, BEFORE = "X-STILTs (XLM-R large)", "XLM-R large"  # tasks/published.yaml's names


def write(board: Board) -> str:
    """`leaderboard/targets.md`."""
    return environment().get_template("targets.md.j2").render(
        tables=[_section(one) for one in board.targets], published=_published(board.published)
    )  # fmt: skip


def _section(found: TargetTable) -> dict[str, object]:
    means = zip(*(line.means for line in found.lines), strict=True)
    return {
        "title": found.base.title,
        "groups": [_group(found, *one) for one in zip(found.groups, means, strict=True)],
    }


def _group(found: TargetTable, group: Group, means: Sequence[Mean]) -> dict[str, object]:
    """A table of the targets of one group, with the mean over them and the best of each."""
    notes = list(dict.fromkeys(target.apart for target in group.targets if target.apart))
    titles = {target: _title(target, notes) for target in group.targets}
    rows: list[list[object]] = [["none (the base), score in %"]]
    rows[0] += [
        scored(found.level[target].macro) if target in found.level else NOT_MEASURED
        for target in group.targets
    ]
    rows[0].append("—")
    for line, mean in zip(found.lines, means, strict=True):
        measured = [_cell(line, target) for target in group.targets]
        if not notes or any(target in line.cells for target in group.targets):
            rows.append([_row(line.entry), *measured, _mean(line, mean)])
    return {
        "notes": notes,
        "basis": ", ".join(titles[target] for target in group.basis),
        "table": table(("intermediate task", *titles.values(), "mean"), rows),
        "best": _best(found.lines, group.best, titles),
    }


def _title(target: Target, notes: Sequence[str]) -> str:
    """The column's title, with the number of the note that says why its rows are not ranked."""
    number = f" [{notes.index(target.apart) + 1}]" if target.apart else ""
    return f"{read_card(target.task).title} ({target.track}){number}"


def _row(entry: Entry) -> Raw:
    """The intermediate task's name; the base stands above its table."""
    return Raw(named(entry).removesuffix(cell(on_base(entry))).rstrip())


def _cell(line: Line, target: Target) -> Raw | str:
    found = line.cells.get(target)
    if found is None:
        return NOT_MEASURED
    marks = " †" * found.contaminated + " ‡" * found.same
    return Raw(f"{_told(found.gain.verdict, line.entry, found.gain.entry)}{marks}")


def _mean(line: Line, mean: Mean) -> Raw | str:
    return mean.why if mean.verdict is None else _told(mean.verdict, line.entry, mean.entry)


def _seeds(whole: Entry, part: Entry) -> str:
    """How many of a recipe's checkpoints a figure is about, where these are not all."""
    most, found = len(whole.members), len(part.members)
    return f"{found} of {most} seeds" if found < most else ""


def _told(verdict: Verdict, whole: Entry, part: Entry) -> Raw:
    """The difference with its plain interval, the p-value in its family, its word, the seeds."""
    lines = (
        f"**{size(verdict)}** {unbroken(plain(verdict))}",
        unbroken(cell(adjusted_p(verdict))),
        cell(word(verdict)),
        _seeds(whole, part),
    )
    return Raw("<br>".join(line for line in lines if line))


def _best(lines: Sequence[Line], best: Best, titles: Mapping[Target, str]) -> Raw | None:
    """The best per target, naive and honest, target by target and in the mean."""
    if not best.naive:
        return None
    by_slug = {line.entry.slug: line for line in lines}

    def titled(slug: str, target: Target) -> str:
        line = by_slug[slug]
        seeds = _seeds(line.entry, line.cells[target].gain.entry)
        return f"{line.entry.title}; {seeds}" if seeds else line.entry.title

    rows: list[tuple[object, ...]] = []
    for target, gain in best.naive.items():
        honest = best.honest.get(target)
        rows.append((
            titles[target], titled(gain.entry.slug, target), size(gain.verdict),
            "—" if honest is None else titled(best.chosen[target], target),
            "—" if honest is None else Raw(f"**{size(honest)}** {unbroken(plain(honest))}"),
        ))  # fmt: skip
    if best.naive_mean is not None:
        mean = best.honest_mean
        rows.append((
            "mean", "", points(best.naive_mean), "",
            "—" if mean is None else Raw(f"**{size(mean)}** {unbroken(plain(mean))}"),
        ))  # fmt: skip
    headers = ("target", "best on all items", "naive: on the same items",
               "best on half of the items", "honest: on the other half")  # fmt: skip
    return table(headers, rows, left=2)


def _published(figures: Sequence[PublishedScore]) -> Raw:
    """The paper's best per target beside its base, where both are published in one metric."""
    values = {(one.model, one.task, one.metric): one for one in figures}
    pairs = [
        (before, after)
        for (model, task, metric), after in values.items()
        if model == AFTER and (before := values.get((BEFORE, task, metric))) is not None
    ]
    gains = [(after.value - before.value) / 100 for before, after in pairs]
    rows: list[tuple[str, ...]] = [
        (before.task, before.metric, before.shown, after.shown, points(gain), after.source)
        for (before, after), gain in zip(pairs, gains, strict=True)
    ]
    if gains:
        rows.append(("mean", "", "", "", points(sum(gains) / len(gains)), ""))
    return table(("target", "metric", BEFORE, AFTER, "difference", "source"), rows, left=2, tail=1)
