"""Questions to the Hub: retried politely, and their failures in this project's terms."""

from __future__ import annotations

import errno
import hashlib
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import HarnessError, IncompleteError, NotFoundError, UsageError, one_line
from harness.io.retry import OVERLOADED, retried

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

CONVERTER = "SFconvertbot"  # the Hub's own account that opens conversion pull requests
Answer = TypeVar("Answer")


def model_info(name: str, revision: str | None) -> ModelInfo:
    """Commit, files and card of a model at a revision (the main branch by default).

    Raises:
        NotFoundError: no such repository or revision, gated, or unreachable.
    """
    from huggingface_hub import HfApi

    def ask() -> ModelInfo:
        return HfApi().model_info(name, revision=revision, files_metadata=True, timeout=30)

    return asked(ask, name, revision)


def conversions(name: str) -> list[str]:
    """The open pull requests (``refs/pr/N``) that add safetensors to a model, newest first.

    Those that the Hub's own converter opened; none where the repository has no discussions.

    Raises:
        NotFoundError: unreachable.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    def ask() -> list[Any]:
        try:
            return list(
                HfApi().get_repo_discussions(
                    name,
                    author=CONVERTER,
                    discussion_type="pull_request",
                    discussion_status="open",
                )
            )
        except HfHubHTTPError as error:
            if error.response.status_code in (403, 404, 410):  # discussions are switched off
                return []
            raise

    found = asked(ask, name, None)
    numbers = [
        one.num
        for one in found
        if one.is_pull_request
        and one.status == "open"
        and one.author == CONVERTER
        and "safetensors" in one.title.lower()
    ]
    return [f"refs/pr/{number}" for number in sorted(numbers, reverse=True)]


def first_bytes(name: str, commit: str, file: str, count: int) -> bytes:
    """The first ``count`` bytes of a file, or all of one that is shorter; no more is read.

    Raises:
        NotFoundError: gated, absent or unreachable.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        get_session,
        hf_raise_for_status,
    )

    if count == 0:
        return b""
    url = hf_hub_url(name, file, revision=commit)
    headers = {**build_hf_headers(), "Range": f"bytes=0-{count - 1}", "Accept-Encoding": "identity"}

    def ask() -> bytes:
        data = bytearray()
        with get_session().stream("GET", url, headers=headers, timeout=30) as response:
            if response.status_code >= 400:
                response.read()
            hf_raise_for_status(response)
            for block in response.iter_bytes():  # a server may ignore the range
                data += block
                if len(data) >= count:
                    break
        return bytes(data[:count])

    return asked(ask, name, commit)


def asked(
    ask: Callable[[], Answer],
    name: str,
    revision: str | None,
    *,
    statuses: Collection[int] = OVERLOADED,
) -> Answer:
    """The answer to a question about a repository, asked again after overload and cut connections.

    ``statuses``: those that mean overload; none where the client itself asks again after them.

    Raises:
        HarnessError: the last failure, explained.
    """
    try:
        return retried(ask, lambda error: _passing(error, statuses))
    except Exception as error:
        raise explained(error, name, revision) from error


def _passing(error: BaseException, statuses: Collection[int]) -> bool:
    """Whether another try may succeed. A Hub that takes no connection at all is not waited for."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in statuses
    names = {kind.__name__ for kind in type(error).__mro__}
    cut = {"TimeoutException", "NetworkError", "RemoteProtocolError", "JSONDecodeError"}
    return bool(names & cut) and "ConnectError" not in names


def git_blob_id(data: bytes) -> str:
    """Return the id that Git, and so the Hub, gives to the content of a file.

    https://git-scm.com/book/en/v2/Git-Internals-Git-Objects describes it.
    """
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Turn the errors of the Hub's client into errors that a user is meant to read."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        # The Hub refuses the content of a file, or the client a request, with a bare ValueError.
        if type(error) is not ValueError:
            raise explained(error, what, None) from error
        reason = one_line(error, 200)
        raise NotFoundError(f"the Hub does not take this for {what}: {reason}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the Hub client's warnings about single tries: what counts is how it ends."""
    from huggingface_hub.utils import logging as hub_logging

    before = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        hub_logging.set_verbosity(before)


def explained(error: Exception, name: str, revision: str | None) -> HarnessError:
    """The error in this project's terms, in one line with the remedy."""
    from huggingface_hub import constants, errors
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    endpoint = constants.ENDPOINT
    if isinstance(error, HFValidationError):
        return UsageError(f"{name!r} is no Hub id: write org/name")
    if isinstance(error, GatedRepoError):
        return NotFoundError(
            f"{name} is gated: accept its conditions at {endpoint}/{name}, then `hf auth login`"
        )
    if isinstance(error, RepositoryNotFoundError):
        return NotFoundError(
            f"{name} is not on {endpoint}, or is private: check the id, or `hf auth login`"
        )
    if isinstance(error, RevisionNotFoundError):
        return NotFoundError(
            f"{name} has no revision {revision!r}: see {endpoint}/{name}/commits/main"
        )
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return NotFoundError(
                f"{endpoint} refuses {name} (HTTP {status}): check access with `hf auth whoami`"
            )
        return NotFoundError(f"{endpoint} answers HTTP {status} for {name}: try again later")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return IncompleteError(f"the disk is full while downloading {name}: free some, run again")
    # The HTTP library is not the same in all versions of huggingface_hub; its base class is.
    unreachable = (errors.HTTPError, ConnectionError, TimeoutError)  # type: ignore[attr-defined]
    if isinstance(error, unreachable):
        return NotFoundError(
            f"cannot reach {endpoint} for {name} ({type(error).__name__}): check the network, or "
            "use --offline with what is cached"
        )
    reason = one_line(error, 200)
    return IncompleteError(f"the download of {name} broke off, run again to resume: {reason}")
