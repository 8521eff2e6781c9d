"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Models = Annotated[list[str], typer.Argument(metavar="MODEL[@REV]...", help="Hub id or folder.")]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", help="A task, or the path of a card (./task.yaml); repeat for several."),
]
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
ProtocolName = Annotated[str, typer.Option(help="standard or native.")]
Pooling = Annotated[str | None, typer.Option(help="mean, cls, max or last.")]
Layer = Annotated[str, typer.Option(help="A layer, auto, or all.")]
PromptQuery = Annotated[str | None, typer.Option(help="Put before every query.")]
PromptDocument = Annotated[str | None, typer.Option(help="Put before every document.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or mps.")]
Devices = Annotated[
    str | None,
    typer.Option(
        help="cpu, cuda or mps; several GPUs, each with a process of its own (cuda:0,cuda:1); or "
        "all of them.",
        metavar="D[,D...]|all",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Processes that share languages and texts on the CPU; a model for each."),
]
BatchTokens = Annotated[
    int | None, typer.Option(help="Tokens a batch; halved when memory runs out.")
]
Limit = Annotated[int | None, typer.Option(help="First N queries of each language.")]
Seed = Annotated[int, typer.Option(help="Of --finetune; recorded with the results.")]
Finetune = Annotated[
    bool,
    typer.Option(
        "--finetune/--no-finetune",
        help="Measure QA, LAReQA and Mewsli-X in the tuned track: a fresh head or dual encoder "
        "is trained first, by one recipe on every checkpoint, and kept in the cache. Tatoeba is "
        "measured both ways.",
    ),
]
Format = Annotated[str, typer.Option("--format", help="table or json.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")]
BoardRoot = Annotated[
    Path, typer.Option("--root", help="Holds leaderboard/ and submissions/.", metavar="DIR")
]
