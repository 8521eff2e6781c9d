"""The command that shows results in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import CacheDir, Data
from harness.commands.outputs import echo, errors, print_notes


def view(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="DIR|RUN", help="Results folders or files, side by side."),
    ],
    port: Annotated[
        int,
        typer.Option(metavar="N", help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535),
    ] = 0,
    data: Data = None,
    cache_dir: CacheDir = None,
) -> None:
    """Show results in the browser: what `show` prints, read-only, for this machine alone.

    The address is printed. Pages have the scores by task and language with intervals, several
    models side by side, the worst examples with their texts where the data is at hand (--data, or
    the cache), and the board's interactive page of these results. Nothing is written but folds in
    the cache, and nothing asks the network. Ctrl-C ends it (exit 130).
    """  # fmt: skip
    with errors():
        from harness.analysis.measured import outcome_files
        from harness.data.folders import cache_folder, data_location
        from harness.viewer.pages import Source
        from harness.viewer.server import serve

        outcome_files(paths)  # an error here, not in the browser
        location = data_location(data, cache_dir, offline=True)
        server = serve(Source(tuple(paths), location, cache_folder(cache_dir) / "board"), port)
        with server:
            echo(f"http://127.0.0.1:{server.server_address[1]}/")
            print_notes(["Ctrl-C ends it"])
            server.serve_forever()
