"""The loopback Hub's write routes: commits, large files, pull requests, repositories and jobs.

Only what huggingface_hub sends without Xet is understood. Every write needs a token that is known
here; nothing is ever written without one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.pulls import Pull

if TYPE_CHECKING:
    from tests.hub.server import Answer, Hub, Repository

REPO = r"/api/(models|datasets)/([^/]+/[^/]+)"
PREUPLOAD = re.compile(rf"{REPO}/preupload/([^/]+)")
COMMIT = re.compile(rf"{REPO}/commit/([^/]+)")
BATCH = re.compile(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")
OBJECT = re.compile(r"/lfs/([0-9a-f]{64})")
JOBS = re.compile(r"/api/jobs/([^/]+)")
TOKEN = "hf_a_token_of_this_test"


@dataclass
class Request:
    """What a client sent."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path, still quoted."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter."""
        return {key: values[-1] for key, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def token(self) -> str | None:
        """The token that came with it."""
        given = self.headers.get("Authorization", "")
        return given.removeprefix("Bearer ") or None


@dataclass(eq=False)
class Writing:
    """What the Hub knows besides repositories.

    ``users``: token → name. ``uploads``: large files by sha256. ``tokens``: the token, or None,
    of every request in order, beside ``Hub.requests``.
    """

    users: dict[str, str] = field(default_factory=lambda: {TOKEN: "tester"})
    uploads: dict[str, bytes] = field(default_factory=dict)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    def files(self: Any, name: str, kind: str = "models", branch: str = "main") -> dict[str, bytes]:
        """The files of a repository on a branch."""
        repository = self.repositories[kind, name]
        found: dict[str, bytes] = repository.commits[repository.branches[branch]]
        return found

    def close(self: Any, name: str, num: int, kind: str = "models", *, merge: bool = False) -> None:
        """Merge a pull request, or turn it down."""
        pull = self.pulls[kind, name][num - 1]
        pull.status = "merged" if merge else "closed"
        if merge:
            branches = self.repositories[kind, name].branches
            branches["main"] = branches[f"refs/pr/{num}"]


def respond(hub: Hub, request: Request) -> Answer | None:
    """The answer to a request that writes or is about writing; None for any other."""
    from tests.hub.server import _error, _json

    path = request.path
    hub.tokens.append(request.token)
    if path == "/api/validate-yaml" and request.method == "POST":
        return _json({"errors": [], "warnings": []})
    if request.method in ("GET", "HEAD") and path != "/api/whoami-v2":
        return None
    if request.method == "PUT" and (match := OBJECT.fullmatch(path)):
        # As on the real Hub, where the address itself is signed.
        if hashlib.sha256(request.body).hexdigest() != match[1]:
            return _error(400, "BadRequest", "not the announced content")
        hub.uploads[match[1]] = request.body
        return _json({})
    author = hub.users.get(request.token or "")
    if author is None:
        return _error(401, "Unauthorized", "Invalid username or password.")
    return _authorized(hub, request, author)


def _authorized(hub: Hub, request: Request, author: str) -> Answer | None:
    from tests.hub.server import _error, _json

    path = request.path
    if path == "/api/whoami-v2":
        return _json({"name": author, "type": "user", "orgs": []})
    sent = request.body
    if path == "/api/repos/create":
        wanted = json.loads(sent)
        name = f"{wanted.get('organization') or author}/{wanted['name']}"
        kind = f"{wanted.get('type', 'model')}s"
        if (kind, name) in hub.repositories:
            return _error(409, "Conflict", "You already created this repo")
        hub.add(name, {".gitattributes": b"*.parquet filter=lfs\n"}, kind=kind)
        return _json({"url": f"{hub.url}/{'datasets/' if kind == 'datasets' else ''}{name}"})
    if match := PREUPLOAD.fullmatch(path):
        kind, name, revision = (unquote(part) for part in match.groups())
        there = _repository(hub, kind, name)
        if there is None:
            return _error(401, "RepoNotFound", "Repository not found")
        return _json(_modes(there.commits[there.branches[revision]], json.loads(sent)["files"]))
    if match := BATCH.fullmatch(path):
        return _json({"transfer": "basic", "objects": _objects(hub, json.loads(sent)["objects"])})
    if match := COMMIT.fullmatch(path):
        kind, name, revision = (unquote(part) for part in match.groups())
        there = _repository(hub, kind, name)
        if there is None:
            return _error(401, "RepoNotFound", "Repository not found")
        as_pull = request.query.get("create_pr") == "1"
        if not as_pull and author != name.split("/")[0] and not revision.startswith("refs/pr/"):
            return _error(403, "Forbidden", "no right to write")
        return _json(_commit(hub, there, (kind, name), revision, sent, author, as_pull))
    if match := JOBS.fullmatch(path):
        spec = json.loads(sent)
        hub.jobs.append({"namespace": match[1], **spec})
        owner = {"id": "0", "name": match[1], "type": "user"}
        job = {"id": f"job{len(hub.jobs)}", "owner": owner, "status": {"stage": "SCHEDULING"}}
        return _json({**spec, **job})
    if path.startswith("/api/buckets/"):
        name = path.removeprefix("/api/buckets/")
        return _json({"url": f"{hub.url}/buckets/{name}", "id": name})
    return None


def _repository(hub: Hub, kind: str, name: str) -> Repository | None:
    return hub.repositories.get((kind, name))


def _modes(there: Mapping[str, bytes], files: list[dict[str, Any]]) -> dict[str, Any]:
    from tests.hub.server import LARGE, _object_id

    def described(path: str) -> dict[str, Any]:
        large = path.endswith(LARGE)
        found: dict[str, Any] = {
            "path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False,
        }  # fmt: skip
        if path in there:
            data = there[path]
            found["oid"] = hashlib.sha256(data).hexdigest() if large else _object_id(data)
        return found

    return {"files": [described(file["path"]) for file in files]}


def _objects(hub: Hub, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"oid": one["oid"], "size": one["size"]}
        | (
            {}
            if one["oid"] in hub.uploads
            else {"actions": {"upload": {"href": f"{hub.url}/lfs/{one['oid']}"}}}
        )
        for one in wanted
    ]


def _commit(
    hub: Hub,
    there: Repository,
    key: tuple[str, str],
    revision: str,
    sent: bytes,
    author: str,
    as_pull: bool,
) -> dict[str, Any]:
    kind, name = key
    lines = [json.loads(line) for line in sent.splitlines()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    files = dict(there.commits[there.branches[revision]])
    for line in lines:
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[value["path"]] = hub.uploads[value["oid"]]
        elif line["key"] == "deletedFile":
            del files[value["path"]]
    digest = hashlib.sha1(f"{kind} {name}".encode(), usedforsecurity=False)
    for path, data in sorted(files.items()):
        digest.update(f"{path}\0{len(data)}\0".encode() + data)
    commit = digest.hexdigest()
    there.commits[commit] = files
    prefix = "datasets/" if kind == "datasets" else ""
    answer = {"commitUrl": f"{hub.url}/{prefix}{name}/commit/{commit}", "commitOid": commit}
    if as_pull:
        pulls = hub.pulls.setdefault(key, [])
        pulls.append(Pull(len(pulls) + 1, header["summary"], author))
        there.branches[f"refs/pr/{len(pulls)}"] = commit
        answer["pullRequestUrl"] = f"{hub.url}/{prefix}{name}/discussions/{len(pulls)}"
    else:
        there.branches[revision] = commit
    return answer
