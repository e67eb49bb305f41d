"""The packages of the extra `eval`, imported when they are needed and asked for when missing."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import CycleGANError


def load_extra(module: str, package: str) -> Any:  # noqa: ANN401 - of packages without types
    """Import `module`, which the PyPI package `package` holds.

    Raises:
        CycleGANError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing != module.partition(".")[0]:
            package = f"{package} {missing}"
        raise CycleGANError(
            f"This evaluation needs {package}, which is not installed; install the extra with: "
            'pip install "cyclegan[eval]", or only this with: '
            f"pip install {package}."
        ) from None
