"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Tasks = Annotated[list[str] | None, typer.Option("--task", help="A task; repeat for several.")]
Langs = Annotated[list[str] | None, typer.Option("--lang", help="A language; repeat for several.")]
SuiteName = Annotated[str | None, typer.Option(help="A suite of tasks. Default: xtreme-r.")]
Split = Annotated[str | None, typer.Option(help="Another split than the task's own.")]
Data = Annotated[
    Path | None,
    typer.Option(help="Folder with the official files (or set XHARNESS_DATA).", metavar="DIR"),
]
Out = Annotated[Path, typer.Option(help="Where results are kept.", metavar="DIR")]
CacheDir = Annotated[
    Path | None, typer.Option(help="Where downloads and vectors are kept.", metavar="DIR")
]
Offline = Annotated[bool, typer.Option("--offline", help="Make no connection at all.")]
Format = Annotated[str, typer.Option("--format", help="table or json.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")]
BoardRoot = Annotated[
    Path, typer.Option("--root", help="Holds leaderboard/ and submissions/.", metavar="DIR")
]
