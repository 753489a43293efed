"""Glimpses of first-layer filters: small, and by each filter's own largest weight."""

import numpy as np

from yfccdask.config import load_config, network_geometry
from yfccdask.geometry import layer_layout
from yfccdask.graph.state_chunks import position_numbers, with_no_costs
from yfccdask.numerics.local_visits import initial_state
from yfccdask.training.filter_glimpses import (
    MOST_VALUES,
    chunk_of,
    sampled_filters,
    shown_filters,
)


def test_a_glimpse_shows_the_position_s_first_filters():
    layer = network_geometry(load_config("tiny")).layers[0]
    layout = layer_layout(layer, chunk=(2, 3))
    index, place = chunk_of(layout, (2, 1))
    numbers = position_numbers(layout, index)
    assert numbers[place] == 2 * layer.grid[1] + 1
    state = initial_state(0, 0, numbers, layer.units, layer.inputs, 1.0, np.float32)
    chunk = with_no_costs(state)
    values = sampled_filters(chunk, place, 5)
    weights = chunk.state.weights[place][:5]
    assert values.dtype == np.int8
    assert values.shape == (5, layer.inputs)
    assert (np.abs(values.astype(int)).max(axis=1) == 127).all()
    scaled = 127 * weights / np.abs(weights).max(axis=1, keepdims=True)
    assert np.abs(values - scaled).max() <= 0.5 + 1e-4


def test_a_filter_of_zeros_stays_zero():
    layer = network_geometry(load_config("tiny")).layers[0]
    numbers = position_numbers(layer_layout(layer), (0, 0, 0))
    chunk = with_no_costs(initial_state(0, 0, numbers, 8, layer.inputs, 1.0, np.float32))
    chunk.state.weights[0, 0, 0] = 0
    assert not sampled_filters(chunk, (0, 0), 1).any()


def test_a_glimpse_of_the_paper_s_network_is_bounded():
    layout = layer_layout(network_geometry(load_config("paper")).layers[0], chunk=(9, 9))
    assert 1 <= shown_filters(layout) * layout.layer.inputs <= MOST_VALUES
