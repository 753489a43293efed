"""A small trained run, once for all tests of this room."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from yfccdask.data.blocks import BlockStore
from yfccdask.data.ingestion import write_store
from yfccdask.data.runs import Run
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import train

ONE_WORKER = ClusterRequest(workers=1, processes=False)
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'


class Trained(NamedTuple):
    """A finished run of `tiny` and the store that it was trained on."""

    run: Run
    store: BlockStore


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Trained:
    folder: Path = tmp_path_factory.mktemp("analysis")
    pixels = np.random.default_rng(0).integers(0, 256, (41, 20, 20, 3), dtype=np.uint8)
    texts = {
        "ids": [f"{row}{HOSTILE}" for row in range(41)],
        "credits": [f"{HOSTILE} by {row}" for row in range(41)],
        "licences": [HOSTILE] * 41,
    }
    store = write_store(pixels, folder / "store", block_size=12, **texts)
    return Trained(train("tiny", store, folder / "a <b>run", cluster=ONE_WORKER), store)
