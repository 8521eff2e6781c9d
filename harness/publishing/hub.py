"""Reads repositories on the Hub, and opens and updates pull requests to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.io.hub import hub_errors
from harness.publishing.proposal import Change, Kind, Proposal, RepositoryState, changes

OPEN = ("open", "draft")


@dataclass(frozen=True)
class Finding:
    """A proposal compared with its repository: what is left to send, and where.

    ``state``: ``same`` (the repository has all of it), ``proposed`` (an open pull request of ours
    has it), ``declined`` (a pull request of ours had it and was closed), ``update`` (an open pull
    request of ours has something else), ``new`` or ``failed``. ``url`` and ``number`` are those of
    the pull request. ``missing``: the repository itself does not exist yet. ``error``: why it
    failed.
    """

    proposal: Proposal
    state: str
    changes: Sequence[Change] = ()
    url: str = ""
    number: int | None = None
    missing: bool = False
    error: HarnessError | None = None

    @property
    def to_send(self) -> bool:
        """Whether there is something to send."""
        return self.state in ("new", "update")


def find(proposal: Proposal, author: str | None) -> Finding:
    """Compare a proposal with its repository and with our own pull requests to it.

    ``author``: our name on the Hub. Where it is None (nobody is logged in, as in a dry run), every
    pull request of this title counts as ours.

    Raises:
        NotFoundError: the model repository does not exist, is gated, or cannot be reached.
    """
    main = repository_state(proposal.kind, proposal.repo)
    if main is None:
        empty = RepositoryState(proposal.kind, proposal.repo, "", {})
        return Finding(proposal, "new", changes(proposal, empty), missing=True)
    todo = changes(proposal, main)
    if not todo:
        return Finding(proposal, "same")
    pulls = _pulls(proposal, author)
    for pull in pulls:
        if pull.status not in (*OPEN, "closed"):
            continue
        branch = repository_state(proposal.kind, proposal.repo, f"refs/pr/{pull.num}")
        left = todo if branch is None else changes(proposal, branch)
        if not left:
            state = "proposed" if pull.status in OPEN else "declined"
            return Finding(proposal, state, url=pull.url, number=pull.num)
        if pull.status in OPEN:
            return Finding(proposal, "update", left, pull.url, pull.num)
    return Finding(proposal, "new", todo)


def send(finding: Finding) -> str:
    """Open or update the pull request, and return its address.

    Raises:
        NotFoundError: nobody is logged in, or the repository refuses it or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    proposal = finding.proposal
    with hub_errors(proposal.repo):
        if finding.missing:
            HfApi().create_repo(proposal.repo, repo_type=proposal.kind, exist_ok=True)
        sent = HfApi().create_commit(
            proposal.repo,
            [CommitOperationAdd(change.path, change.after) for change in finding.changes],
            commit_message=proposal.title,
            commit_description=proposal.description,
            repo_type=proposal.kind,
            revision=None if finding.number is None else f"refs/pr/{finding.number}",
            create_pr=finding.number is None,
        )
    return finding.url if finding.number is not None else str(sent.pr_url)


def whoami() -> str | None:
    """Return our name on the Hub, or None where there is no token.

    Raises:
        NotFoundError: the Hub refuses the token, or cannot be reached.
    """
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        return None
    with hub_errors("the account"):
        return str(HfApi().whoami()["name"])


def repository_state(kind: Kind, repo: str, revision: str | None = None) -> RepositoryState | None:
    """Return a repository at a revision (main by default).

    It is None for a data set that does not exist, and for a revision that does not.

    Raises:
        NotFoundError: the model repository does not exist, is gated, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    with hub_errors(repo):
        try:
            info: Any = HfApi().repo_info(
                repo, repo_type=kind, revision=revision, files_metadata=True
            )  # fmt: skip
        except RevisionNotFoundError:
            return None
        except RepositoryNotFoundError:
            if kind == "dataset":
                return None
            raise
    files = {
        one.rfilename: str(one.lfs.sha256 if one.lfs is not None else one.blob_id)
        for one in info.siblings or ()
    }
    return RepositoryState(kind, info.id, info.sha, files)


def address(kind: Kind, repo: str) -> str:
    """Return the address of a repository's page."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"


def _pulls(proposal: Proposal, author: str | None) -> list[Any]:
    """Return our pull requests of this title: open ones first, and among these the latest."""
    from huggingface_hub import HfApi

    with hub_errors(proposal.repo):
        found = [
            pull
            for pull in HfApi().get_repo_discussions(
                proposal.repo, repo_type=proposal.kind, discussion_type="pull_request",
                author=author,
            )
            if pull.is_pull_request and pull.title == proposal.title
        ]  # fmt: skip
    return sorted(found, key=lambda pull: (pull.status not in OPEN, -pull.num))
