"""What there is to say of this machine's GPUs and of what drives them: NVML, CuPy, RMM.

Nothing here makes a CUDA context, but for `tried_cupy`, which is for processes that have one
anyway. Answers are plain values; what can't be asked is said in their ``error``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from yfccdask.backend.devices import count_devices

Facts = dict[str, Any]
PCI_FOLDER = Path("/sys/bus/pci/devices")  # Linux
NVIDIA, DISPLAYS = "0x10de", ("0x0300", "0x0302")  # VGA and 3D controllers
KERNEL = 'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2.0f; }'


def gpu_facts(trained_on: bool = False) -> Facts:
    """This machine's GPUs, and whether this process could use them.

    Parameters
    ----------
    trained_on : bool
        Whether this process is there to use a GPU: CuPy and RMM are then tried as well.

    Returns
    -------
    dict
        ``cards`` on the bus; ``count`` that this process sees; ``visible``, its
        ``CUDA_VISIBLE_DEVICES``; ``nvml``, ``cupy`` and ``rmm``, see `nvml_facts`, `cupy_facts`
        (and ``tried``, see `tried_cupy`) and `rmm_facts`; ``trained_on``.
    """
    count = count_devices()
    tried = tried_cupy() if trained_on and count else ""
    return {
        "cards": count_cards(),
        "count": count,
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "nvml": nvml_facts(),
        "cupy": cupy_facts(load=bool(count)) | {"tried": tried},
        "rmm": rmm_facts(),
        "trained_on": trained_on,
    }


def count_cards(folder: Path = PCI_FOLDER) -> int:
    """NVIDIA's graphics and compute cards on the bus, with a driver or without."""
    return sum(_read(card / "vendor") == NVIDIA and _is_display(card) for card in _cards(folder))


def _cards(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _is_display(card: Path) -> bool:
    return _read(card / "class").startswith(DISPLAYS)


def _read(file: Path) -> str:
    with suppress(OSError):
        return file.read_text().strip()
    return ""


def nvml_facts() -> Facts:
    """The driver's version, the CUDA that it knows and its GPUs, from NVIDIA's own library.

    Returns
    -------
    dict
        ``installed``: whether there are Python bindings; ``error``, or ``driver`` (text), ``cuda``
        (1000 x major + 10 x minor) and ``gpus``: name, uuid, bytes of ``memory`` and ``used``.
    """
    if find_spec("pynvml") is None:
        return {"installed": False, "error": "no Python bindings"}
    nvml = import_module("pynvml")
    try:
        with _opened(nvml):
            return {"installed": True} | _asked(nvml)
    except nvml.NVMLError as error:
        return {"installed": True, "error": str(error)}


@contextmanager
def _opened(nvml: Any) -> Iterator[None]:
    nvml.nvmlInit()
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _asked(nvml: Any) -> Facts:
    handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
    return {
        "driver": str(nvml.nvmlSystemGetDriverVersion()),
        "cuda": int(nvml.nvmlSystemGetCudaDriverVersion_v2()),
        "gpus": [_gpu(nvml, handle) for handle in handles],
    }


def _gpu(nvml: Any, handle: Any) -> Facts:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return {
        "name": str(nvml.nvmlDeviceGetName(handle)),
        "uuid": str(nvml.nvmlDeviceGetUUID(handle)),
        "memory": int(memory.total),
        "used": int(memory.used),
    }


def cupy_facts(load: bool) -> Facts:
    """Installed distributions of CuPy (two of them break each other), and the CUDA it is made for.

    Parameters
    ----------
    load : bool
        Whether to import it, which takes a second and 100 MB.

    Returns
    -------
    dict
        ``distributions`` with their versions; ``cuda`` (as of `nvml_facts`) and ``error``, or None.
    """
    found: Facts = {"distributions": distributions_of_cupy(), "cuda": None, "error": None}
    if not (load and found["distributions"]):
        return found
    try:
        version = int(import_module("cupy").cuda.runtime.runtimeGetVersion())
    except Exception as error:  # a library that is missing is said in many ways
        return found | {"error": _said(error)}
    return found | {"cuda": version}


def distributions_of_cupy() -> list[str]:
    """Names and versions, each once."""
    found = {str(each.metadata["Name"]).lower(): each.version for each in metadata.distributions()}
    return [
        f"{name} {version}"
        for name, version in sorted(found.items())
        if name == "cupy" or name.startswith(("cupy-cuda", "cupy-rocm"))
    ]


def tried_cupy() -> str:
    """What goes wrong with a product and a compiled kernel on the GPU; nothing if all is well."""
    try:
        cupy = import_module("cupy")
        square = cupy.arange(16, dtype=np.float32).reshape(4, 4)
        product = (square @ square).get()
        cupy.RawKernel(KERNEL, "twice")((1,), (16,), (square,))
        return _compared(product, square.get())
    except Exception as error:
        return _said(error)


def _compared(product: Any, twice: Any) -> str:
    square = np.arange(16, dtype=np.float32).reshape(4, 4)  # sums of whole numbers are exact
    if not np.array_equal(product, square @ square):
        return f"a product of 4 x 4 numbers: expected {square @ square}, found {product}"
    if not np.array_equal(twice, 2 * square):
        return f"a kernel that doubles: expected {2 * square}, found {twice}"
    return ""


def rmm_facts() -> Facts:
    """RMM's version, and whether this process has a pool and CuPy allocates from it.

    Returns
    -------
    dict
        ``version`` or None; ``pool`` and ``cupy``, False where this process has not loaded RMM.
    """
    found = {"version": _version_of_rmm(), "pool": False, "cupy": False}
    rmm = sys.modules.get("rmm")
    if rmm is None:
        return found
    try:
        pool = _is_pool(rmm.mr.get_current_device_resource())
    except Exception:  # no driver
        return found
    return found | {"pool": pool, "cupy": _allocates_from_rmm()}


def _version_of_rmm() -> str | None:
    for name in ("rmm-cu13", "rmm-cu12", "rmm"):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None


def _is_pool(resource: Any) -> bool:
    """Whether it is a pool, or logs or counts for one."""
    while resource is not None:
        if any(kind in type(resource).__name__ for kind in ("Pool", "Async", "Arena")):
            return True
        resource = getattr(resource, "upstream_mr", None)
    return False


def _allocates_from_rmm() -> bool:
    cupy, allocators = sys.modules.get("cupy"), sys.modules.get("rmm.allocators.cupy")
    if cupy is None or allocators is None:
        return False
    return bool(cupy.cuda.get_allocator() is allocators.rmm_cupy_allocator)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
