"""Publish a model on the Hugging Face Hub: its files, its card, and what its training showed."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..checkpoint.checkpoint import inspect_checkpoint, load_model
from ..errors import DownloadError
from ..model import CycleGAN
from .faults import as_sentences
from .install import new_api
from .repository import split_id


def push(
    model: CycleGAN | str | Path,
    repo_id: str,
    *,
    private: bool = False,
    license: str | None = None,
) -> str:
    """Publish a model with its card, and with the newest samples of a run folder.

    Args:
        model: a model; or a weight file, a folder with one, or a run folder.
        repo_id: "owner/repo"; it is made if it does not exist.
        private: make it for your eyes only; else your account's default holds.
        license: for the card, as the Hub writes them, for example "mit"; a pulled file keeps its.

    Returns:
        The address of the repository's page.

    Raises:
        CheckpointError: there is no model to push.
        DownloadError: the Hub does not take it.
        ValueError: there can't be such a repository.
    """
    repo, revision = split_id(repo_id)
    if revision is not None:
        raise ValueError(
            f"a model is pushed to the main branch of {repo}; leave '@{revision}' out."
        )
    if license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.\-]*", license):
        raise ValueError(f"{license!r} is no licence as the Hub writes them, for example mit.")
    sample = None
    if not isinstance(model, CycleGAN):
        samples = sorted(Path(model).glob("samples/step_*.jpg"))
        license = license or inspect_checkpoint(model).source.get("license")
        sample, model = (samples[-1] if samples else None), load_model(model)
    with tempfile.TemporaryDirectory() as name, as_sentences(repo):
        folder = Path(name)
        card: dict[str, Any] = {"repo_id": repo, "license": license}
        if sample:
            card["sample"] = f"samples/{sample.name}"
            (folder / "samples").mkdir()
            shutil.copyfile(sample, folder / card["sample"])
        model.save_pretrained(folder, model_card_kwargs=card)
        page = make_repository(repo, private=private)
        message = "Upload a CycleGAN model"
        new_api().upload_folder(repo_id=repo, folder_path=folder, commit_message=message)
    return page


def make_repository(repo: str, *, private: bool, token: str | bool | None = None) -> str:
    """Make a repository, unless it is there already: the address of its page.

    Raises:
        DownloadError: it is to be private, and is there and public.
    """
    page = new_api().create_repo(repo, token=token, private=private or None, exist_ok=True)
    if private and not new_api().model_info(page.repo_id, token=token).private:
        raise DownloadError(
            f"{repo} exists and is public, so nothing was uploaded; make it private on {page}, "
            "or push to another name."
        )
    return str(page)
