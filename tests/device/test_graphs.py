"""Blocks through a network of three layers by its graphs: chunks of the device against NumPy's."""

import dask.array as da
import numpy as np
import pytest
from dask.core import flatten
from dask.local import get_sync
from dask.sizeof import sizeof

from yfccdask.backend import to_host
from yfccdask.geometry import Field, Layout, dense_layer, local_layer
from yfccdask.graph import (
    Forward,
    commit_graph,
    forward_block,
    initial_chunks,
    layer_input,
    preprocess,
    train_block,
)
from yfccdask.graph.images import ContrastScale
from yfccdask.graph.state_chunks import Chunk, chunks_at_rest, make_local, on_host
from yfccdask.numerics.contrast import ContrastWindow
from yfccdask.numerics.device.streaming import Hosted
from yfccdask.numerics.states import Objective, Rates

OBJECTIVE = Objective(sparsity=0.2, epsilon=1e-3, momentum=0.8)
RATES = (Rates(0.02, 0.03, 0.002), Rates(0.01, 0.02, 0.001))
LOCAL = local_layer(
    Field(10, 10, 3), window=4, stride=2, units=8, tile=(2, 2), lcn_window=3, lcn_mode="same"
)
DENSE = dense_layer(LOCAL.normalised, units=5, leaf=50)


def chunks(result):
    return [get_sync(result.__dask_graph__(), key) for key in flatten(result.__dask_keys__())]


def trained(images, moments, filters, device, dtype, stored=None):
    """States of a local and of a dense layer after a block, and the field between them."""
    scale = ContrastScale(0.04, 255.0)
    field = preprocess(images, moments, scale, filters, dtype, device=device)
    how = {"seed": 1, "alpha": 0.9, "dtype": dtype, "device": device}
    first = initial_chunks(f"first-{device}", Layout(LOCAL, (2, 2), (3, 1)), layer=0, **how)
    first = train_block(f"one-{device}", first, field, 0.5, OBJECTIVE, RATES, 4)
    below = Forward(first, 0.5, ContrastWindow(3, 1.0, False), 1e-4, "fp32", stored)
    between = layer_input(f"block-{device}", field, [below], 2)
    layout = Layout(DENSE, (1,), (1,), (2, 1))
    second = initial_chunks(f"second-{device}", layout, layer=1, **how)
    second = train_block(f"two-{device}", second, between, 0.5, OBJECTIVE, RATES, 4)
    return first, second, between


HALF = pytest.param(np.float16, 5e-3, marks=pytest.mark.slow)


@pytest.mark.parametrize(("stored", "tolerance"), [(None, 2e-4), HALF])
def test_a_block_through_two_layers_agrees_with_the_host(device, rng, stored, tolerance):
    pixels = rng.integers(0, 255, size=(4, 10, 10, 3)).astype(np.uint8)
    flat = pixels.reshape(4, -1)
    images = da.from_array(pixels, chunks=(4, 5, 10, 3), name="images")
    moments = da.from_array(np.stack([flat.mean(axis=1), flat.std(axis=1)], axis=1), name="moments")
    filters = da.from_array(rng.normal(size=(3, 3, 3, 3)) / 9, name="filters")
    on_device = trained(images, moments, filters, "gpu", np.dtype(np.float32), stored)
    on_host = trained(images, moments, filters, "cpu", np.dtype(np.float64))
    for mine, wanted in zip(on_device[:2], on_host[:2], strict=True):
        for one, other in zip(chunks(mine), chunks(wanted), strict=True):
            assert not isinstance(one.state.weights, np.ndarray)
            pairs = zip((*one.state, one.costs), (*other.state, other.costs), strict=True)
            for part, exact in pairs:
                np.testing.assert_allclose(to_host(part), exact, rtol=tolerance, atol=tolerance)
    costs = (each.costs().compute(scheduler="sync") for each in (on_device[1], on_host[1]))
    np.testing.assert_allclose(*costs, rtol=tolerance)


def test_commits_are_written_from_the_device_and_read_to_it(device, monkeypatch):
    state = make_local(1, 0, np.arange(2).reshape(1, 2), 4, 6, 0.9, np.dtype("f4"), "gpu").state
    written, layout = [], Layout(LOCAL, (4,), (4,))

    def keep(group, layout, index, state):
        written.append(state)
        return {}

    monkeypatch.setattr(commit_graph, "write_chunk", keep)
    commit_graph.write(Chunk(state, None), "group", layout, (0, 0, 0))
    assert all(isinstance(part, np.ndarray) for part in written[0])
    monkeypatch.setattr(commit_graph, "read_state", lambda *_: written[0])
    loaded = commit_graph.load("group", layout, (0, 0, 0), "gpu").state
    for part, before in zip(loaded, state, strict=True):
        assert not isinstance(part, np.ndarray)
        np.testing.assert_array_equal(part.get(), before.get())


def test_a_block_has_the_same_bits_wherever_its_chunks_lie(device, rng):
    values = rng.normal(size=(4, 10, 10, 3)).astype(np.float32)
    pieces = {("field", 0, i, 0, 0): device.upload(values[:, 5 * i : 5 * i + 5]) for i in range(2)}
    field = da.Array(pieces, "field", ((4,), (5, 5), (10,), (3,)), np.float32)
    layout, hosted = Layout(LOCAL, (2, 2), (3, 1)), frozenset({(0, 0, 0), (1, 1, 0)})
    found = []
    for name, there in (("resident", frozenset()), ("streamed", hosted)):
        how = {"seed": 1, "alpha": 0.9, "dtype": "f4", "device": "gpu", "momentum": "half"}
        states = initial_chunks(f"first-{name}", layout, layer=0, hosted=there, **how)
        states = train_block(f"one-{name}", states, field, 0.5, OBJECTIVE, RATES, 4)
        made = chunks(states)
        lie = [isinstance(each.state, Hosted) for each in made]
        assert lie == [index in there for index in layout.indices()]
        on_hosts = [each for each in made if isinstance(each.state, Hosted)]
        assert all(sizeof(each) > sum(part.nbytes for part in each.opened()) for each in on_hosts)
        out = forward_block(f"out-{name}", states, field, 0.5, 2)
        parts = chunks(states.part("weights_momentum")) + chunks(states.part("offset"))
        found.append([*parts, *map(to_host, chunks(out)), *chunks(states.finite())])
        rested = chunks(chunks_at_rest(f"rest-{name}", states))
        assert [isinstance(each.state, Hosted) for each in rested] == lie
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_hosted_chunk_is_committed_and_loaded_into_the_host_s_memory(device, monkeypatch):
    layout, index = Layout(LOCAL, (4,), (4,)), (0, 0, 0)
    how = (1, 0, np.arange(2).reshape(1, 2), 4, 6, 0.9, np.dtype("f4"), "gpu", "half")
    chunk, written = on_host("gpu", make_local, *how), []

    def keep(group, layout, index, state):
        written.append(state)
        return {}

    monkeypatch.setattr(commit_graph, "write_chunk", keep)
    commit_graph.write(chunk, "group", layout, index)
    assert all(part.dtype == np.float32 for part in written[0])
    monkeypatch.setattr(commit_graph, "read_state", lambda *_: written[0])
    loaded = commit_graph.loaded_chunks(
        "loaded", "group", layout, "f4", device="gpu", momentum="half", hosted=[index]
    )
    (again,) = chunks(loaded)
    assert isinstance(again.state, Hosted)
    for part, before in zip(again.opened(), chunk.opened(), strict=True):
        np.testing.assert_array_equal(part, before)
