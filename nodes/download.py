"""Download CycleGAN from Hub: a repository becomes a file in models/cyclegan and a model."""

from __future__ import annotations

import time

from comfy_api.latest import io, ui

from ..cyclegan_core import CycleGAN, CycleGANError
from ..cyclegan_core.hub import installed, pull, read_catalog
from . import host
from .load import load_file, stamp_of

TYPED = "typed below"
_DEFAULT = "horse-zebra"
"""The paper's best known example, in the paper's size, is what the node offers first."""


class DownloadCycleGAN(io.ComfyNode):
    """The only node that uses the network, and only when it is run."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The catalog is read anew whenever the page asks for the nodes."""
        catalog = list(_catalog())
        return host.schema(
            node_id="CycleGAN_Download",
            display_name="Download CycleGAN from Hub",
            search_aliases=["hugging face", "huggingface", "pretrained", "horse2zebra", "unpaired"],
            description=(
                "Fetches a pretrained CycleGAN from the Hugging Face Hub, verifies it, and keeps "
                "it in models/cyclegan as one .safetensors file. Fetched once, it needs no network."
            ),
            inputs=[
                io.Combo.Input(
                    "catalog",
                    options=[*catalog, TYPED],
                    default=next((name for name in catalog if _DEFAULT in name), TYPED),
                    tooltip="A repository known by name, or 'typed below'.",
                ),
                io.String.Input(
                    "repo_id",
                    default="",
                    tooltip="A repository on the Hub, as owner/repo; used if the catalog says "
                    "'typed below'.",
                ),
                io.String.Input(
                    "revision",
                    default="",
                    optional=True,
                    tooltip="A branch, a tag or a commit; empty for the newest.",
                ),
                io.String.Input(
                    "filename",
                    default="",
                    optional=True,
                    tooltip="Which weight file, if the repository has several; empty otherwise.",
                ),
                io.Boolean.Input(
                    "update",
                    default=False,
                    optional=True,
                    tooltip="Ask the Hub whether there is a newer version. When off, what was "
                    "fetched before is used without the network.",
                ),
            ],
            outputs=[
                host.CycleGANType.Output(
                    display_name="CYCLEGAN", tooltip="The model, for Translate and Reconstruct."
                ),
                io.String.Output(
                    display_name="model_name", tooltip="The name to choose in Load CycleGAN."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, catalog: str | None = TYPED) -> bool:
        """Leave it to `execute` to say what to choose instead of a name that has gone.

        The host does not check the choices of inputs that are named here, and its pages show the
        sentences of errors better than its own list of them.
        """
        return True

    @classmethod
    def fingerprint_inputs(
        cls,
        catalog: str | None = TYPED,
        repo_id: str | None = "",
        revision: str | None = "",
        filename: str | None = "",
        update: bool | None = False,
    ) -> str:
        """Run again if the file has gone or changed, or if the Hub is to be asked."""
        try:
            repo, wanted = _wanted(catalog or TYPED, repo_id or "", revision or "")
            path = installed(repo, wanted, filename or None, folder=host.save_dir())
        except (ValueError, CycleGANError):  # said when it runs
            path = None
        if path is None or update:
            return str(time.monotonic_ns())  # equal to nothing
        return str(stamp_of(path))

    @classmethod
    @host.faults_told()
    def execute(
        cls,
        catalog: str = TYPED,
        repo_id: str = "",
        revision: str = "",
        filename: str = "",
        update: bool = False,
    ) -> io.NodeOutput:
        """Take the installed file, or fetch, verify and install it."""
        repo, wanted = _wanted(catalog, repo_id, revision)
        name = filename.strip() or None
        path = installed(repo, wanted, name, folder=host.save_dir())
        text = "served from this computer"
        if path is None or update:
            pulled = pull(
                repo, wanted, name, folder=host.save_dir(), on_bytes=host.bytes_progress()
            )
            path = pulled.path
            text = pulled.note or f"commit {pulled.commit[:12]}"
        model: CycleGAN = load_file(path)
        text = f"models/cyclegan/{path.name}\n{text}"
        host.show_text(text)
        return io.NodeOutput(model, path.name, ui=ui.PreviewText(text))


def _catalog() -> dict[str, tuple[str, str | None]]:
    """What can be fetched, by labels: repository and revision."""
    return {
        f"{entry.name} ({entry.repo})": (entry.repo, entry.revision)
        for entry in read_catalog().values()
        if entry.repo is not None
    }


def _wanted(catalog: str, repo_id: str, revision: str) -> tuple[str, str | None]:
    """Repository and revision.

    Raises:
        ValueError: neither a known name nor a typed repository.
    """
    typed = revision.strip() or None
    if catalog != TYPED:
        repo, pinned = host.chosen(_catalog(), "catalog", catalog)
        return repo, typed or pinned
    if not repo_id.strip():
        raise ValueError("repo_id is empty; type owner/repo, or choose a model of the catalog.")
    return repo_id.strip(), typed
