"""The Hugging Face Hub: find, fetch, verify, publish; and the models that have a name.

- `catalog`: models by name: bundled, pulled, or known to the catalog; nothing is fetched.
- `repository`: which repository, revision and files are meant, from names alone.
- `resolve`: a branch and perhaps a file name become files at one commit.
- `download`: files into the library's cache, verified; the watcher may cancel.
- `transfer`: requests whose answers are bounded in size and in time.
- `cache`: what is in that cache, whether it is right, and whether more fits.
- `install`: pull a model: fetch, verify, and make one file of ours.
- `publish`: push a model: files, card, and what its training showed.
- `mixin`: `from_pretrained`, `save_pretrained` and `push_to_hub` of `CycleGAN`.
- `faults`: what goes wrong, each in one sentence without secrets.

Names and the catalog need no torch, so this face does not import the rest before it is asked for.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .catalog import (
        DEFAULT_MODEL,
        FEATURES_NAME,
        bundled_license,
        bundled_models,
        read_catalog,
        weights_folder,
    )
    from .install import installed, pull
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        catalog=(
            "DEFAULT_MODEL",
            "FEATURES_NAME",
            "bundled_license",
            "bundled_models",
            "read_catalog",
            "weights_folder",
        ),
        install=(
            "installed",
            "pull",
        ),
    )

__all__ = [
    "DEFAULT_MODEL",
    "FEATURES_NAME",
    "bundled_license",
    "bundled_models",
    "installed",
    "pull",
    "read_catalog",
    "weights_folder",
]
