"""A web server for tests, which can misbehave as real ones do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Seen = list[tuple[str, str | None]]


@dataclass
class Site:
    """What the server has, and how it behaves; may be changed while it runs.

    Attributes
    ----------
    files
        Path without the leading slash → content.
    cut_after
        Break the connection off after so many bytes of a body, this many times in all.
    ranges
        Whether it can send parts.
    etag
        Sent with every file, if not empty.
    status, kind
        Of every answer, where not 200 and bytes.
    seen
        Path and Range header of every request.
    """

    files: dict[str, bytes]
    cut_after: int = 0
    cuts: int = 0
    ranges: bool = True
    etag: str = '"one"'
    status: int = 200
    kind: str = "application/octet-stream"
    seen: Seen = field(default_factory=list)
    url: str = ""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that hangs up in the middle is what some tests are about


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site = self.site
        name, asked = self.path.lstrip("/"), self.headers.get("Range")
        site.seen.append((name, asked))
        body = site.files.get(name)
        if body is None or site.status >= 400:
            self.send_error(site.status if site.status >= 400 else 404)
            return
        start, total = 0, len(body)
        if asked and site.ranges and self.headers.get("If-Range") in (None, site.etag):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        if site.etag:
            self.send_header("ETag", site.etag)
        self.send_header("Content-Type", site.kind)
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        body = body[start:]
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
