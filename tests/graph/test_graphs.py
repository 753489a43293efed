"""Blocked graphs give what whole arrays give, with the same bits for every cut."""

import dask
import dask.array as da
import numpy as np
import pytest

from yfccdask.geometry import Field, dense_layer, layer_layout, local_layer
from yfccdask.graph import cost_and_gradient, forward_block, initial_chunks, preprocess, train_block
from yfccdask.graph.contrast_graph import normalise_block
from yfccdask.graph.images import ContrastScale
from yfccdask.graph.network_graph import field_deviation
from yfccdask.numerics import rica
from yfccdask.numerics.contrast import ContrastWindow, normalise_field
from yfccdask.numerics.local_visits import Objective, Rates
from yfccdask.numerics.whitening import filter_images, normalise_contrast

OBJECTIVE = Objective(0.1, 1e-3, 0.9)
RATES = (Rates(0.05, 0.01, 0.001), Rates(0.04, 0.01, 0.001))
LOCAL = local_layer(Field(20, 20, 3), window=8, stride=4, units=8, tile=(2, 2))


@pytest.fixture(autouse=True)
def synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


def field_of(rng, shape, cut=None, dtype=np.float32):
    values = rng.normal(size=shape).astype(dtype)
    return values, da.from_array(values, chunks=(shape[0], *(cut or shape[1:3]), shape[3]))


def gathered(states):
    names = ("weights", "offset", "alpha", "weights_momentum", "offset_momentum", "costs")
    parts = [states.costs() if name == "costs" else states.part(name) for name in names]
    return dict(zip(names, dask.compute(*parts), strict=True))


def trained(layout, field, layer=0):
    chunks = initial_chunks("start", layout, seed=1, layer=layer, alpha=1.0, dtype=np.float32)
    once = train_block("one", chunks, field, 0.3, OBJECTIVE, RATES, 8)
    return train_block("two", once, field, 0.3, OBJECTIVE, RATES, 8)


@pytest.mark.parametrize("chunk", [(1, 1), (3, 2), (4, 4), (1, 4)])
@pytest.mark.parametrize("cut", [(20, 20), (7, 6)])
def test_training_has_the_same_bits_for_every_cut(rng, chunk, cut):
    values, whole = field_of(rng, (9, 20, 20, 3))
    reference = gathered(trained(layer_layout(LOCAL), whole))
    field = da.from_array(values, chunks=(9, *cut, 3))
    other = gathered(trained(layer_layout(LOCAL, chunk=chunk), field))
    for name, value in reference.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
    assert reference["costs"].shape == (2, 4, 4, 2)


@pytest.mark.parametrize("leaves", [1, 2, 3, 5])
def test_a_dense_layer_has_the_same_bits_for_every_group_of_leaves(rng, leaves):
    layer = dense_layer(Field(5, 6, 3), units=7, leaf=16)
    _, field = field_of(rng, (9, 5, 6, 3), cut=(2, 6))
    reference = gathered(trained(layer_layout(layer), field))
    other = gathered(trained(layer_layout(layer, chunk_leaves=leaves), field))
    for name, value in reference.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
    one = trained(layer_layout(layer), field)
    many = trained(layer_layout(layer, chunk_leaves=leaves), field)
    np.testing.assert_array_equal(
        forward_block("f", one, field, 0.3, 4).compute(),
        forward_block("g", many, field, 0.3, 4).compute(),
    )


def test_training_leaves_the_older_states_unchanged(rng):
    _, field = field_of(rng, (8, 20, 20, 3))
    start = initial_chunks(
        "start", layer_layout(LOCAL), seed=1, layer=0, alpha=1.0, dtype=np.float32
    ).persist()
    before = gathered(start)["weights"].copy()
    train_block("one", start, field, 0.3, OBJECTIVE, RATES, 8).compute()
    np.testing.assert_array_equal(gathered(start)["weights"], before)


def test_the_blocked_gradient_agrees_with_the_whole_one(rng):
    layout = layer_layout(LOCAL, chunk=(3, 2))
    start = initial_chunks("start", layout, seed=1, layer=0, alpha=0.8, dtype=np.float64)
    values, field = field_of(rng, (5, 20, 20, 3), cut=(9, 20), dtype=np.float64)
    offset = da.from_array(rng.normal(size=(4, 4, 192)), chunks=(3, 2, 192))
    cost, gradient = cost_and_gradient(
        LOCAL, start.weights, start.part("alpha"), offset, field, sparsity=0.2, epsilon=1e-3
    )
    patches = np.stack(
        [
            values[:, 4 * i : 4 * i + 8, 4 * j : 4 * j + 8].reshape(5, -1)
            for i, j in np.ndindex(4, 4)
        ]
    )
    weights = start.weights.compute().reshape(16, 8, 192)
    want, slope = rica.cost_and_gradient(
        weights, 0.8, offset.compute().reshape(16, 192), patches, sparsity=0.2, epsilon=1e-3
    )
    np.testing.assert_allclose(cost.compute().ravel(), want, rtol=1e-12)
    for blocked, oracle in zip(gradient, slope, strict=True):
        np.testing.assert_allclose(blocked.compute().ravel(), oracle.ravel(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("valid", "rectified"), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize("bands", [(10,), (1, 4, 5), (3, 7)])
def test_contrast_in_bands_has_the_bits_of_the_whole_field(rng, valid, rectified, bands):
    window = ContrastWindow(5, 1.2, valid, rectified)
    height = 18 if valid else 10
    values, field = field_of(rng, (4, height, 17, 3), cut=(4, 6))
    out = normalise_block("lcn", field, window, 1e-4, bands, (9 if valid else 17,))
    np.testing.assert_array_equal(out.compute(), normalise_field(values, window, 1e-4))


@pytest.mark.parametrize("cut", [(40, 40), (20, 20), (20, 40)])
def test_whitening_tiles_agrees_with_whitening_whole_images(rng, cut):
    pixels = rng.integers(0, 256, size=(6, 40, 40, 3), dtype=np.uint8)
    flat = pixels.reshape(6, -1)
    moments = np.stack([flat.mean(axis=1), flat.std(axis=1)], axis=1).astype(np.float32)
    white = rng.normal(size=(7, 7, 3, 3))
    contrast = ContrastScale(10 / 255, 255.0)
    out = preprocess(
        da.from_array(pixels, chunks=(6, *cut, 3)),
        da.from_array(moments, chunks=(6, 2)),
        contrast,
        da.from_array(white, chunks=white.shape),
        np.float64,
    )
    whole = normalise_contrast(pixels, moments[:, 0], moments[:, 1], *contrast, np.float64)
    want = filter_images(np.pad(whole, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="reflect"), white)
    np.testing.assert_allclose(out.compute(), want, atol=1e-9)


@pytest.mark.parametrize("columns", [9, (4, 5), 1])
def test_the_deviation_of_a_field_has_the_same_bits_for_every_cut(rng, columns):
    values, whole = field_of(rng, (7, 12, 9, 2), dtype=np.float64)
    reference = field_deviation("a", whole).compute()
    cut = da.from_array(values, chunks=(7, (1, 5, 6), columns, 2))
    assert field_deviation("b", cut).compute() == reference
    np.testing.assert_allclose(reference, values.astype(np.float64).std(), rtol=1e-12)


def test_builders_compute_nothing_until_they_are_asked():
    calls = []

    def make_field():
        calls.append(1)
        return np.ones((8, 20, 20, 3), np.float32)

    meta = np.empty((0,) * 4, np.float32)
    field = da.from_delayed(dask.delayed(make_field)(), (8, 20, 20, 3), meta=meta)
    costs = trained(layer_layout(LOCAL), field).costs()
    assert not calls
    costs.compute()
    assert calls
