"""The Hugging Face Hub: find, fetch, verify, publish; and the models that have a name.

Names and the catalog need no torch, so this face does not import the rest before it is asked for.
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .catalog import (
        FEATURES_NAME,
        CatalogEntry,
        bundled_models,
        find_local,
        models_folder,
        pulled_models,
        read_catalog,
        weights_folder,
    )
    from .download import OnBytes
    from .install import Pulled, find_model, installed, pull
    from .publish import push
    from .repository import PREFIX, split_id
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        catalog=(
            "FEATURES_NAME",
            "CatalogEntry",
            "bundled_models",
            "find_local",
            "models_folder",
            "pulled_models",
            "read_catalog",
            "weights_folder",
        ),
        download=("OnBytes",),
        install=("Pulled", "find_model", "installed", "pull"),
        publish=("push",),
        repository=("PREFIX", "split_id"),
    )

__all__ = [
    "FEATURES_NAME",
    "PREFIX",
    "CatalogEntry",
    "OnBytes",
    "Pulled",
    "bundled_models",
    "find_local",
    "find_model",
    "installed",
    "models_folder",
    "pull",
    "pulled_models",
    "push",
    "read_catalog",
    "split_id",
    "weights_folder",
]
