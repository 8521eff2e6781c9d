"""A loopback Hub: enough of the Hugging Face Hub's HTTP interface to resolve and download.

Repositories are snapshots of local folders, kept in memory at commits with branches on top. Every
request is logged. Answers can be made to fail, and branches to move while a client is at work.

    with Hub() as hub:
        commit = hub.add("org/tiny", folder)
        subprocess.run([...], env=os.environ | hub.environment(cache))
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.hub.pulls import DISCUSSIONS, Pull, listed
from tests.hub.writing import Request, Writing, respond

API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+)(?:/(.*))?)?")
RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
LARGE = (".safetensors", ".bin", ".parquet", ".model")


@dataclass
class Repository:
    """Commits (file name → bytes) and branches (name → commit) of one repository."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    needs_login: bool = False
    card: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """An answer in place of the real one, to requests whose path contains ``location``.

    With ``cut`` it is the real one, but the connection ends after so many bytes of the body; at 0
    there is no answer at all.
    """

    where: str
    status: int
    headers: Mapping[str, str]
    cut: int | None = None


class Hub(Writing):
    """The server; ``requests`` holds ``"METHOD path"`` of every request, in order.

    ``damaged`` and ``shortened``: files (``path``, or ``org/name/path`` of one repository) that
    come with another first byte, or as their first half. ``ranges``: whether ranges are understood.
    ``sent``: bytes of bodies so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.renamed: dict[str, str] = {}
        self.requests: list[str] = []
        self.failures: list[Failure] = []
        self.damaged: set[str] = set()
        self.shortened: set[str] = set()
        self.ranges = True
        self.sent = 0
        self.pulls: dict[tuple[str, str], list[Pull]] = {}
        self.after_info: Callable[[], object] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    @property
    def url(self) -> str:
        """The endpoint, for ``HF_ENDPOINT``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self, home: Path) -> dict[str, str]:
        """Variables that point huggingface_hub at this server, with its cache under ``home``."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def add(
        self,
        name: str,
        files: Path | Mapping[str, bytes],
        *,
        branch: str = "main",
        kind: str = "models",
        gated: bool = False,
        needs_login: bool = False,
        card: Mapping[str, Any] | None = None,
        commit: str | None = None,
    ) -> str:
        """Commit a folder (or files by name) to a branch of a repository; returns the commit.

        ``card``: what its README declares. ``commit``: its id, where that is known beforehand.
        ``gated``: files are refused, the listing is not. ``needs_login``: all is refused, as for
        private repositories, whose existence the Hub does not admit.
        """
        if isinstance(files, Path):
            folder = files
            files = {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
        digest = hashlib.sha1(f"{kind} {name}".encode(), usedforsecurity=False)
        for path, data in sorted(files.items()):
            digest.update(f"{path}\0{len(data)}\0".encode() + data)
        commit = commit or digest.hexdigest()
        repository = self.repositories.setdefault((kind, name), Repository())
        repository.commits[commit] = dict(files)
        repository.branches[branch] = commit
        repository.gated = gated
        repository.needs_login = needs_login
        repository.card = card or repository.card
        return commit

    def fail(
        self, where: str, status: int, *, times: int = 1, headers: Mapping[str, str] | None = None
    ) -> None:
        """Let the next ``times`` requests whose path contains ``location`` answer ``status``."""
        self.failures.extend([Failure(where, status, headers or {})] * times)

    def cut(self, where: str, *, after: int = 0, times: int = 1) -> None:
        """Cut the connection of such requests after so many bytes of the answer's body."""
        self.failures.extend([Failure(where, 200, {}, after)] * times)


@dataclass(frozen=True)
class Answer:
    """What goes back: status, headers, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    cut: int | None = None


def _error(status: int, code: str, message: str) -> Answer:
    body = json.dumps({"error": message}).encode()
    return Answer(status, {"X-Error-Code": code, "X-Error-Message": message}, body)


def _json(value: Any) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(value).encode())


def _object_id(data: bytes) -> str:
    """Git's id of a file's content."""
    whole = f"blob {len(data)}\0".encode() + data
    return hashlib.sha1(whole, usedforsecurity=False).hexdigest()


def _large(path: str, data: bytes) -> dict[str, Any] | None:
    if not path.endswith(LARGE):
        return None
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}


def failing(hub: Hub, path: str) -> Answer | None:
    """The failure that was asked for in place of the answer, once."""
    for failure in hub.failures:
        if failure.where in path:
            hub.failures.remove(failure)
            if failure.cut is not None:
                return replace(answer(hub, path), cut=failure.cut)
            return Answer(failure.status, failure.headers)
    return None


def answer(hub: Hub, path: str) -> Answer:
    """The answer to a GET of ``path`` (quoted, without the query)."""
    if match := API.fullmatch(path):
        kind, name, part, revision, _ = match.groups()
        return _api(hub, kind, unquote(name), part, unquote(revision or "main"))
    if match := RESOLVE.fullmatch(path):
        data_set, name, revision, file = match.groups()
        kind = "datasets" if data_set else "models"
        return _file(hub, kind, unquote(name), unquote(revision), unquote(file))
    return Answer(404, {})


def _api(hub: Hub, kind: str, name: str, part: str | None, revision: str) -> Answer:
    name = hub.renamed.get(name, name)
    repository = hub.repositories.get((kind, name))
    if repository is None or repository.needs_login:
        return _error(401, "RepoNotFound", "Repository not found")
    commit = repository.branches.get(revision, revision)
    files = repository.commits.get(commit)
    if files is None:
        return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    if part == "tree":
        return _json([_entry(path, data) for path, data in files.items()])
    found = _json(
        {
            "id": name,
            "modelId": name,
            "sha": commit,
            "private": False,
            "gated": "manual" if repository.gated else False,
            "tags": [],
            "cardData": dict(repository.card),
            "downloads": 0,
            "likes": 0,
            "siblings": [
                {
                    "rfilename": path,
                    "size": len(data),
                    "blobId": _object_id(data),
                    **({"lfs": large} if (large := _large(path, data)) else {}),
                }
                for path, data in files.items()
            ],
        }
    )
    if hub.after_info is not None:
        hub.after_info()
    return found


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry = {"type": "file", "oid": _object_id(data), "size": len(data), "path": path}
    large = _large(path, data)
    if large is not None:
        entry["lfs"] = {
            "oid": large["sha256"],
            "size": large["size"],
            "pointerSize": large["pointerSize"],
        }
    return entry


def _file(hub: Hub, kind: str, name: str, revision: str, path: str) -> Answer:
    repository = hub.repositories.get((kind, name))
    if repository is None or repository.needs_login:
        return _error(401, "RepoNotFound", "Repository not found")
    if repository.gated:
        return _error(403, "GatedRepo", f"Access to {kind} {name} is restricted")
    commit = repository.branches.get(revision, revision)
    files = repository.commits.get(commit)
    if files is None:
        return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    if path not in files:
        return _error(404, "EntryNotFound", "Entry not found")
    data = files[path]
    large = _large(path, data)
    tag = large["sha256"] if large else _object_id(data)
    if {path, f"{name}/{path}"} & hub.damaged:
        data = bytes([data[0] ^ 1]) + data[1:]
    if {path, f"{name}/{path}"} & hub.shortened:
        data = data[: len(data) // 2]
    headers = {
        "ETag": f'"{tag}"',
        "X-Repo-Commit": commit,
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    return Answer(200, headers, data)


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_POST(self) -> None:
            self._answer(with_body=True)

        def do_PUT(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            path = urlsplit(self.path).path
            hub.requests.append(f"{self.command} {path}")
            request = Request(self.command, self.path, self.headers, self._sent())
            found = (
                failing(hub, path)
                or respond(hub, request)
                or self._pulls(path)
                or answer(hub, path)
            )
            status, body, headers = found.status, found.body, dict(found.headers)
            span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if span and status == 200 and hub.ranges:
                first, last = int(span[1]), int(span[2] or len(body) - 1)
                headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
                status, body = 206, body[first : last + 1]
            if found.cut == 0:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body[: found.cut])
                hub.sent += len(body[: found.cut])
            if found.cut is not None:
                self.close_connection = True

        def _pulls(self, path: str) -> Answer | None:
            match = DISCUSSIONS.fullmatch(path)
            if match is None:
                return None
            name = unquote(match[2])
            query = dict(parse_qsl(urlsplit(self.path).query))
            return _json(listed(name, hub.pulls.get((match[1], name), []), query))

        def _sent(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            whole = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
