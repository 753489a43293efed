"""A finished run to write into, and a store whose texts were written by someone hostile."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from yfccdask.data import BlockStore, write_store
from yfccdask.data.runs import Run, open_run

HOSTILE = "<script>alert(1)</script>\"><img src=x onerror='alert(1)'>"


@pytest.fixture
def own_run(tiny_run, tmp_path) -> Run:
    """A copy of the tiny run, under a name that HTML has to escape."""
    path = tmp_path / "a <b>run"
    shutil.copytree(tiny_run.path, path)
    return open_run(path)


@pytest.fixture
def homeless_run(own_run) -> Run:
    """The same run, its store moved away."""
    store = {**own_run.provenance["store"], "path": "/nowhere/at/all"}
    return replace(own_run, provenance={**own_run.provenance, "store": store})


@pytest.fixture(scope="session")
def hostile_store(tmp_path_factory) -> BlockStore:
    """Images that fit the tiny preset, with markup for ids, credits and licences."""
    pixels = np.random.default_rng(5).integers(0, 256, (30, 20, 20, 3), dtype=np.uint8)
    texts = {
        "ids": [f"{row}{HOSTILE}" for row in range(30)],
        "credits": [f"{HOSTILE} by {row}" for row in range(30)],
        "licences": [HOSTILE] * 30,
    }
    path = tmp_path_factory.mktemp("hostile") / "store"
    return write_store(pixels, path, block_size=12, **texts)
