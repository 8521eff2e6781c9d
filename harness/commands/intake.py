"""Commands that take in checkpoints: submissions, and weights that are only pickled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import BoardRoot, CacheDir, option
from harness.commands.outputs import echo, errors, print_notes
from harness.errors import HarnessError


def submit(
    model: Annotated[str, typer.Argument(metavar="MODEL[@REV]", help="A Hub id, or a folder.")],
    objective: Annotated[
        str, typer.Option(help="Objective of its intermediate training: extractive-qa, nli …")
    ],
    base: Annotated[
        str | None,
        typer.Option(help="Checkpoint that the training started from.", metavar="MODEL[@REV]"),
    ] = None,
    languages: Annotated[
        list[str] | None,
        typer.Option("--language", help="A language of the training data; repeat for several."),
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="A data set it was trained on; repeat for several."),
    ] = None,
    contaminated: Annotated[
        list[str] | None,
        typer.Option("--contaminated", help="A target task whose data it has seen; repeatable."),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the checkpoint.")] = None,
    protocol: Annotated[str, option("protocol")] = "standard",
    recipe: Annotated[
        str | None, typer.Option(help="Name of the recipe that several seeds share.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the training.")] = None,
    matched: Annotated[
        str | None, typer.Option(help="Design of matched checkpoints that it belongs to.")
    ] = None,
    notes: Annotated[
        list[str] | None,
        typer.Option("--note", help="A note for readers of the board; repeatable."),
    ] = None,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Commit, push and open a pull request, with gh.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; print the file and the commands.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file that submits this model already.")
    ] = False,
    root: BoardRoot = Path("."),
) -> None:
    """Vet a checkpoint without downloading its weights and write its submissions/*.yaml."""
    with errors():
        from harness.io.files import write_whole
        from harness.submissions import pull_request
        from harness.submissions.submitting import SubmitterClaims, propose

        claims = SubmitterClaims(
            objective=objective,
            base=base,
            languages=tuple(languages or ()),
            datasets=tuple(datasets or ()),
            contaminated=tuple(contaminated or ()),
            licence=licence,
            protocol=protocol,
            recipe=recipe,
            seed=seed,
            matched=matched,
            notes=tuple(notes or ()),
        )
        if create_pr:
            pull_request.check_repository(root)
        proposal = propose(model, claims, root, replace=force)
        print_notes(proposal.remarks)
        request = None
        if create_pr:
            request = pull_request.plan(root, proposal.path, proposal.submission)
        if dry_run:
            echo(proposal.text, end="")
            for command in request.commands if request else ():
                echo(command)
            return
        write_whole(proposal.path, proposal.text)
        echo(proposal.path)
        if request is not None:
            echo(pull_request.open_request(request))


def validate(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Submissions, or rows (.parquet).")
    ],
) -> None:
    """Name every problem of submission files with its line; exit 1 where there is one.

    A file of rows is checked as the leaderboard would read it; exit 6 where no run wrote it.
    """
    with errors():
        from harness.errors import CheckFailed, together
        from harness.submissions.problems import problems

        rows = [path for path in files if path.suffix == ".parquet"]
        failed: list[HarnessError] = list(_damaged(rows))
        found = problems(path for path in files if path not in rows)
        for problem in found:
            echo(problem)
        if found:
            named = [path for path in files if any(p.startswith(f"{path}:") for p in found)]
            many = f"{len(found)} problem{'s' * (len(found) > 1)}"
            failed.append(
                CheckFailed(
                    f"{many} in {len(named)} of {len(files)} files: correct them and run again"
                )
            )
        if failed:
            raise together(failed)


def _damaged(files: Sequence[Path]) -> Iterator[HarnessError]:
    """What is wrong with files of rows, one error a file."""
    if not files:
        return
    from harness.results.checks import check
    from harness.results.outcomes import OutcomeFile

    for path in files:
        try:
            check(OutcomeFile(path))
        except HarnessError as error:
            yield error


def convert(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL[@REV]", help="Hub id or folder with pickled weights only."),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder for the converted checkpoint.")
    ],
    cache_dir: CacheDir = None,
) -> None:
    """Convert pickled weights to safetensors, in a process without network or token."""
    with errors():
        from harness.data.folders import cache_folder, hub_cache
        from harness.submissions.convert import convert as converted

        made = converted(model, out, cache=hub_cache(cache_folder(cache_dir)))
        print_notes([f"the pickle was opened with: {'; '.join(made.isolation)}"])
        echo(f"{out} is {made.checkpoint.revision}")
