"""What `CycleGAN` shares with every model of the Hugging Face Hub: load, save, and push."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from huggingface_hub import ModelCard, PyTorchModelHubMixin

from ..checkpoint.folder import CONFIG_NAME, WEIGHTS_NAME
from .faults import as_sentences
from .model_card import LIBRARY, TAGS, write_card

if TYPE_CHECKING:
    from ..model import CycleGAN


class HubModel(PyTorchModelHubMixin, library_name=LIBRARY, tags=list(TAGS)):
    """Adds `from_pretrained`, `save_pretrained` and `push_to_hub` to the model class."""

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        repo_or_dir: str | Path,
        *,
        revision: str | None = None,
        filename: str | None = None,
        local_files_only: bool = False,
    ) -> CycleGAN:
        """Load a model from a folder, or from a repository of the Hub, of any known layout.

        Private and gated repositories need the library's own login: `hf auth login`, or HF_TOKEN.

        Args:
            repo_or_dir: a folder, or a repository such as "owner/repo" or "owner/repo@revision".
            revision: a branch, a tag, or a commit; the newest commit by default.
            filename: which weight file of the repository, if it has several.
            local_files_only: use the library's cache and no network.

        Raises:
            CheckpointError: the folder does not exist, or holds no CycleGAN.
            DownloadError: the repository can't be had, or holds no CycleGAN.
        """
        from .install import load_pretrained

        return load_pretrained(
            repo_or_dir, revision=revision, filename=filename, local_files_only=local_files_only
        )

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write `config.json` and `model.safetensors` (called by `save_pretrained`)."""
        from ..checkpoint.checkpoint import save_model
        from ..files import atomic_write

        model = cast("CycleGAN", self)
        settings = {"config": model.config.to_dict(), "training": model.training_info}
        text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
        atomic_write(
            save_directory / CONFIG_NAME,
            lambda temporary: temporary.write_text(text, encoding="utf-8"),
        )
        save_model(model, save_directory / WEIGHTS_NAME)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:  # noqa: ANN401
        """The README.md of the repository; `kwargs` are those of `model_card.write_card`."""
        model = cast("CycleGAN", self)
        return write_card(model.config, model.directions, model.training_info, **kwargs)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:  # noqa: ANN401 - the library's
        """Publish the model with its card; the options are the library's own.

        Returns:
            The address of the commit.

        Raises:
            DownloadError: the Hub does not take it.
        """
        options.setdefault("model_card_kwargs", {"repo_id": repo_id})
        from .publish import make_repository

        with as_sentences(repo_id):
            if options.get("private"):  # the library would publish into one that is public
                make_repository(repo_id, private=True, token=options.get("token"))
            return super().push_to_hub(repo_id, **options)
