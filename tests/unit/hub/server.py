"""A Hub on loopback: what `huggingface_hub` needs of its protocol, over real HTTP.

Two ports, because the Hub sends large files from another host than the one it is asked at, and a
client's token must not follow there. It offers no Xet: clients set HF_HUB_DISABLE_XET.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

from .pages import Pages
from .repositories import Fault, File, Repository, Request, is_large


class Hub:
    """The state of the server; `with running() as hub` starts one."""

    def __init__(self, url: str, cdn_url: str) -> None:
        self.url = url
        self.cdn_url = cdn_url
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.repositories: dict[str, Repository] = {}
        self.storage: dict[str, File] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.errors: list[BaseException] = []
        """Of the server itself: none, if it is right."""
        self.changed = threading.Condition()

    def add(self, name: str, files: dict[str, bytes | File] | None = None, **facts) -> Repository:
        """A repository; of large files, `files` says what the storage sends."""
        repository = self.repositories[name] = Repository(name, **facts)
        if files is not None:
            repository.commit(files)
        return repository

    def fail(self, request: str, **facts) -> Fault:
        """Plan a fault."""
        self.faults.append(Fault(request, **facts))
        return self.faults[-1]

    def seen(self, text: str = "") -> list[str]:
        """The requests so far as "METHOD /path" that contain `text`."""
        return [str(request) for request in self.requests if text in str(request)]

    def wait_for(self, text: str, count: int) -> None:
        """Until so many requests that contain `text` have come in."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.seen(text)) >= count, timeout=60)

    def cdn_bytes(self) -> int:
        """How much of large files was sent."""
        return sum(request.sent for request in self.requests if request.is_cdn)

    def begin(self, request: Request) -> Fault | None:
        """Record a request: what shall go wrong with it."""
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
            for fault in self.faults:
                if fault.strikes(str(request)):
                    fault.times -= 1
                    return fault
        return None

    def large_file(self, sha256: str) -> File | None:
        """From the storage, which all repositories share."""
        for repository in self.repositories.values():
            for tree in repository.commits.values():
                for name, file in tree.items():
                    if is_large(name) and file.sha256 == sha256:
                        return file
        return self.storage.get(sha256)


class Server(ThreadingHTTPServer):
    """One port."""

    daemon_threads = True
    hub: Hub
    is_cdn = False

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no error of the server."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            self.hub.errors.append(error)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running() -> Iterator[Hub]:
    """A Hub that answers on two ports of its own."""
    with Server(("127.0.0.1", 0), Pages) as front, Server(("127.0.0.1", 0), Pages) as cdn:
        cdn.is_cdn = True
        front.hub = cdn.hub = Hub(front.url, cdn.url)
        threads = [threading.Thread(target=s.serve_forever, args=(0.05,)) for s in (front, cdn)]
        for thread in threads:
            thread.start()
        try:
            yield front.hub
        finally:
            for server in (front, cdn):
                server.shutdown()
            for thread in threads:
                thread.join()
