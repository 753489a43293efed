"""Whole runs against the plain NumPy trainer: any depth and width, sequential and staggered."""

import numpy as np
import pytest
import yaml

from tests.conftest import THREADS
from tests.training.plain_trainer import plain_training
from yfccdask.config import load_config
from yfccdask.training.start import train

LCN = {"window": 3, "mode": "same"}
WIDE = {"kind": "local", "window": 8, "stride": 6, "units": 12, "tile": [2, 2], "lcn": LCN}
FLAT = {"kind": "local", "window": 2, "stride": 1, "units": 6, "tile": [1, 1], "lcn": None}
TOP = {"kind": "dense", "units": 5, "sparsity": 0.01, "leaf": 7, "rate": 1e-4}
DEPTHS = {
    1: [WIDE | {"units": 16, "tile": [4, 2], "passes": 5}],
    2: [WIDE | {"passes": 5}, TOP | {"passes": 2}],
    3: [WIDE | {"passes": 2}, FLAT | {"units": 4, "passes": 5}, TOP],
    4: [WIDE, FLAT, FLAT | {"units": 3}, TOP | {"passes": 5}],
    5: [WIDE, FLAT, FLAT | {"window": 1}, FLAT, TOP | {"leaf": 2, "passes": 5}],
}
SIGNS = LCN | {"rectify": "both"}
RECTIFIED = [
    WIDE | {"lcn": SIGNS},
    FLAT | {"units": 4, "rate": 1e-4, "lcn": SIGNS | {"mode": "valid"}},
    TOP | {"rate": 1e-5, "leaf": 4},
]
STAGGERED = {"start": "after_blocks", "after_blocks": 2}


def agrees(tmp_path, store, layers, pipeline, **engine):
    tree = {"based_on": "tiny", "dtype": "float64", "layers": layers, "pipeline": pipeline}
    config = load_config_tree(tree | {"engine": engine}, tmp_path)
    run = train(config, store, tmp_path / "run", cluster=THREADS)
    images = store.read(range(store.images))
    oracle = plain_training(config, images, store.block_size, run.whitening())
    for number, layer in enumerate(oracle, start=1):
        trained = run.commit().layer(number)
        for name, value in layer.items():
            found = trained[name].values.reshape(value.shape)
            np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-9)
    return run


def load_config_tree(tree, folder):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return load_config(path)


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_sequential_run_agrees_with_the_plain_trainer(tiny_store, tmp_path, depth):
    run = agrees(tmp_path, tiny_store, DEPTHS[depth], {"start": "finished"})
    assert sum(layer.passes * 12 for layer in run.config.layers) >= 50


@pytest.mark.parametrize("sync_every", [1, 3])
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_a_staggered_run_agrees_with_the_plain_trainer(tiny_store, tmp_path, depth, sync_every):
    agrees(tmp_path, tiny_store, DEPTHS[depth], STAGGERED | {"sync_every": sync_every})


@pytest.mark.parametrize("engine", [{}, {"chunk": [1, 2], "chunk_leaves": 1}])
def test_layers_that_read_rectified_fields_agree_with_the_plain_trainer(
    tiny_store, tmp_path, engine
):
    run = agrees(tmp_path, tiny_store, RECTIFIED, STAGGERED, **engine)
    first, second, _ = run.geometry.layers
    assert second.input.maps == 2 * first.maps


def test_the_tiny_preset_agrees_with_the_plain_trainer(tiny_store, tmp_path):
    layers = [layer.model_dump(mode="json") for layer in load_config("tiny").layers]
    agrees(tmp_path, tiny_store, layers, STAGGERED, chunk=[2, 1], blocks_in_flight=3)
