"""`cyclegan pull`, `cyclegan push` and `cyclegan list`: models of the Hub, and of this computer."""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from ..checkpoint.settings import read_header
from ..errors import CheckpointError, plain
from ..hub.catalog import CatalogEntry, bundled_models, models_folder, pulled_models, read_catalog
from ..hub.repository import split_id
from .common import byte_bar, find_with_bar, optional, print_text


@dataclass(frozen=True, kw_only=True)
class Pull:
    """Fetch and verify a model of the Hugging Face Hub; then `--model` finds it."""

    model: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="OWNER/REPO[@REVISION]")]]
    """A repository, or a name of `cyclegan list`; the revision is a branch, a tag or a commit."""
    file: Annotated[str | None, optional("FILE")] = None
    """Which weight file, if the repository has several."""
    to: Annotated[Path | None, optional("FOLDER")] = None
    """Where to install it, if not where `--model` looks."""
    offline: bool = False
    """Use what was fetched before, and no network."""
    json: bool = False
    """Print JSON for programs."""

    def run(self) -> int:
        """Fetch with a bar, and say where the model is; returns the exit code."""
        repo, revision = _address(self.model)  # a name that makes no sense is said at once
        from ..hub.install import pull

        with byte_bar(repo, hidden=self.json) as on_bytes:
            pulled = pull(
                repo,
                revision,
                self.file or None,
                folder=self.to or models_folder(),
                on_bytes=on_bytes,
                local_files_only=self.offline,
            )
        if self.json:
            values = {**asdict(pulled), "path": str(pulled.path)}
            sys.stdout.write(json.dumps(values) + "\n")
        else:
            state = "is there already" if pulled.from_cache else "was fetched"
            where = plain(str(pulled.path))
            sys.stdout.write(
                f"{repo} {state} (commit {pulled.commit[:12]}): {where}\n"
                + ("" if self.to else f"Use it with --model {pulled.path.stem}\n")
            )
        return 0


def _address(model: str) -> tuple[str, str | None]:
    """Repository and revision of what people type."""
    name, _, revision = model.partition("@")
    entry = read_catalog().get(name)
    if entry is None:
        return split_id(model)
    if entry.repo is None:
        raise ValueError(f"{name} comes with the package; use --model {name}.")
    return split_id(entry.repo, revision or entry.revision)


@dataclass(frozen=True, kw_only=True)
class Push:
    """Publish a model with a card on the Hub; log in first with `hf auth login`."""

    model: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="MODEL")]]
    """A weight file, the folder of a training, or the name of a model."""
    repo: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="OWNER/REPO")]]
    """Where to; it is made if it does not exist."""
    private: bool = False
    """Make a new repository for your eyes only."""
    license: Annotated[str | None, optional("NAME")] = None
    """For the card, as the Hub writes them, for example mit or cc-by-4.0."""
    json: bool = False
    """Print JSON for programs."""

    def run(self) -> int:
        """Upload, and say where it is; returns the exit code."""
        path = find_with_bar(self.model, hidden=self.json)
        from huggingface_hub.utils import disable_progress_bars

        from ..hub.publish import push

        if self.json or not sys.stderr.isatty():
            disable_progress_bars()  # the library draws them into logs as well
        page = push(path, self.repo, private=self.private, license=self.license)
        sys.stdout.write((json.dumps({"url": page}) if self.json else page) + "\n")
        return 0


@dataclass(frozen=True, kw_only=True)
class List:
    """List the models that have a name: bundled, pulled here, and in the catalog."""

    json: bool = False
    """Print JSON for programs."""

    def run(self) -> int:
        """Print them; nothing is fetched. Returns the exit code."""
        models = list_models()
        if self.json:
            values = {"folder": str(models_folder()), "models": models}
            sys.stdout.write(json.dumps(values) + "\n")
            return 0
        console = Console()
        headings = {
            "bundled": "Come with the package:",
            "local": f"Pulled to {models_folder()}:",
            "catalog": "On the Hub; fetch one with `cyclegan pull NAME`:",
        }
        for where, heading in headings.items():
            found = [model for model in models if model["where"] == where]
            if found:
                print_text(console, heading)
            for model in found:
                for line in _describe(model):
                    print_text(console, line)
        print_text(console, "Use one with `cyclegan translate photo.jpg -m NAME`.")
        if not any(model["where"] == "local" for model in models):
            print_text(console, f"Pulled models go to {models_folder()}")
        return 0


def _describe(model: dict[str, Any]) -> list[str]:
    """What people want to know of a model: a line with its name, one with what it does."""
    if set(model["directions"]) == {"a_to_b", "b_to_a"}:
        ways = " ↔ ".join(model["domains"])
    else:
        ways = ", ".join(_arrow(model["domains"], direction) for direction in model["directions"])
    task = model.get("error") or model["task"]
    if model["where"] == "catalog":
        task += f"; {model['repo']}" + (", pulled" if model["path"] else "")
        task += "" if model["verified"] else " (not tried yet)"
    line = f"  {model['name']:<20} {ways}".rstrip()
    wrapper = textwrap.TextWrapper(
        78,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line, *wrapper.wrap(task)]


def list_models() -> list[dict[str, Any]]:
    """All models that have a name, as JSON-ready values.

    `path` is where they are, if they are; `verified` is None of those that the catalog lacks.
    """
    catalog = read_catalog()
    bundled, pulled = bundled_models(), pulled_models()
    result = [
        _from_file(name, path, "bundled", catalog.get(name)) for name, path in bundled.items()
    ]
    result += [_from_file(name, path, "local", None) for name, path in pulled.items()]
    for entry in catalog.values():
        if not entry.is_bundled:
            path = pulled.get(Path(entry.local_name).stem)
            result.append({**asdict(entry), "where": "catalog", "path": path and str(path)})
    return result


def _from_file(name: str, path: Path, where: str, entry: CatalogEntry | None) -> dict[str, Any]:
    """What a weight file says about itself, and the catalog about it."""
    values: dict[str, Any] = {
        "name": name,
        "where": where,
        "path": str(path),
        "task": entry.task if entry else "",
        "verified": entry.verified if entry else None,
        "license": entry.license if entry else None,
        "domains": [],
        "directions": [],
        "repo": None,
        "revision": None,
    }
    info = read_header(path)
    if info is None:  # a foreign file, or a damaged one
        from ..checkpoint.checkpoint import inspect_checkpoint

        try:
            info = inspect_checkpoint(path)
        except CheckpointError as error:
            return {**values, "error": str(error)}
    values["domains"] = [info.config.domain_a, info.config.domain_b]
    values["directions"] = list(info.directions)
    if info.source:
        values |= {
            "repo": info.source.get("repo"),
            "revision": info.source.get("commit"),
            "license": info.source.get("license"),
            "task": f"from {info.source.get('repo')}",
        }
    return values


def _arrow(domains: list[str], direction: str) -> str:
    source, target = domains if direction == "a_to_b" else reversed(domains)
    return f"{source} → {target}"
