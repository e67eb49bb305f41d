"""HTTP as the Hub speaks it: requests are recorded, and bodies may be broken on the way out."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from .repositories import Fault, File, Request

if TYPE_CHECKING:
    from .server import Server


class RefusedError(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        self.message = headers.get("X-Error-Message", f"status {status}")


class Wire(BaseHTTPRequestHandler):
    """One connection, of either port; a subclass knows the pages."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        """Requests are recorded instead."""

    def do_HEAD(self) -> None:
        self.handle_request()

    def do_GET(self) -> None:
        self.handle_request()

    def do_POST(self) -> None:
        self.handle_request()

    def do_PUT(self) -> None:
        self.handle_request()

    def handle_request(self) -> None:
        """Read it wholly, then answer; `RefusedError` is an answer too."""
        self.hub = self.server.hub
        self.content = self.read_body()
        path = unquote(urlsplit(self.path).path)
        self.token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        self.request_seen = Request(
            self.command,
            path,
            is_cdn=self.server.is_cdn,
            has_token=bool(self.token),
            range=self.headers["Range"],
            agent=self.headers["User-Agent"] or "",
        )
        self.fault = self.hub.begin(self.request_seen)
        try:
            self.answer(path)
        except RefusedError as refused:
            self.reply({"error": refused.message}, refused.headers, refused.status)

    def answer(self, path: str) -> None:
        """Send the page at `path`."""
        raise NotImplementedError

    def read_body(self) -> bytes:
        if "chunked" not in (self.headers["Transfer-Encoding"] or ""):
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def send(self, file: File, headers: dict[str, str]) -> None:
        """A file, or from a byte on; with the faults of bodies."""
        body, status, first = file.body, 200, 0
        if self.request_seen.range:
            first = int(self.request_seen.range.removeprefix("bytes=").removesuffix("-"))
            status = 206
            headers |= {"Content-Range": f"bytes {first}-{file.size - 1}/{file.size}"}
        self.send_response(status)
        length = {"Content-Length": str(file.size - first)}
        more = self.fault.more if self.fault else {}
        for key, value in (headers | length | more).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.write_body(memoryview(body)[first:])

    def write_body(self, body: bytes | memoryview) -> None:
        """With the faults of bodies."""
        fault = self.fault or Fault("")
        if fault.hold is not None:
            self.write(body[: fault.hold])
            fault.held.set()
            fault.go.wait()
            body = body[fault.hold :]
        if fault.drip is not None:
            while body and not self.close_connection:
                self.write(body[:1])
                time.sleep(fault.drip)
                body = body[1:]
        self.write(body[: fault.cut])
        if fault.cut is not None:
            self.close_connection = True

    def write(self, body: bytes | memoryview) -> None:
        try:
            self.wfile.write(body)
            self.request_seen.sent += len(body)
        except OSError:  # the client has gone, as it does when cancelled
            self.close_connection = True

    def reply(
        self, answer: object, headers: dict[str, str] | None = None, status: int = 200
    ) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        more = self.fault.more if self.fault else {}
        kind = {"Content-Type": "application/json"}
        for key, value in {**kind, **(headers or {}), **more}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.write_body(body)
