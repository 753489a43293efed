"""The fused visits, local and dense, against the oracle's loops."""

import gc
import itertools
import tracemalloc

import numpy as np
import pytest

from tests.numerics import naive
from yfccdask.geometry import Field, local_layer
from yfccdask.numerics import dense_visits, kernels, local_visits
from yfccdask.numerics.fields import as_pieces
from yfccdask.numerics.local_visits import Objective, Rates, Windows

OBJECTIVE = Objective(sparsity=0.2, epsilon=1e-3, momentum=0.8)
RATES = (Rates(0.05, 0.03, 0.02), Rates(0.04, 0.02, 0.01))


def state_of(rng, grid, units, inputs, dtype=np.float64):
    numbers = np.arange(grid[0] * grid[1]).reshape(grid)
    state = local_visits.initial_state(3, 0, numbers, units, inputs, 0.9, dtype)
    return state._replace(offset=rng.normal(size=state.offset.shape).astype(dtype))


def oracle_position(state, index, patches, images):
    one = tuple(np.array(part[index]) for part in state)
    costs = []
    for step, rates in enumerate(RATES):
        batch = patches[step * images : (step + 1) * images]
        w, b, a = one[:3]
        whole = naive.cost(w, a, b, batch, OBJECTIVE.sparsity, OBJECTIVE.epsilon)
        costs.append(whole / images)
        one = naive.step(one, batch, OBJECTIVE, rates)
    return one, costs


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 2e-4)])
def test_a_local_visit_agrees_with_loops(rng, dtype, tolerance):
    layer = local_layer(Field(10, 8, 2), window=4, stride=2, units=6, tile=(1, 2))
    state = state_of(rng, layer.grid, 6, layer.inputs, dtype)
    region = rng.normal(size=(8, 10, 8, 2)).astype(dtype)
    new, costs = local_visits.train_visit(state, region, 0.5, Windows((4, 4), 2), OBJECTIVE, RATES)
    for index in np.ndindex(layer.grid):
        y, x = index[0] * 2, index[1] * 2
        patches = 0.5 * region[:, y : y + 4, x : x + 4].reshape(8, -1)
        oracle, whole = oracle_position(state, index, patches, 4)
        np.testing.assert_allclose(costs[:, *index].sum(axis=-1), whole, rtol=tolerance)
        for mine, part in zip(new, oracle, strict=True):
            np.testing.assert_allclose(mine[index], part, rtol=tolerance, atol=tolerance)


def test_a_visit_leaves_its_input_unchanged(rng):
    state = state_of(rng, (1, 2), 4, 12)
    before = [part.copy() for part in state]
    region = rng.normal(size=(4, 2, 4, 3))
    region.flags.writeable = False
    for part in state:
        part.flags.writeable = False
    local_visits.train_visit(state, region, 1.0, Windows((2, 2), 2), OBJECTIVE, RATES)
    for part, old in zip(state, before, strict=True):
        np.testing.assert_array_equal(part, old)


def test_a_state_at_rest_shares_all_but_the_momentum_of_its_weights(rng):
    state = state_of(rng, (2, 3), 4, 5)
    moved = state._replace(weights_momentum=np.ones_like(state.weights))
    rested = moved.at_rest()
    assert not rested.weights_momentum.any()
    assert rested.weights_momentum.shape == state.weights.shape
    others = [name for name in state._fields if name != "weights_momentum"]
    assert all(getattr(rested, name) is getattr(moved, name) for name in others)


def test_forward_writes_each_position_s_code_as_a_tile(rng):
    state = state_of(rng, (2, 3), 8, 12)
    region = rng.normal(size=(5, 4, 6, 3))
    out = local_visits.forward_visit(state, region, 2.0, Windows((2, 2), 2), (2, 2), 3)
    assert out.shape == (5, 4, 6, 2)
    for i, j in np.ndindex(2, 3):
        patches = 2.0 * region[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(5, -1)
        code = float(state.alpha[i, j]) * patches @ state.weights[i, j].T
        tile = out[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        np.testing.assert_allclose(tile.reshape(5, 8), code, rtol=1e-12)


def test_an_image_s_code_does_not_depend_on_its_block(rng):
    state = state_of(rng, (1, 1), 8, 48, np.float32)
    region = rng.normal(size=(7, 4, 4, 3)).astype(np.float32)
    windows = Windows((4, 4), 4)
    whole = local_visits.forward_visit(state, region, 1.0, windows, (2, 2), 4)
    alone = local_visits.forward_visit(state, region[5:6], 1.0, windows, (2, 2), 4)
    np.testing.assert_array_equal(whole[5], alone[0])


def test_a_dense_visit_agrees_with_loops(rng):
    state = state_of(rng, (1, 1), 5, 36)
    field = rng.normal(size=(8, 3, 4, 3))
    new, costs = dense_visits.train_dense_visit(state, field, 0.5, 8, OBJECTIVE, RATES)
    oracle, whole = oracle_position(state, (0, 0), 0.5 * field.reshape(8, -1), 4)
    np.testing.assert_allclose(costs[:, 0, 0].sum(axis=-1), whole, rtol=1e-10)
    for mine, part in zip(new, oracle, strict=True):
        np.testing.assert_allclose(mine[0, 0], part, rtol=1e-10, atol=1e-10)


def test_sums_over_leaves_have_the_same_bits_however_chunks_group_them(rng):
    state = state_of(rng, (1, 1), 5, 83, np.float32)
    x = rng.normal(size=(4, 83)).astype(np.float32)
    total = 11  # leaves of 8 inputs, the last of 3
    results = []
    for cuts in ([0, 11], [0, 4, 11], [0, 1, 3, 6, 10, 11]):
        sums = []
        for start, stop in itertools.pairwise(cuts):
            part = slice(8 * start, 8 * stop)
            piece = state._replace(
                weights=np.ascontiguousarray(state.weights[..., part]),
            )
            leaves = dense_visits.Leaves(start, stop, total, 8)
            inputs = dense_visits.Inputs(as_pieces(x[:, None, :, None]), part.start, 1.0)
            sums.append(dense_visits.code_sums(piece, inputs, slice(0, 4), leaves))
        results.append(dense_visits.total_of(sums, total))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_allclose(results[0], x @ state.weights[0, 0].T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 1e25])
def test_rows_without_a_finite_norm_become_nan(momentum):
    weights = np.zeros((2, 8), np.float32)
    before = np.full((2, 8), momentum, np.float32)
    one = np.float32(1)
    kernels.descend_and_normalise(weights, before, np.zeros_like(weights), one, one, one)
    assert np.isnan(weights).all()


def test_a_dense_visit_gives_its_buffers_back_at_once(rng):
    state = state_of(rng, (1, 1), 64, 1024, np.float32)
    field = rng.normal(size=(512, 1, 1024, 1)).astype(np.float32)
    how = (field, 0.1, 256, OBJECTIVE, (Rates(1e-4, 1e-4, 1e-6),) * 8)
    dense_visits.train_dense_visit(state, *how)
    gc.disable()
    tracemalloc.start()
    try:
        new, _ = dense_visits.train_dense_visit(state, *how)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()
    operands, gradient, codes = 2 * 64 * 1024 * 4, 64 * dense_visits.COLUMNS * 4, 12 * 64 * 64 * 4
    assert peak < sum(part.nbytes for part in new) + operands + gradient + codes + 100_000
