"""What `CycleGAN` shares with every model of the Hugging Face Hub: load, save, and push.

The class that mixes this in is known here by its two conversions alone, so that the Hub needs
files and never the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelCard, PyTorchModelHubMixin

from ..checkpoint.checkpoint import Checkpoint
from .faults import as_sentences
from .install import load_pretrained
from .publish import TAGS, make_repository, write_card, write_folder
from .repository import LIBRARY

if TYPE_CHECKING:
    from typing_extensions import Self


class HubModel(PyTorchModelHubMixin, library_name=LIBRARY, tags=list(TAGS)):
    """Adds `from_pretrained`, `save_pretrained` and `push_to_hub` to the model class."""

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """The model of a checkpoint."""
        raise NotImplementedError

    def to_checkpoint(self) -> Checkpoint:
        """The inverse of `from_checkpoint`."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        repo_or_dir: str | Path,
        *,
        revision: str | None = None,
        filename: str | None = None,
        local_files_only: bool = False,
    ) -> Self:
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
        checkpoint = load_pretrained(
            repo_or_dir, revision=revision, filename=filename, local_files_only=local_files_only
        )
        return cls.from_checkpoint(checkpoint)

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write `config.json` and `model.safetensors` (called by `save_pretrained`)."""
        write_folder(self.to_checkpoint(), save_directory)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:  # noqa: ANN401
        """The README.md of the repository; `kwargs` are those of `publish.write_card`."""
        checkpoint = self.to_checkpoint()
        return write_card(checkpoint.config, checkpoint.directions, checkpoint.training, **kwargs)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:  # noqa: ANN401 - the library's
        """Publish the model with its card; the options are the library's own.

        Returns:
            The address of the commit.

        Raises:
            DownloadError: the Hub does not take it.
        """
        options.setdefault("model_card_kwargs", {"repo_id": repo_id})
        with as_sentences(repo_id):
            if options.get("private"):  # the library would publish into one that is public
                make_repository(repo_id, private=True, token=options.get("token"))
            return super().push_to_hub(repo_id, **options)
