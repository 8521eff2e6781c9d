"""Commands that train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import CacheDir, Data, Offline, Quiet, completed
from harness.commands.outputs import echo, errors


def train(
    base: Annotated[str, typer.Argument(metavar="BASE[@REV]", help="Hub id or folder.")],
    intermediate: Annotated[
        list[str],
        typer.Option(
            "--intermediate",
            "-i",
            help="An intermediate task; repeat for multi-task training.",
            autocompletion=lambda incomplete: completed("intermediate", incomplete),
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes.", metavar="DIR")],
    seed: Annotated[
        int, typer.Option(help="Seed of new heads, data order, dropout and masks.")
    ] = 0,
    max_examples: Annotated[
        int | None, typer.Option(help="Most examples to take of each task.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="Most steps to train.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Epochs (default: the recipe's).")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate (default: the recipe's).")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Examples per step, over all processes.")
    ] = None,
    max_length: Annotated[int | None, typer.Option(help="Most tokens per sequence.")] = None,
    lora: Annotated[
        bool, typer.Option("--lora", help="Train adapters, merged into the weights at the end.")
    ] = False,
    lora_layers: Annotated[
        str | None, typer.Option(help="Layers with adapters, such as 0-3. Default: all.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="bfloat16 is mixed precision.", metavar="float32|bfloat16")
    ] = "float32",
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps.")] = None,
    data: Data = None,
    cache_dir: CacheDir = None,
    offline: Offline = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of resuming.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train a base on intermediate tasks: the result is an ordinary checkpoint folder.

    Killed at any moment, the same command goes on from the last saved step.
    """
    with errors():
        import shlex
        import sys

        from harness import api
        from harness.training.config import process
        from harness.training.progress import Progress

        command = shlex.join(["xharness", *sys.argv[1:]])
        first = process()[0] == 0  # of several processes one speaks
        with Progress(quiet=quiet or not first) as progress:
            made = api.train(
                base, intermediate, out, seed=seed, max_examples=max_examples,
                max_steps=max_steps, epochs=epochs, lr=lr, batch_size=batch_size,
                max_length=max_length, lora=lora, lora_layers=lora_layers, dtype=dtype,
                device=device, data=data, cache_dir=cache_dir, offline=offline, fresh=fresh,
                command=command, reporter=progress,
            )  # fmt: skip
        if first:
            echo(made)
        progress.say(f"next: xharness eval {shlex.quote(str(made))}")
