"""Imports the packages that only the reading of a CAN bus needs."""

from __future__ import annotations

import importlib
from typing import Any

_DEBIAN = {"can": "python3-can", "cantools": "python3-cantools"}


def import_or_explain(name: str) -> Any:
    """The module ``can`` (python-can) or ``cantools``.

    Raises:
        ModuleNotFoundError: it is not installed; the text says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"reading a CAN bus needs {_DEBIAN[name]}, which is not installed; use "
            f"`apt install {_DEBIAN[name]}` or `pip install 'occ_perception_ros[can]'`"
        ) from error
