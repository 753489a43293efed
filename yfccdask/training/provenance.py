"""What a run's bits depend on beside its configuration: versions, BLAS, the store."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from yfccdask.backend import blas_description
from yfccdask.data.blocks import BlockStore

PACKAGES = ("yfccdask", "numpy", "numba", "scipy", "dask", "distributed", "zarr")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the bits depend on."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in PACKAGES
    }


def run_provenance(store: BlockStore) -> dict[str, Any]:
    """Recorded in ``config.yaml``: when, with what, on which data."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "blas": blas_description(),
        "store": {
            "path": str(Path(store.path).resolve()),
            "digest": store.digest,
            "blocks": store.blocks,
            "images": store.images,
        },
    }
