"""A folder that the parts of a cluster share: Dask's settings, and a key that lets them in."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml
from distributed import Security

from yfccdask.errors import ClusterError
from yfccdask.training.dask_settings import SETTINGS_FILE

ROLES = ("scheduler", "worker", "client")


def create_cluster_folder(folder: str | Path, plain: bool = False) -> Path:
    """Make a folder that only its owner can read; whoever reads it may use the cluster.

    It holds a certificate, made for this cluster and signed by itself, with its key, and what makes
    Dask's schedulers, workers and clients use it and nothing else.

    Parameters
    ----------
    folder : path
        Where all machines see it; it must not exist.
    plain : bool
        No TLS: anybody who reaches the cluster's ports can run code as its user.

    Returns
    -------
    Path
        What ``DASK_CONFIG`` is to be for every process of the cluster.

    Raises
    ------
    ClusterError
        If there is something already, or cryptography is not installed.
    """
    folder = Path(folder).absolute()
    security = None if plain else _temporary_security()
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise ClusterError(
            f"expected no folder {folder}, found one: its key may be another cluster's; remove "
            "it, or name another"
        ) from None
    settings = folder / "dask"
    settings.mkdir(mode=0o700)
    shutil.copyfile(SETTINGS_FILE, settings / "training.yaml")
    if security is not None:
        _write_tls(folder, settings, security)
    return settings


def _temporary_security() -> Security:
    try:
        return Security.temporary()
    except ImportError:
        raise ClusterError(
            "expected cryptography to make a certificate with, found none: pip install "
            "'yfccdask[slurm]', or, where everybody on the network may run code as you, --plain"
        ) from None


def _write_tls(folder: Path, settings: Path, security: Security) -> None:
    """Certificate, key, and Dask's settings that name them."""
    files = {"cert": folder / "cert.pem", "key": folder / "key.pem"}
    texts = {"cert": security.tls_scheduler_cert, "key": security.tls_scheduler_key}
    for kind, file in files.items():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(texts[kind])
    named = {kind: str(file) for kind, file in files.items()}
    tls: dict[str, Any] = {"ca-file": named["cert"]} | {role: dict(named) for role in ROLES}
    comm = {"default-scheme": "tls", "require-encryption": True, "tls": tls}
    tree = {"distributed": {"comm": comm}}
    (settings / "tls.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
