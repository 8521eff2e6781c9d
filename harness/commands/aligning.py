"""The command about cross-lingual alignment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.commands.options import Format, Quiet, Verbose, with_options
from harness.commands.outputs import errors, print_json
from harness.evaluation.options import Options


@with_options(
    only=("languages", "pooling", "dtype", "device", "limit", "data", "cache_dir", "offline")
)
def align(
    model: Annotated[str, typer.Argument(metavar="MODEL[@REV]", help="Hub id or folder.")],
    options: Options,
    task: Annotated[str, typer.Option(help="A task of translation pairs.")] = "tatoeba",
    figure: Annotated[
        Path | None, typer.Option(help="Also draw the layers as SVG.", metavar="FILE")
    ] = None,
    format: Format = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure cross-lingual alignment layer by layer, over words and sentences.

    The cosine of translation pairs beside that of random pairs, and the rank of the translation.
    Words are those of the sentence pairs that occur together and translate each other.
    """
    with errors():
        from harness.alignment.align import align as aligned
        from harness.errors import IncompleteError
        from harness.terminal.alignment import check_figure
        from harness.terminal.display import Display

        check_figure(figure)
        try:
            with Display(quiet=quiet, verbose=verbose) as display:
                found = aligned(model, task, replace(options, reporter=display))
        except IncompleteError as error:
            if error.scores is not None:
                _print(error.scores, format, figure)
            raise
        _print(found, format, figure)


def _print(found: Any, format: str, figure: Path | None) -> None:
    from harness.terminal.alignment import alignment_data, alignment_tables, write_figure
    from harness.terminal.console import stdout

    if figure is not None:
        write_figure(found, figure)
    if format == "json":
        print_json(alignment_data(found))
        return
    for line in alignment_tables(found):
        stdout().print(line)
