"""Repositories on the Hub as they are, and pull requests to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, NotFoundError, one_line
from harness.io.hub import explained
from harness.publishing.proposal import Change, Content, Kind, Proposal, changes, digest_of, read

OPEN = ("open", "draft")


@dataclass(frozen=True)
class Remote:
    """A repository at one commit; ``files``: path → sha256 of a large file, else git's blob id."""

    kind: Kind
    repo: str
    commit: str
    files: Mapping[str, str]
    _texts: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> frozenset[str]:
        """The files that it has."""
        return frozenset(self.files)

    def holds(self, path: str, content: Content) -> bool:
        """Whether the file at ``path`` has this content."""
        there = self.files.get(path)
        if there is None:
            return False
        return there == (digest_of(content) if len(there) == 64 else _blob_id(read(content)))

    def read(self, path: str) -> bytes | None:
        """The file's content, None where it is not there."""
        if path not in self.files:
            return None
        if path not in self._texts:
            from huggingface_hub import hf_hub_download

            with hub_errors(self.repo):
                found = hf_hub_download(
                    self.repo, path, repo_type=self.kind, revision=self.commit
                )  # fmt: skip
            self._texts[path] = Path(found).read_bytes()
        return self._texts[path]


@dataclass(frozen=True)
class Finding:
    """How a proposal stands: what is left to send, and where.

    ``state``: ``same`` (all of it is there), ``proposed`` (an open pull request of ours has it),
    ``declined`` (one of ours had it and was closed), ``update`` (an open one has something else)
    or ``new``. ``url`` and ``number`` are those of the pull request.
    """

    proposal: Proposal
    state: str
    changes: Sequence[Change] = ()
    url: str = ""
    number: int | None = None
    missing: bool = False  # the repository itself is still to be made

    @property
    def to_send(self) -> bool:
        """Whether there is something to send."""
        return self.state in ("new", "update")


def find(proposal: Proposal, author: str | None) -> Finding:
    """Compare a proposal with its repository and with our own pull requests to it.

    ``author``: our name on the Hub; None (not logged in) takes pull requests of this title for
    ours, which only a dry run does.

    Raises:
        NotFoundError: no such model repository, gated, or unreachable.
    """
    main = remote(proposal.kind, proposal.repo)
    if main is None:
        empty = Remote(proposal.kind, proposal.repo, "", {})
        return Finding(proposal, "new", changes(proposal, empty), missing=True)
    todo = changes(proposal, main)
    if not todo:
        return Finding(proposal, "same")
    pulls = _pulls(proposal, author)
    for pull in pulls:
        if pull.status not in (*OPEN, "closed"):
            continue
        branch = remote(proposal.kind, proposal.repo, f"refs/pr/{pull.num}")
        left = todo if branch is None else changes(proposal, branch)
        if not left:
            state = "proposed" if pull.status in OPEN else "declined"
            return Finding(proposal, state, url=pull.url, number=pull.num)
        if pull.status in OPEN:
            return Finding(proposal, "update", left, pull.url, pull.num)
    return Finding(proposal, "new", todo)


def send(finding: Finding) -> str:
    """Open or update the pull request; returns its address.

    Raises:
        NotFoundError: not logged in, no right to it, or unreachable.
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
    """Our name on the Hub, None without a token.

    Raises:
        NotFoundError: the token is refused, or the Hub cannot be reached.
    """
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        return None
    with hub_errors("the account"):
        return str(HfApi().whoami()["name"])


def remote(kind: Kind, repo: str, revision: str | None = None) -> Remote | None:
    """A repository at a revision (main by default); None for a data set that is not there.

    Raises:
        NotFoundError: no such model repository, gated, or unreachable.
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
    return Remote(kind, info.id, info.sha, files)


def address(kind: Kind, repo: str) -> str:
    """Where a repository is seen."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """What the Hub's client raises, as errors that a user is meant to read."""
    try:
        yield
    except HarnessError:
        raise
    except ValueError as error:  # a README that the Hub does not take, a batch that it refuses
        if type(error) is not ValueError:
            raise explained(error, what, None) from error
        reason = one_line(error, 200)
        raise NotFoundError(f"the Hub does not take this for {what}: {reason}") from error
    except Exception as error:
        raise explained(error, what, None) from error


def _pulls(proposal: Proposal, author: str | None) -> list[Any]:
    """Our pull requests of this title, open ones first, then the latest."""
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


def _blob_id(data: bytes) -> str:
    """Git's object id: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects."""
    whole = f"blob {len(data)}\0".encode() + data
    return hashlib.sha1(whole, usedforsecurity=False).hexdigest()
