"""Commands about the leaderboard and its statistics."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.options import BoardRoot, CacheDir, Format, Out, Tasks, with_options
from harness.commands.outputs import echo, errors, print_json, print_notes, show_found
from harness.errors import UsageError
from harness.evaluation.options import Options

if TYPE_CHECKING:
    from harness.analysis.compare import Compared
    from harness.analysis.contrasts import Contrast


def leaderboard(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 and name what is stale.")
    ] = False,
    beside: Annotated[
        Path | None,
        typer.Option(
            "--with",
            metavar="DIR",
            help="Print the board with your own results beside it; nothing is written.",
        ),
    ] = None,
    root: BoardRoot = Path("."),
    cache_dir: CacheDir = None,
) -> None:
    """Rebuild the leaderboard from outcomes and submissions; prints the files that changed."""
    with errors():
        if beside is not None:
            if check:
                raise UsageError("--with shows and --check compares: give one of them")
            _print_beside(root, beside, cache_dir)
            return
        from harness.board.build import leaderboard as rebuilt
        from harness.data.folders import cache_folder

        cache = cache_folder(cache_dir) / "board"

        def show(files: list[Path]) -> None:
            for path in files:
                echo(path)

        show_found(lambda: rebuilt(root, check=check, cache=cache), show)


def _print_beside(root: Path, own: Path, cache_dir: Path | None) -> None:
    from harness.analysis.gather import read_board_scores
    from harness.analysis.measured import measured, outcome_files
    from harness.data.folders import cache_folder
    from harness.terminal.console import stdout
    from harness.terminal.grids import rich_table
    from harness.terminal.scores import board_grid, mean_notes

    board = read_board_scores(root)
    mine = measured(outcome_files([own]), cache_folder(cache_dir) / "board")
    for track in dict.fromkeys(row["track"] for row in mine):
        grid = board_grid(board, mine, track)
        stdout().print(rich_table(grid))
        of_track = [row for row in (*mine, *board) if row["track"] == track]
        print_notes([grid.caption, *mean_notes(of_track)])


@with_options(only=("seed", "data", "cache_dir", "device", "offline"))
def verify(
    options: Options,
    root: BoardRoot = Path("."),
    replay: Annotated[
        int | None,
        typer.Option(help="Measure N languages again, drawn by --seed.", metavar="N"),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Draw only from rows of this id or folder; repeat for several."),
    ] = None,
) -> None:
    """Recompute every score of the leaderboard from its outcomes; exit 1 where one differs.

    Answers to questions are scored again where their gold is in the data folder or the package.
    Rows that are forged and consistent are found by --replay alone, which measures a sample of them
    again: at least 99 % of a language's rows must be alike, its metrics within 0.1 points. Of
    rows that others sent, those that hold are ranked by the next `xharness leaderboard`.
    """
    with errors():
        from harness.analysis.gather import RESULTS
        from harness.board.build import verify as verified
        from harness.data.folders import data_location
        from harness.results.gold import check_gold

        echo(f"{verified(root):,} scores are what the outcomes give")
        location = data_location(options.data, options.cache_dir, offline=True)
        if again := check_gold(root / RESULTS, location):
            echo(f"{again:,} answers have the scores that the gold gives them")
        if replay is None:
            return
        from harness.evaluation.replay import failed, keep
        from harness.evaluation.replay import replay as replayed

        found = []
        for one in replayed(root / RESULTS, replay, models=model or (), options=options):
            echo(str(one))
            found.append(one)
        keep(root / RESULTS, found)
        failed(found)


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="An id, id@rev, folder, slug or recipe.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What A is compared with.")],
    task: Tasks = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Metric to compare (default: the primary one of each task)."
        ),
    ] = None,
    by_language: Annotated[
        bool, typer.Option("--by-language", help="Also compare every language of every task.")
    ] = False,
    root: BoardRoot = Path("."),
    out: Out = Path("leaderboard/results"),
    cache_dir: CacheDir = None,
    format: Format = "table",
) -> None:
    """Compare two checkpoints example by example: paired differences with intervals and tests."""
    with errors():
        import harness
        from harness.terminal.comparisons import compared_data, compared_tables
        from harness.terminal.console import stdout

        def show(found: list[Compared]) -> None:
            if format == "json":
                print_json(compared_data(found))
                return
            for line in compared_tables(found, by_language=by_language):
                stdout().print(line, soft_wrap=isinstance(line, str))

        read = partial(
            harness.compare, a, b, tasks=task, metric=metric, root=root, out=out,
            cache_dir=cache_dir,
        )  # fmt: skip
        show_found(read, show)


def contrast(
    root: BoardRoot = Path("."), cache_dir: CacheDir = None, format: Format = "table"
) -> None:
    """The named contrasts between kinds of intermediate training, per base."""
    with errors():
        from harness.analysis.gather import read_contrasts
        from harness.data.folders import cache_folder
        from harness.terminal.comparisons import contrast_data, contrast_lines
        from harness.terminal.console import stdout

        def show(found: tuple[Contrast, ...]) -> None:
            if format == "json":
                print_json(contrast_data(found))
            else:
                for line in contrast_lines(found):
                    stdout().print(line, soft_wrap=True)

        show_found(lambda: read_contrasts(root, cache_folder(cache_dir) / "board"), show)
