"""Whether there are GPUs, asked without touching one: no CUDA context is made."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

DRIVER_FOLDER = Path("/proc/driver/nvidia/gpus")  # Linux: an entry for each


def count_devices() -> int:
    """NVIDIA GPUs that a process started from here may use.

    ``CUDA_VISIBLE_DEVICES`` counts as CUDA reads it: names after an invalid one are not seen, and
    an empty list hides all.

    References
    ----------
    CUDA C++ Programming Guide, environment variables.
    """
    there = _installed_devices()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not there:
        return there
    return _seen([name.strip() for name in visible.split(",")], there)


def _seen(names: list[str], there: int) -> int:
    """How many of the names come before the first that is none of so many GPUs."""
    for number, name in enumerate(names):
        index = name.lstrip("-").isdecimal()
        if not name or (index and not 0 <= int(name) < there):
            return number
    return len(names)


def _installed_devices() -> int:
    """GPUs that the driver lists; by NVML where its bindings are installed (dask-cuda has them)."""
    if find_spec("pynvml") is None:
        return len(list(DRIVER_FOLDER.iterdir())) if DRIVER_FOLDER.is_dir() else 0
    nvml = import_module("pynvml")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # no driver, or none that works
        return 0
    try:
        return int(nvml.nvmlDeviceGetCount())
    finally:
        nvml.nvmlShutdown()
