"""The HTTP server of `xharness view`: it answers only this machine, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from harness.errors import UsageError
from harness.version import __version__
from harness.viewer.pages import Answer, Source, answer

LOOPBACK = "127.0.0.1"
# The interactive page has a script that sorts. No page asks another machine for anything.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def serve(source: Source, port: int) -> ThreadingHTTPServer:
    """Return a server that listens on the loopback address; ``port`` 0 takes a free port.

    Raises:
        UsageError: the port is taken, or may not be used.
    """
    reading = Lock()  # Only one request reads at a time, because a page may compute new scores.

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = f"xharness/{__version__}", ""
        protocol_version = "HTTP/1.1"
        timeout = 30  # seconds that a connection may stay silent

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def handle(self) -> None:
            with suppress(ConnectionError):  # The browser has closed the connection.
                super().handle()

        def _answer(self, *, with_body: bool) -> None:
            if self._own():
                with reading:
                    found = answer(source, self.path)
            else:
                found = Answer(403, "text/plain; charset=utf-8", b"only 127.0.0.1 and localhost\n")
            self.send_response(found.status)
            self.send_header("Content-Type", found.kind)
            self.send_header("Content-Length", str(len(found.body)))
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(found.body)

        def _own(self) -> bool:
            """Return whether the browser asked for this server by its own name.

            A page of another site can make its name lead to this machine, but its browser then asks
            by that name.
            """
            own = self.connection.getsockname()[1]
            return self.headers.get("Host") in (f"{LOOPBACK}:{own}", f"localhost:{own}")

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing about a request."""

    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"--port {port} cannot be used: {error}; leave it out for a free one"
        ) from None
    server.daemon_threads = True
    return server
