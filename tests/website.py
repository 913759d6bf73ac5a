"""A web server for tests, which can misbehave as real ones do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server has, and how it behaves; may be changed while it runs.

    Attributes
    ----------
    files
        Path without the leading slash → content.
    cut_after
        Break the connection off after so many bytes of a body, this many times in all.
    seen
        Path of every request.
    """

    files: dict[str, bytes]
    cut_after: int = 0
    cuts: int = 0
    seen: list[str] = field(default_factory=list)
    url: str = ""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that hangs up in the middle is what some tests are about


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site, name = self.site, self.path.lstrip("/")
        site.seen.append(name)
        body = site.files.get(name)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if site.cuts and len(body) > site.cut_after:
            site.cuts -= 1
            self.wfile.write(body[: site.cut_after])
            self.close_connection = True
            return
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Site]:
    """Serve on a free port of this machine."""
    site = Site(files)
    handler = type("Handler", (_Handler,), {"site": site})
    with _Server(("127.0.0.1", 0), handler) as server:
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
