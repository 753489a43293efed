"""One BLAS thread per Dask thread: two layers of threads fight, and change the bits."""

from __future__ import annotations

import functools
from typing import Any

from threadpoolctl import ThreadpoolController


@functools.cache
def use_one_blas_thread() -> None:
    """Limit every BLAS and OpenMP pool of this process to one thread, once, for good.

    Bits depend on the number of BLAS threads, so every task that multiplies matrices asks for
    this first, whatever environment its worker was started with.
    """
    ThreadpoolController().limit(limits=1)


def blas_description() -> list[dict[str, Any]]:
    """Name, version and core type of each BLAS in this process (bits depend on the core type)."""
    keys = ("internal_api", "version", "architecture", "threading_layer")
    pools = ThreadpoolController().info()
    return [
        {key: pool[key] for key in keys if key in pool}
        for pool in pools
        if pool["user_api"] == "blas"
    ]
