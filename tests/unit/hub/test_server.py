"""The Hub on loopback, against the client it is made for: plain `huggingface_hub`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from .clients import User
from .repositories import File, git_blob
from .server import Hub

TEXT = b'{"a": 1}'
WEIGHTS = bytes(range(256)) * 100

LIST = """
from huggingface_hub import HfApi
info = HfApi().model_info(name, revision=revision, files_metadata=True)
result = {
    "sha": info.sha, "license": info.card_data and info.card_data.license, "private": info.private,
    "files": {f.rfilename: [f.size, f.blob_id, f.lfs and f.lfs.sha256] for f in info.siblings},
}
"""
FETCH = """
from huggingface_hub import hf_hub_download
result = hf_hub_download(name, file, revision=revision)
"""
FAIL = """
from huggingface_hub.errors import HfHubHTTPError
try:
    {}
except HfHubHTTPError as error:
    result = [type(error).__name__, error.response.status_code]
"""


def fetch(user: User, file: str, revision: str = "main") -> Path:
    answer = user.python(FETCH, name="you/model", file=file, revision=revision)
    assert answer.code == 0, answer.err
    return Path(answer.json)


def failing(code: str) -> str:
    return FAIL.format(code.strip().replace("\n", "\n    "))


def test_a_listing(hub: Hub, stranger: User) -> None:
    files = {"config.json": TEXT, "a/model.bin": WEIGHTS}
    repository = hub.add("you/model", files, card={"license": "mit"})
    listed = stranger.python(LIST, name="you/model", revision=None).json
    (text, binary) = (listed["files"][name] for name in files)
    assert listed["sha"] == repository.head
    assert listed["license"] == "mit"
    assert text == [len(TEXT), git_blob(TEXT), None]
    assert binary[::2] == [len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest()]
    assert hub.seen() == ["GET /api/models/you/model"]


def test_a_tree(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"config.json": TEXT, "model.bin": WEIGHTS})
    code = """
from huggingface_hub import HfApi
files = HfApi().list_repo_tree("you/model", recursive=True)
result = [[f.path, f.size, f.lfs and f.lfs.sha256] for f in files]
"""
    assert stranger.python(code).json == [
        ["config.json", len(TEXT), None],
        ["model.bin", len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest()],
    ]


def test_a_small_file_comes_from_the_front(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"config.json": TEXT})
    assert fetch(stranger, "config.json").read_bytes() == TEXT
    assert hub.seen() == [f"{verb} /you/model/resolve/main/config.json" for verb in ("HEAD", "GET")]


def test_a_large_file_comes_from_the_storage_which_sees_no_token(hub: Hub, me: User) -> None:
    hub.add("you/model", {"sub/model.bin": WEIGHTS}, private=True)
    path = fetch(me, "sub/model.bin")
    assert path.read_bytes() == WEIGHTS
    asked, sent = hub.requests
    assert (str(asked), asked.is_cdn, asked.has_token) == (
        "HEAD /you/model/resolve/main/sub/model.bin",
        False,
        True,
    )
    assert (sent.is_cdn, sent.has_token, sent.sent) == (True, False, len(WEIGHTS))


def test_revisions(hub: Hub, stranger: User) -> None:
    repository = hub.add("you/model", {"config.json": b"old"})
    old = repository.head
    repository.commit({"config.json": b"new"})
    assert fetch(stranger, "config.json").read_bytes() == b"new"
    assert fetch(stranger, "config.json", old).read_bytes() == b"old"
    assert repository.find("main") != old


@pytest.mark.parametrize(
    ("name", "file", "revision", "user", "error"),
    [
        ("no/model", "x", "main", "stranger", ["RepositoryNotFoundError", 401]),
        ("no/model", "x", "main", "me", ["RepositoryNotFoundError", 404]),
        ("a/secret", "x", "main", "stranger", ["RepositoryNotFoundError", 401]),
        ("a/closed", "x", "main", "stranger", ["GatedRepoError", 401]),
        ("a/closed", "x", "main", "me", ["GatedRepoError", 403]),
        ("an/open", "x", "v9", "me", ["RevisionNotFoundError", 404]),
        ("an/open", "y", "main", "me", ["EntryNotFoundError", 404]),
    ],
)
def test_refusals(hub: Hub, name, file, revision, user, error, request) -> None:
    hub.add("an/open", {"x": TEXT})
    hub.add("a/secret", {"x": TEXT}, private=True)
    hub.add("a/closed", {"x": TEXT}, gated=True)
    user = request.getfixturevalue(user)
    answer = user.python(failing(FETCH), name=name, file=file, revision=revision)
    kind, code = answer.json
    assert [kind.replace("RemoteEntry", "Entry"), code] == error  # its name until 0.34


def test_a_wrong_token(hub: Hub, stranger: User) -> None:
    hub.add("an/open", {"x": TEXT})
    stranger.env["HF_TOKEN"] = "hf_wrong"
    answer = stranger.python(failing(LIST), name="an/open", revision=None)
    assert answer.json == ["HfHubHTTPError", 401]


def test_planned_faults(hub: Hub, stranger: User) -> None:
    hub.add("an/open", {"x": TEXT})
    hub.fail("GET /api/models/an/open", status=503, times=2)
    codes = [stranger.python(failing(LIST), name="an/open", revision=None).json for _ in range(2)]
    assert codes == [["HfHubHTTPError", 503]] * 2
    assert stranger.python(LIST, name="an/open", revision=None).json["private"] is False


def test_what_is_sent_may_differ_from_what_is_stated(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"model.bin": File(WEIGHTS, sent=WEIGHTS[::-1])})
    assert fetch(stranger, "model.bin").read_bytes() == WEIGHTS[::-1]


def test_an_upload(hub: Hub, me: User, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.safetensors").write_bytes(WEIGHTS)
    (tmp_path / "folder" / "README.md").write_text("---\nlicense: mit\n---\n")
    code = """
from huggingface_hub import HfApi
HfApi().create_repo("me/new", private=True, exist_ok=True)
HfApi().create_repo("me/new", private=True, exist_ok=True)
result = HfApi().upload_folder(repo_id="me/new", folder_path=folder).oid
"""
    answer = me.python(code, folder=tmp_path / "folder")
    repository = hub.repositories["me/new"]
    assert answer.code == 0, answer.err
    assert answer.json == repository.head
    assert repository.private
    assert repository.files["model.safetensors"].content == WEIGHTS
    assert repository.files["README.md"].content.startswith(b"---")
    assert all(not request.has_token for request in hub.requests if request.is_cdn)


@pytest.mark.parametrize(("user", "code"), [("stranger", 401), ("me", 403)])
def test_nobody_writes_to_others(hub: Hub, user: str, code: int, request) -> None:
    hub.add("you/model", {"x": TEXT})
    order = """
from huggingface_hub import HfApi
HfApi().upload_file(path_or_fileobj=b"new", path_in_repo="x", repo_id="you/model")
"""
    answer = request.getfixturevalue(user).python(failing(order))
    assert answer.json[1] == code
    assert hub.repositories["you/model"].files["x"].content == TEXT
