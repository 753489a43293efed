"""Whole visits on a device against float64 on the host: the same functions drive both."""

import numpy as np
import pytest

from tests.device.emulated import DeviceArray
from yfccdask.geometry import Field, Rectangle, local_layer
from yfccdask.numerics import dense_visits, local_visits
from yfccdask.numerics.device import visits
from yfccdask.numerics.fields import Pieces
from yfccdask.numerics.states import Objective, Rates, State, Windows

OBJECTIVE = Objective(sparsity=0.2, epsilon=1e-3, momentum=0.8)
RATES = (Rates(0.05, 0.03, 0.02), Rates(0.04, 0.02, 0.01))
BARS = {"fp32": 1e-5, "tf32": 3e-3, "bf16": 2e-2}  # shared/gpu.md: normwise, of the gradient
LAYER = local_layer(Field(10, 8, 2), window=4, stride=2, units=6, tile=(1, 2))
WINDOWS = Windows((4, 4), 2)


def both_states(grid, units, inputs):
    """A state on the device, and the same values in float64 on the host."""
    numbers = np.arange(grid[0] * grid[1]).reshape(grid)
    state = local_visits.initial_state(3, 0, numbers, units, inputs, 0.9, np.float32, "gpu")
    return state, State(*(part.get().astype(np.float64) for part in state))


def normwise(found, expected):
    return np.linalg.norm(found.get() - expected) / max(np.linalg.norm(expected), 1e-30)


def in_four_pieces(device, field):
    """A field (image, 10, 8, map) as pieces that no window respects."""
    cuts = [
        Rectangle(*rows, *columns) for rows in ((0, 3), (3, 10)) for columns in ((0, 5), (5, 8))
    ]
    arrays = [device.upload(np.ascontiguousarray(field[:, *cut.slices])) for cut in cuts]
    return Pieces(arrays, tuple(cuts), Rectangle(0, 10, 0, 8))


def assert_close(new, costs, expected, expected_costs, precision):
    """Gradients (which momenta are, after the first step) and all else within the bars.

    A single alpha's gradient is a sum whose terms cancel, so its own error is a larger share.
    """
    bar = BARS[precision]
    for name, part, wanted in zip(State._fields, new, expected, strict=True):
        cancels = 3 if name == "alpha_momentum" else 1
        assert normwise(part, wanted) < cancels * bar, name
    assert normwise(costs, expected_costs) < bar


@pytest.mark.parametrize("precision", BARS)
def test_a_local_visit_agrees_with_float64(device, rng, precision):
    field = rng.normal(size=(8, 10, 8, 2)).astype(np.float32)
    state, host = both_states(LAYER.grid, 6, LAYER.inputs)
    how = (0.5, WINDOWS, OBJECTIVE, RATES)
    made = local_visits.train_visit(state, in_four_pieces(device, field), *how, precision)
    expected = local_visits.train_visit(host, field.astype(np.float64), *how)
    assert_close(*made, *expected, precision)
    kept = (part.get().astype(np.float64) for part in state)
    assert all(np.array_equal(part, before) for part, before in zip(kept, host, strict=True))


@pytest.mark.parametrize("precision", BARS)
def test_a_dense_visit_agrees_with_float64(device, rng, precision):
    field = rng.normal(size=(8, 3, 4, 3)).astype(np.float32)
    state, host = both_states((1, 1), 5, 36)
    how = (0.5, 20, OBJECTIVE, RATES)
    made = dense_visits.train_dense_visit(state, device.upload(field), *how, precision)
    expected = dense_visits.train_dense_visit(host, field.astype(np.float64), *how)
    assert_close(*made, *expected, precision)


@pytest.mark.parametrize("precision", BARS)
def test_codes_agree_with_float64(device, rng, precision):
    field = rng.normal(size=(7, 10, 8, 2)).astype(np.float32)
    state, host = both_states(LAYER.grid, 6, LAYER.inputs)
    how = (0.5, WINDOWS, (1, 2), 3)
    pieces = in_four_pieces(device, field)
    made = local_visits.forward_visit(state, pieces, *how, precision)
    expected = local_visits.forward_visit(host, field.astype(np.float64), *how)
    assert normwise(made, expected) < BARS[precision]


def test_positions_in_groups_have_the_same_bits(device, rng, monkeypatch):
    field = device.upload(rng.normal(size=(8, 10, 8, 2)).astype(np.float32))
    state, _ = both_states(LAYER.grid, 6, LAYER.inputs)
    how = (field, 0.5, WINDOWS, OBJECTIVE, RATES)
    whole, costs = local_visits.train_visit(state, *how)
    monkeypatch.setattr(visits, "MOST_TOGETHER", 5 * 8 * 4 * (6 + LAYER.inputs))
    grouped, other_costs = local_visits.train_visit(state, *how)
    assert device.launches.count("update_rows") > 2 * len(RATES)
    for one, other in zip((*whole, costs), (*grouped, other_costs), strict=True):
        np.testing.assert_array_equal(one.get(), other.get())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_local_visit_rounds_its_momentum_once(device, rng, precision):
    field = device.upload(rng.normal(size=(8, 10, 8, 2)).astype(np.float32))
    state, _ = both_states(LAYER.grid, 6, LAYER.inputs)
    how = (field, 0.5, WINDOWS, OBJECTIVE, RATES, precision)
    full, costs = local_visits.train_visit(state, *how)
    half, other_costs = local_visits.train_visit(state.stored("half"), *how)
    wanted = full.stored("half")
    for one, other in zip((*half, other_costs), (*wanted, costs), strict=True):
        np.testing.assert_array_equal(one.get(), other.get())
    again, _ = local_visits.train_visit(half, *how)
    expected, _ = local_visits.train_visit(wanted.whole(), *how)
    np.testing.assert_array_equal(again.weights.get(), expected.weights.get())


def test_a_dense_visit_rounds_its_momentum_after_a_mini_batch(device, rng):
    field = device.upload(rng.normal(size=(4, 3, 4, 3)).astype(np.float32))
    state, _ = both_states((1, 1), 5, 36)
    how = (field, 0.5, 20, OBJECTIVE, RATES[:1])
    full, _ = dense_visits.train_dense_visit(state, *how)
    half, _ = dense_visits.train_dense_visit(state.stored("half"), *how)
    for one, other in zip(half, full.stored("half"), strict=True):
        np.testing.assert_array_equal(one.get(), other.get())


def test_fields_of_half_precision_are_read_and_written(device, rng):
    field = rng.normal(size=(4, 10, 8, 2)).astype(np.float16)
    state, host = both_states(LAYER.grid, 6, LAYER.inputs)
    how = (0.5, WINDOWS, OBJECTIVE, RATES[:1])
    made = local_visits.train_visit(state, in_four_pieces(device, field), *how)
    expected = local_visits.train_visit(host, field.astype(np.float64), *how)
    assert_close(*made, *expected, "fp32")
    where = (0.5, WINDOWS, (1, 2), 3, "fp32", np.float16)
    out = local_visits.forward_visit(made[0], in_four_pieces(device, field), *where)
    codes = local_visits.forward_visit(expected[0], field.astype(np.float64), *where[:4])
    assert out.dtype == np.float16
    assert normwise(out, codes) < 2**-11


def test_a_visit_never_looks_at_a_value(device, rng, monkeypatch):
    field = rng.normal(size=(8, 10, 8, 2)).astype(np.float32)
    state, _ = both_states(LAYER.grid, 6, LAYER.inputs)
    dense, _ = both_states((1, 1), 5, 160)
    monkeypatch.setattr(DeviceArray, "get", None)  # whoever asks for a copy fails
    pieces = in_four_pieces(device, field)
    local_visits.train_visit(state, pieces, 0.5, WINDOWS, OBJECTIVE, RATES)
    local_visits.forward_visit(state, pieces, 0.5, WINDOWS, (1, 2), 3)
    dense_visits.train_dense_visit(dense, pieces, 0.5, 64, OBJECTIVE, RATES[:1])
    assert DeviceArray.looks == 0


def test_a_device_array_is_never_converted_unasked(device):
    array = device.full((2,), 1.0, np.float32)
    with pytest.raises(TypeError, match="stay there"):
        np.asarray(array)
    with pytest.raises(TypeError, match="found one of the host's"):
        array + np.ones(2, np.float32)
