"""Native kernels that may or may not have been built when the package was installed."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any

import numpy.typing as npt


def load_kernels(name: str) -> ModuleType | None:
    """The module of that name, or None: it was not built (no compiler at hand when the package was
    installed), or NIGHTRIG_NO_KERNELS=1 asks for the NumPy twins."""
    if os.environ.get("NIGHTRIG_NO_KERNELS", "") not in ("", "0"):
        return None
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def address_of(array: npt.NDArray[Any]) -> int:
    """Where the first element lies; good as long as the array lives."""
    address: int = array.__array_interface__["data"][0]
    return address
