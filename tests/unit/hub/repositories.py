"""What a Hub holds, as plain objects: repositories, their commits and files, and planned faults."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

LARGE = (".safetensors", ".bin", ".pth", ".pt", ".tar", ".jpg", ".png")
"""Endings that the Hub keeps in large file storage; all else are git's own blobs."""


@dataclass(frozen=True)
class File:
    """One file; what is stated about it and what is sent are its content unless told otherwise."""

    content: bytes
    sent: bytes | None = None
    """What goes over the wire instead."""
    announced: int | None = None
    """The size that is stated instead."""

    @property
    def size(self) -> int:
        return len(self.content) if self.announced is None else self.announced

    @property
    def body(self) -> bytes:
        return self.content if self.sent is None else self.sent

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def git_blob(content: bytes) -> str:
    """The name git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(name: str) -> bool:
    return name.endswith(LARGE)


def blob_id(name: str, file: File) -> str:
    """Of a large file, git knows the pointer only."""
    if not is_large(name):
        return git_blob(file.content)
    return git_blob(pointer(file))


def pointer(file: File) -> bytes:
    """What git stores for a large file."""
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"
    return text.format(file.sha256, file.size).encode()


@dataclass
class Repository:
    """A model repository; its history is the list of commits that `commit` made."""

    name: str
    private: bool = False
    gated: bool = False
    """Listed for everyone, read by nobody."""
    card: dict[str, Any] = field(default_factory=dict)
    """What its README's header says, such as the licence."""
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes | File], *, branch: str = "main") -> str:
        """Add files on top of what the branch has: the new commit's hash."""
        tree = dict(self.commits[self.branches[branch]]) if branch in self.branches else {}
        tree |= {n: f if isinstance(f, File) else File(f) for n, f in files.items()}
        names = "".join(f"{name}:{blob_id(name, file)}\n" for name, file in sorted(tree.items()))
        commit = hashlib.sha1(f"{self.name}#{len(self.commits)}\n{names}".encode()).hexdigest()
        self.commits[commit] = tree
        self.branches[branch] = commit
        return commit

    def find(self, revision: str) -> str | None:
        """The commit that a branch, or a commit's own hash, means."""
        commit = self.branches.get(revision, revision)
        return commit if commit in self.commits else None

    @property
    def head(self) -> str:
        return self.branches["main"]

    @property
    def files(self) -> dict[str, File]:
        return self.commits[self.head]


@dataclass
class Fault:
    """Something goes wrong with the next requests whose "METHOD /path" it describes."""

    request: str
    """A regular expression."""
    times: int = 1
    status: int | None = None
    """Answer this instead, with `headers`."""
    headers: dict[str, str] = field(default_factory=dict)
    more: dict[str, str] = field(default_factory=dict)
    """Headers of the right answer that are replaced, or added."""
    cut: int | None = None
    """Close the connection after so many bytes of the body."""
    hold: int | None = None
    """Wait after so many bytes of the body: `held` says so, `go` ends it."""
    drip: float | None = None
    """Send one byte at a time, with so many seconds between them."""
    held: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def strikes(self, request: str) -> bool:
        return self.times > 0 and re.search(self.request, request) is not None


@dataclass
class Request:
    """A request that came in, and how much body went out."""

    method: str
    path: str
    is_cdn: bool
    has_token: bool
    range: str | None
    agent: str
    sent: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.path}"
