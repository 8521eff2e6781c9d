"""Commands that bring results to the Hub and keep a board up to date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import BoardRoot, CacheDir, Data, Offline, option
from harness.commands.outputs import echo, errors
from harness.errors import HarnessError, NotFoundError, UsageError, one_line

Yes = Annotated[bool, typer.Option("--yes", help="Send without asking.")]


def publish(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL[@REV]]...", help="Ids or slugs. Default: all measured."),
    ] = None,
    to: Annotated[str, typer.Option(help="Data set for the rows.", metavar="NAMESPACE/NAME")] = "",
    parts: Annotated[
        list[str] | None,
        typer.Option("--part", help="results, eval-results or card; repeat for several."),
    ] = None,
    root: BoardRoot = Path("."),
    cache_dir: CacheDir = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the exact changes, send nothing.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Publish results on the Hub as pull requests: rows, scores, evaluation results, card."""
    with errors():
        from harness.data.folders import cache_folder
        from harness.publishing.hub import send, whoami
        from harness.publishing.proposal import diff
        from harness.publishing.publish import PARTS, check_made, findings

        if not to:
            raise UsageError("no data set for the rows: give --to namespace/name")
        author = whoami()
        if yes and not dry_run:
            _logged_in(author)
        found = findings(
            root, models or (), data_set=to, parts=parts or PARTS, author=author,
            cache=cache_folder(cache_dir) / "board",
        )  # fmt: skip
        for one in found:
            echo(_heading(one))
            for line in diff(list(one.changes)):
                echo(line)
        failed = [one.error for one in found if one.error is not None]
        todo = [] if dry_run else [one for one in found if one.to_send]
        if todo and not yes:
            _confirm(f"send {len(todo)} pull request{'s' * (len(todo) > 1)}")
            _logged_in(author)
        for one in todo:
            try:
                echo(f"sent: {send(one)}")
            except HarnessError as error:  # The others are sent all the same.
                failed.append(error)
        check_made(failed, planned=sum(one.to_send or one.error is not None for one in found))


def refresh(
    slugs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SLUG]...", help="Submissions, tried even if they failed before."),
    ] = None,
    engine: Annotated[str, option("engine")] = "local",
    suite: Annotated[str | None, option("suite")] = None,
    max_parameters: Annotated[
        int | None, typer.Option(help="Leave checkpoints with more parameters pending.", min=1)
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop after this time; the rest stays pending.", min=0.0)
    ] = None,
    data: Data = None,
    root: BoardRoot = Path("."),
    cache_dir: CacheDir = None,
    offline: Offline = False,
    jobs: Annotated[
        bool, typer.Option("--jobs", help="Show the Hugging Face Jobs for what does not fit.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --jobs: start the jobs, which cost money.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be evaluated, and stop.")
    ] = False,
) -> None:
    """Evaluate what is submitted and not measured, or stale, and rebuild the leaderboard."""
    with errors():
        from harness.evaluation.engines import choose
        from harness.evaluation.options import Options, make_request
        from harness.publishing.hub import whoami
        from harness.refresh import worker
        from harness.refresh.fitting import Limits
        from harness.refresh.rebuild import NOBODY, check_failures, hand_over_pending, rebuild
        from harness.refresh.refresh import Refresh

        if not root.is_dir():
            raise NotFoundError(f"no folder {root}: give the --root of a board")
        if yes and not jobs:
            raise UsageError("--yes starts the jobs of --jobs: give both, or neither")
        choose(engine)
        if engine != "local":
            # Workers of a cluster have its environment, tokens included, and its network.
            raise UsageError(
                "refresh runs checkpoints of strangers in processes without secrets, which are "
                "this machine's: use --engine local, or evaluate with `xharness eval`"
            )
        request = make_request(
            Options(
                suite=suite, data=data, out=root / "leaderboard" / "results",
                cache_dir=cache_dir, offline=offline, device="cpu",
            )
        )  # fmt: skip
        todo = Refresh(
            root=root, request=request, limits=Limits(max_parameters, max_minutes),
            cache_dir=cache_dir, chosen=tuple(slugs or ()),
            say=lambda line: echo(line, err=True),
        )  # fmt: skip
        send = yes and not dry_run
        account = whoami() if jobs else None
        if send:  # said before hours of evaluation, not after
            _logged_in(account)
        if dry_run:
            items = todo.items()
            for slug in todo.failed if not todo.chosen else ():  # Their files cannot be read.
                echo(f"{slug}: {todo.attempts[slug]}")
            for item in items:
                what = ", ".join(item.pending.units) if item.due else item.reason
                echo(f"{item.slug}: {item.state}{f': {what}' if what else ''}")
        else:
            worker.shield()
            for item, attempt in todo.run():
                echo(f"{item.slug}: {attempt}")
        if jobs:
            for line in hand_over_pending(todo, account or NOBODY, send=send):
                echo(line)
        if not dry_run:
            for path in rebuild(root, cache=request.runtime.cache / "board"):
                echo(f"changed: {path}", err=True)
            check_failures(todo)


def _heading(found: object) -> str:
    from harness.publishing.hub import Finding, address

    assert isinstance(found, Finding)
    proposal = found.proposal
    what = f"{address(proposal.kind, proposal.repo)} — {proposal.title}"
    said = {
        "same": "nothing to send: all of it is there",
        "proposed": f"nothing to send: proposed already in {found.url}",
        "declined": f"nothing to send: it was declined in {found.url}",
        "update": f"update of {found.url}",
        "new": "new pull request",
        "failed": f"cannot be made: {one_line(found.error)}",
    }[found.state]
    return f"# {what}: {said}{' (and a new data set)' * found.missing}"


def _logged_in(author: str | None) -> None:
    if author is None:
        raise NotFoundError("not logged in to the Hub: `hf auth login`, or set HF_TOKEN")


def _confirm(what: str) -> None:
    """Ask on a terminal. UsageError where there is none, or the answer is no."""
    if not sys.stdin.isatty():
        raise UsageError("nothing was sent: give --yes to send it, --dry-run to only look")
    try:
        agreed = typer.confirm(f"{what}?", err=True)
    except typer.Abort:
        agreed = False
    if not agreed:
        raise UsageError("nothing was sent")
