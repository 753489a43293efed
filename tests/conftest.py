"""Fixtures that several rooms of tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster
from hypothesis import settings

from yfccdask.data import BlockStore, open_store, write_store
from yfccdask.data.runs import Run
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import train

settings.register_profile("untimed", deadline=None)  # speed lives in benchmarks/
settings.load_profile("untimed")

THREADS = ClusterRequest(workers=1, processes=False)


def threads_cluster(workers: int = 2, **options: Any) -> LocalCluster:
    """A cluster of this process's threads that clients reach by its address."""
    where = {"protocol": "tcp", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    one = {"n_workers": workers, "threads_per_worker": 1, "processes": False}
    return LocalCluster(**{**one, **where, **options})


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory) -> BlockStore:
    """Fifty images of noise with some structure: four whole blocks of 12 and a short one of 2."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(50, 20, 20, 3))
    smooth = noise + np.roll(noise, 1, axis=1) + np.roll(noise, 1, axis=2)
    images = np.clip(128 + 40 * smooth, 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("store") / "tiny.store"
    write_store(images, path, block_size=12)
    return open_store(path)


@pytest.fixture(scope="session")
def tiny_run(tiny_store, tmp_path_factory) -> Run:
    """The tiny preset trained to its end; leave it as it is."""
    return train("tiny", tiny_store, tmp_path_factory.mktemp("run") / "run", cluster=THREADS)
