"""Which array module an array belongs to, and the way back to the host."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np


def array_module(array: Any) -> ModuleType:
    """The module (numpy or cupy) whose functions take ``array``.

    CuPy is looked up among the loaded modules: an array of CuPy's can't exist before it.
    """
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(array, cupy.ndarray):
        return cupy
    return np


def to_host(array: Any) -> np.ndarray[Any, Any]:
    """A NumPy array with the same values; no copy where it is one already."""
    if isinstance(array, np.ndarray | np.generic):
        return np.asarray(array)
    return np.asarray(array.get())
