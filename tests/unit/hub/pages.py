"""The pages of the Hub that `huggingface_hub` asks for: its API, its files, its storage."""

from __future__ import annotations

import base64
import hashlib
import json
from urllib.parse import urlsplit

from .repositories import File, Repository, blob_id, is_large, pointer
from .wire import RefusedError, Wire

TOKEN = "hf_aSecretThatNobodyElseMaySee"
"""Of the user `me`, who may read and write every repository named `me/...`."""
STRANGER = {"X-Error-Message": "Invalid username or password."}
WRONG_TOKEN = {"X-Error-Message": "Invalid credentials in Authorization header"}
NO_RIGHTS = {"X-Error-Message": "You don't have the rights to write here"}
UNKNOWN = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
GATED = {
    "X-Error-Code": "GatedRepo",
    "X-Error-Message": "Access to this model is restricted and you are not in the authorized list.",
}


class Pages(Wire):
    """What lies at which path."""

    # Routes: /api/..., /OWNER/NAME.git/..., /OWNER/NAME/resolve/REVISION/FILE

    def answer(self, path: str) -> None:
        if self.fault and self.fault.status:
            raise RefusedError(self.fault.status, self.fault.headers)
        if self.server.is_cdn:
            self.cdn(path)
        else:
            self.route(path)

    def route(self, path: str) -> None:
        if self.token not in ("", TOKEN):
            raise RefusedError(
                401, {"X-Error-Message": "Invalid credentials in Authorization header"}
            )
        words = path.strip("/").split("/")
        plain = {
            "/api/whoami-v2": self.whoami,
            "/api/repos/create": self.create,
            "/api/validate-yaml": self.validate,
        }
        if path in plain:
            plain[path]()
        elif words[:2] == ["api", "models"]:
            self.model(self.readable("/".join(words[2:4])), words[4:])
        elif words[2:] == ["info", "lfs", "objects", "batch"]:
            self.batch(f"{words[0]}/{words[1].removesuffix('.git')}")
        elif words[2:3] == ["resolve"]:
            repository = self.readable("/".join(words[:2]))
            if repository.gated:
                raise RefusedError(403 if self.token else 401, GATED)
            self.resolve(repository, words[3], "/".join(words[4:]))
        else:
            raise RefusedError(404, {"X-Error-Message": f"no such page: {path}"})

    def readable(self, name: str) -> Repository:
        """A repository, if the token may see it; to strangers, unknown ones are a 401 too."""
        repository = self.hub.repositories.get(name)
        if repository and (self.token or not repository.private):
            return repository
        if self.token:
            raise RefusedError(404, UNKNOWN)
        # Behind https the client knows this answer by its address; behind http by its code.
        raise RefusedError(401, STRANGER | {"X-Error-Code": "RepoNotFound"})

    def writable(self, name: str) -> Repository:
        """Likewise, for those who write."""
        repository = self.readable(name)
        if not self.token or not name.startswith("me/"):
            raise RefusedError(403 if self.token else 401, NO_RIGHTS)
        return repository

    def commit_of(self, repository: Repository, revision: str) -> str:
        commit = repository.find(revision)
        if commit is None:
            raise RefusedError(404, {"X-Error-Code": "RevisionNotFound"})
        return commit

    def model(self, repository: Repository, words: list[str]) -> None:
        if not words or words[0] == "revision":
            return self.info(repository, "/".join(words[1:]) or "main")
        action, revision = words[0], words[1]
        if action == "tree":
            return self.tree(repository, revision)
        repository = self.writable(repository.name)
        if action == "preupload":
            return self.preupload()
        return self.commit(repository, revision)

    # Reading

    def whoami(self) -> None:
        if not self.token:
            raise RefusedError(401, {})
        self.reply({"type": "user", "name": "me", "auth": {"type": "access_token"}, "orgs": []})

    def info(self, repository: Repository, revision: str) -> None:
        """/api/models/OWNER/NAME; sizes and hashes if asked for with ?blobs=true."""
        commit = self.commit_of(repository, revision)
        with_blobs = "blobs=" in urlsplit(self.path).query
        siblings = [
            {"rfilename": name, **(facts(name, file) if with_blobs else {})}
            for name, file in repository.commits[commit].items()
        ]
        card = repository.card
        self.reply(
            {
                "_id": "0",
                "id": repository.name,
                "modelId": repository.name,
                "sha": commit,
                "private": repository.private,
                "gated": "manual" if repository.gated else False,
                "tags": [f"license:{card['license']}"] if "license" in card else [],
                "cardData": card,
                "siblings": siblings,
            }
        )

    def tree(self, repository: Repository, revision: str) -> None:
        files = repository.commits[self.commit_of(repository, revision)]
        self.reply([tree_entry(name, file) for name, file in files.items()])

    def resolve(self, repository: Repository, revision: str, name: str) -> None:
        commit = self.commit_of(repository, revision)
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        file = repository.commits[commit].get(name)
        if file is None:
            raise RefusedError(404, headers | {"X-Error-Code": "EntryNotFound"})
        if not is_large(name):
            return self.send(file, headers | {"ETag": f'"{blob_id(name, file)}"'})
        headers |= {
            "X-Linked-Etag": f'"{file.sha256}"',
            "X-Linked-Size": str(file.size),
            "ETag": f'"{blob_id(name, file)}"',
            "Location": f"{self.hub.cdn_url}/{file.sha256}?signature=x",
        }
        return self.reply("Found", headers, 302)

    def cdn(self, path: str) -> None:
        """The other port: large files out and in."""
        sha256 = path.strip("/")
        if self.command == "PUT":
            if hashlib.sha256(self.content).hexdigest() != sha256:
                raise RefusedError(
                    400, {"X-Error-Message": "the content is not what was announced"}
                )
            self.hub.storage[sha256] = File(self.content)
            return self.reply({})
        file = self.hub.large_file(sha256)
        if file is None:
            raise RefusedError(404, {})
        return self.send(file, {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})

    # Writing

    def create(self) -> None:
        order = json.loads(self.content)
        name = f"{order['organization'] or 'me'}/{order['name']}"
        if not self.token:
            raise RefusedError(401, STRANGER)
        if not name.startswith("me/"):
            raise RefusedError(
                403, {"X-Error-Message": "You don't have the rights to create a model"}
            )
        if name in self.hub.repositories:
            url = {"url": f"{self.hub.url}/{name}"}
            return self.reply(url | {"error": "You already created this model repo"}, {}, 409)
        # Before version 1 the library says "private": true.
        private = order.get("private") or order.get("visibility") == "private"
        self.hub.add(name, {".gitattributes": b""}, private=bool(private))
        return self.reply({"url": f"{self.hub.url}/{name}", "id": name, "name": name})

    def validate(self) -> None:
        card = json.loads(self.content)["content"]
        if not card.startswith("---\n"):
            message = {"message": "empty or missing yaml metadata in repo card"}
            return self.reply({"errors": [], "warnings": [message]})
        return self.reply({"errors": [], "warnings": []})

    def preupload(self) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if is_large(file["path"]) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self.content)["files"]
        ]
        self.reply({"files": files})

    def batch(self, name: str) -> None:
        self.writable(name)
        objects = [
            asked | {"actions": self.upload_actions(asked["oid"])}
            if self.hub.large_file(asked["oid"]) is None
            else asked
            for asked in json.loads(self.content)["objects"]
        ]
        self.reply({"transfer": "basic", "objects": objects})

    def upload_actions(self, sha256: str) -> dict[str, object]:
        return {"upload": {"href": f"{self.hub.cdn_url}/{sha256}", "header": {}}}

    def commit(self, repository: Repository, revision: str) -> None:
        files: dict[str, bytes | File] = {}
        for line in self.content.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                file = self.hub.large_file(value["oid"])
                if file is None:
                    raise RefusedError(400, {"X-Error-Message": "a large file was not uploaded"})
                files[value["path"]] = file
        commit = repository.commit(files, branch=revision)
        url = f"{self.hub.url}/{repository.name}/commit/{commit}"
        self.reply({"success": True, "commitOid": commit, "commitUrl": url})


def facts(name: str, file: File) -> dict[str, object]:
    """As /api/models/... states them."""
    result: dict[str, object] = {"blobId": blob_id(name, file), "size": file.size}
    if is_large(name):
        size = len(pointer(file))
        result["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": size}
    return result


def tree_entry(name: str, file: File) -> dict[str, object]:
    """As /api/models/.../tree states them."""
    entry = {"type": "file", "path": name, "oid": blob_id(name, file), "size": file.size}
    if is_large(name):
        size = len(pointer(file))
        entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": size}
    return entry
