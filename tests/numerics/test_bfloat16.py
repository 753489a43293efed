"""Momenta in bfloat16 on the host: the rounding, when it happens, and that chunks don't show."""

import numpy as np
import pytest

from tests.numerics.test_visits import OBJECTIVE, RATES, state_of
from yfccdask.geometry import Field, local_layer
from yfccdask.numerics import bfloat16, dense_visits, local_visits
from yfccdask.numerics.fields import as_pieces
from yfccdask.numerics.local_visits import State, Windows, fresh_state

LAYER = local_layer(Field(10, 8, 2), window=4, stride=2, units=6, tile=(1, 2))


def nearest(values):
    """The nearest bfloat16, found by comparing the two neighbours in float64."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    low = bits & np.uint32(0xFFFF0000)
    high = (low + np.uint32(0x10000)).view(np.float32).astype(float)
    down, exact = low.view(np.float32).astype(float), np.asarray(values, float)
    up = np.abs(high - exact) < np.abs(exact - down)
    tie = np.abs(high - exact) == np.abs(exact - down)
    even = (low >> 16) & 1 == 1
    return np.where(up | (tie & even), high, down).astype(np.float32)


def test_values_are_rounded_to_the_nearest_and_ties_to_even(rng):
    values = rng.normal(size=(40, 50)).astype(np.float32) * 10.0 ** rng.integers(-30, 30, (40, 50))
    values = values.astype(np.float32)
    values[0, :6] = 1 + 2.0**-8, 1 + 3 * 2.0**-8, -1 - 2.0**-8, 0.0, -0.0, 2.0**-140
    found = bfloat16.widened(bfloat16.narrowed(values))
    np.testing.assert_array_equal(found, nearest(values))
    np.testing.assert_array_equal(found[0, :3], [1, 1 + 2.0**-6, -1])


def test_rounding_twice_is_rounding_once_and_columns_of_a_matrix_are_enough(rng):
    values = rng.normal(size=(7, 30)).astype(np.float32)
    bits = bfloat16.narrowed(values)
    np.testing.assert_array_equal(bfloat16.narrowed(bfloat16.widened(bits)), bits)
    part = bfloat16.narrowed(values[:, 5:12])
    np.testing.assert_array_equal(part, bits[:, 5:12])
    np.testing.assert_array_equal(bfloat16.widened(bits[:, 5:12]), bfloat16.widened(part))


def test_what_is_not_finite_stays_so():
    values = np.array([[np.inf, -np.inf, np.nan, -np.nan, 1.0]], np.float32)
    bits = bfloat16.narrowed(values)
    np.testing.assert_array_equal(np.isnan(bfloat16.widened(bits)), np.isnan(values))
    np.testing.assert_array_equal(bfloat16.widened(bits)[0, :2], values[0, :2])
    assert [bfloat16.all_finite(bits[:, n]) for n in range(5)] == [False] * 4 + [True]


def halved(state):
    """A state whose momentum has values that bfloat16 has, in both ways to store it."""
    half = state.stored("half")
    return half, half.whole()


def test_a_local_visit_rounds_its_momentum_once_at_its_end(rng):
    state = state_of(rng, LAYER.grid, 6, LAYER.inputs, np.float32)
    moved = rng.normal(size=state.weights.shape).astype(np.float32)
    half, full = halved(state._replace(weights_momentum=moved))
    field = rng.normal(size=(8, 10, 8, 2)).astype(np.float32)
    how = (field, 0.5, Windows((4, 4), 2), OBJECTIVE, RATES)
    (found, costs), (wanted, exact) = (local_visits.train_visit(one, *how) for one in (half, full))
    np.testing.assert_array_equal(costs, exact)
    for mine, other in zip(found, wanted.stored("half"), strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_array_equal(mine, other)
    assert half.weights_momentum.dtype == found.weights_momentum.dtype == bfloat16.BITS


def dense_step(state, x, cuts, steps=1):
    """Mini-batches of a dense layer of 11 leaves in chunks, as the graph does them."""
    total, scale = 11, None
    chunks = [
        (dense_visits.Leaves(start, stop, total, 8), slice(8 * start, min(8 * stop, 83)))
        for start, stop in cuts
    ]
    inputs = as_pieces(x[:, None, :, None])
    states = [columns(state, part) for _, part in chunks]
    for step in range(steps):
        images, sums, ends = slice(4 * step, 4 * step + 4), [], []
        given = [dense_visits.Inputs(inputs, part.start, 1.0) for _, part in chunks]
        trio = list(zip(states, given, [leaves for leaves, _ in chunks], strict=True))
        sums = [dense_visits.code_sums(one, own, images, leaves) for one, own, leaves in trio]
        head = dense_visits.make_head(
            dense_visits.total_of(sums, total), states[0], scale, OBJECTIVE
        )
        found = [dense_visits.residual_sums(o, i, images, head, leaves) for o, i, leaves in trio]
        descent, _ = dense_visits.make_descent([each[2] for each in found], head, total)
        how = (OBJECTIVE.momentum, RATES[step])
        for (one, _, leaves), (operands, by_offset, _) in zip(trio, found, strict=True):
            ends.append(dense_visits.descend_chunk(one, operands, by_offset, descent, leaves, *how))
        scale = dense_visits.row_scale(dense_visits.total_of(ends, total), np.float32)
    names = ("weights", "offset", "weights_momentum")
    w, b, m = (np.concatenate([getattr(s, name) for s in states], axis=-1) for name in names)
    return w * scale[:, None], b, m


def columns(state, part):
    names = ("weights", "offset", "weights_momentum", "offset_momentum")
    own = {name: np.array(getattr(state, name)[..., part]) for name in names}
    return State(**{**state._asdict(), **own}).copied()


@pytest.mark.parametrize("cuts", [[(0, 11)], [(0, 4), (4, 11)], [(0, 1), (1, 3), (3, 11)]])
def test_a_dense_layer_rounds_after_every_mini_batch_however_it_is_cut(rng, cuts):
    state = state_of(rng, (1, 1), 5, 83, np.float32)
    moved = rng.normal(size=state.weights.shape).astype(np.float32)
    half, full = halved(state._replace(weights_momentum=moved))
    x = rng.normal(size=(8, 83)).astype(np.float32)
    one = dense_step(half, x, cuts)
    wanted = dense_step(full, x, cuts)
    np.testing.assert_array_equal(one[0], wanted[0])
    np.testing.assert_array_equal(one[2], bfloat16.narrowed(wanted[2]))
    two = dense_step(half, x, cuts, steps=2)
    field = x[:, None, :, None]
    whole, _ = dense_visits.train_dense_visit(half, field, 1.0, 8, OBJECTIVE, RATES)
    for mine, part in zip(two, (whole.weights, whole.offset, whole.weights_momentum), strict=True):
        np.testing.assert_array_equal(mine, part)


def test_a_fresh_state_of_half_momentum_takes_half_of_it():
    weights = np.ones((1, 2, 3, 8), np.float32)
    full, half = (fresh_state(weights, 1.0, momentum) for momentum in ("full", "half"))
    assert 2 * half.weights_momentum.nbytes == full.weights_momentum.nbytes
    assert half.whole().weights_momentum.dtype == np.float32
    assert half.at_rest().whole().weights_momentum.shape == weights.shape
