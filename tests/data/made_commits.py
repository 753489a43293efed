"""Small commits of one chunk, whole and damaged."""

import os
from pathlib import Path

import numpy as np
import pytest

from yfccdask.data.commit_reading import read_array
from yfccdask.data.commit_writing import begin_commit, create_layer, finish_commit, write_chunk
from yfccdask.data.commits import (
    array_shapes,
    commit_folder,
    layer_path,
)
from yfccdask.geometry import Field, dense_layer, layer_layout
from yfccdask.numerics.local_visits import State

LAYOUT = layer_layout(dense_layer(Field(2, 2, 2), units=2, leaf=4))
INDEX = next(iter(LAYOUT.indices()))


def state_of(value):
    """A chunk's state, all of one value."""
    shapes = array_shapes(LAYOUT.layer)
    return State(**{name: np.full(shape, value, "f4") for name, (_, shape) in shapes.items()})


def written(run, value, token=""):
    """A commit in the making: one layer whose only chunk holds one value."""
    partial = begin_commit(run / "checkpoints", 1, token)
    create_layer(layer_path(partial, 0), LAYOUT, np.float32)
    return partial, write_chunk(layer_path(partial, 0), LAYOUT, INDEX, state_of(value))


def committed(run, value=1.0, finished=False):
    partial, digests = written(run, value)
    return finish_commit(partial, 1, {"layers": 1, "finished": finished}, digests)


def value_of(commit):
    """What a commit's chunk holds."""
    weights = read_array(layer_path(commit.path, 0), "weights", (slice(None),) * 4)
    assert len(set(weights.ravel().tolist())) == 1
    return weights[0, 0, 0, 0]


def damaged(run, number):
    """Take a chunk out of a commit."""
    file = layer_path(commit_folder(run / "checkpoints", number), 0) / "weights/c/0/0/0/0"
    file.unlink()


@pytest.fixture
def run(tmp_path) -> Path:
    """A run's folder with what every commit takes a copy of."""
    (tmp_path / "config.yaml").write_text("seed: 3\n")
    return tmp_path


def failing(number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail
