"""The command about cross-lingual alignment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.commands.options import CacheDir, Data, Format, Langs, Offline, Quiet, Verbose
from harness.commands.outputs import check_format, errors, print_json


def align(
    model: Annotated[str, typer.Argument(metavar="MODEL[@REV]", help="Hub id or folder.")],
    task: Annotated[str, typer.Option(help="A task of translation pairs.")] = "tatoeba",
    langs: Langs = None,
    pooling: Annotated[str | None, typer.Option(help="mean, cls, max or last.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps.")] = None,
    limit: Annotated[int | None, typer.Option(help="First N pairs of each language.")] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Also draw the layers as SVG.", metavar="FILE")
    ] = None,
    data: Data = None,
    cache_dir: CacheDir = None,
    offline: Offline = False,
    format: Format = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure cross-lingual alignment layer by layer, over words and sentences.

    The cosine of translation pairs beside that of random pairs, and the rank of the translation.
    Words are those of the sentence pairs that occur together and translate each other.
    """
    check_format(format)
    with errors():
        from harness.alignment.align import align as aligned
        from harness.errors import IncompleteError
        from harness.terminal.alignment import check_figure
        from harness.terminal.display import Display

        check_figure(figure)
        try:
            with Display(quiet=quiet, verbose=verbose) as display:
                found = aligned(
                    model, task, languages=langs or (), reporter=display, pooling=pooling,
                    dtype=dtype, device=device, limit=limit, data=data, cache_dir=cache_dir,
                    offline=offline,
                )  # fmt: skip
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
