"""Lazy activations are what plain loops compute, with trained weights and with initial ones."""

import dask.array as da
import numpy as np
import pytest
from distributed import Client

from tests.analysis.test_strongest_pass import plain_codes
from tests.conftest import threads_cluster
from tests.training.plain_trainer import patches_of, whitened
from yfccdask.analysis.network_pass import (
    activations,
    chosen_blocks,
    chosen_places,
    chosen_responses,
    each_block,
    fetched,
    open_network,
)
from yfccdask.errors import RunError, StoreError
from yfccdask.numerics.counter_random import initial_weights


@pytest.fixture(scope="module")
def client():
    with threads_cluster(1) as cluster, Client(cluster, set_as_default=False) as client:
        yield client


@pytest.fixture(scope="module")
def codes(tiny_run, tiny_store):
    return [code.transpose(3, 0, 1, 2) for code in plain_codes(tiny_run, tiny_store)]


def test_activations_are_lazy_labelled_and_right(tiny_run, tiny_store, codes):
    for number, code in enumerate(codes, start=1):
        found = activations(tiny_run, tiny_store, number)
        assert isinstance(found.data, da.Array)
        assert found.dims == ("image", "grid_y", "grid_x", "unit")
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.values, code, rtol=1e-3, atol=1e-5)
    top = activations(tiny_run, tiny_store, blocks=[4, 1])
    assert (top.attrs["layer"], top.attrs["weights"]) == (3, "trained")
    assert top["image"].values.tolist() == [48, 49, *range(12, 24)]
    np.testing.assert_allclose(top.values, codes[2][top["image"].values], rtol=1e-3, atol=1e-5)


def test_initial_weights_are_those_that_training_began_from(tiny_run, tiny_store, client):
    layer, commit = tiny_run.geometry.layers[0], tiny_run.commit()
    found = activations(tiny_run, tiny_store, 1, initial=True, blocks=[0], client=client)
    field = whitened(tiny_run.config, tiny_store.read(range(12)), tiny_run.whitening())
    values = fetched(client, client.persist(found.data, optimize_graph=False))
    for i, j in ((0, 0), (2, 3)):
        number = i * layer.grid[1] + j
        weights = initial_weights(0, 0, number, layer.units, layer.inputs, np.float64)
        expected = commit.state["scales"][0] * patches_of(layer, field, i, j) @ weights.T
        np.testing.assert_allclose(values[:, i, j], expected, rtol=1e-3, atol=1e-5)
    assert found.attrs["weights"] == "initial"


def test_blocks_come_in_order_with_few_under_way(tiny_run, tiny_store, codes, client):
    network = open_network(tiny_run, tiny_store, client=client)
    built = []

    def build(block):
        built.append(block)
        return list(network.responses(block, [1, 3]).values())

    seen = []
    for block, (first, top) in each_block(client, build, [3, 0, 4, 1, 2], in_flight=1):
        seen.append(block)
        assert len(built) <= len(seen) + 1
        rows = slice(12 * block, 12 * block + 12)
        np.testing.assert_allclose(fetched(client, first), codes[0][rows], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(fetched(client, top), codes[2][rows], rtol=1e-3, atol=1e-5)
    assert seen == built == [3, 0, 4, 1, 2]


def test_pooled_responses_are_root_mean_squares(tiny_run, tiny_store, codes, client):
    network = open_network(tiny_run, tiny_store, client=client)
    pooled = client.persist(network.responses(0, [1], "rms")[1], optimize_graph=False)
    expected = np.sqrt(np.square(codes[0][:12]).mean(axis=-1))
    np.testing.assert_allclose(fetched(client, pooled), expected, rtol=1e-4)


@pytest.mark.parametrize("workers", [1, 5])
def test_chosen_units_are_picked_out_of_whatever_chunks_they_lie_in(tiny_run, tiny_store, workers):
    network = open_network(tiny_run, tiny_store, layers=1, workers=workers)
    responses = network.responses(1, [1])[1]
    images, units = np.array([0, 3, 11]), np.array([2, 31, 32, 77, 127])
    parts = chosen_responses(responses, images, units)
    places = chosen_places(responses.chunks, units)
    assert len(parts) == {1: 2, 5: 4}[workers]
    found = np.empty((3, 5), np.float32)
    for part, (columns, _) in zip(parts, places.values(), strict=True):
        found[:, columns] = part.compute()
    np.testing.assert_array_equal(found, responses.compute().reshape(12, -1)[images][:, units])


def test_what_goes_wrong_on_a_worker_is_raised(tiny_store, client):
    def fails(block):
        return da.ones(3, chunks=1).map_blocks(lambda values: 1 / 0, meta=np.ones(0))

    with pytest.raises(ZeroDivisionError):
        list(each_block(client, fails, [0]))


def test_what_cannot_be_is_refused(tiny_run, tiny_store):
    with pytest.raises(RunError, match="expected a layer from 1 to 3"):
        activations(tiny_run, tiny_store, 4)
    with pytest.raises(StoreError, match="expected a block in"):
        activations(tiny_run, tiny_store, blocks=[9])
    with pytest.raises(StoreError, match="at least one image"):
        chosen_blocks(tiny_store, [])
