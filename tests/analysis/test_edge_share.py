"""The share of edges is that of the run's own weights."""

import numpy as np

from yfccdask.analysis.edge_share import (
    edge_shares,
    initial_filters,
    spread_positions,
    trained_filters,
)
from yfccdask.graph import initial_chunks
from yfccdask.numerics.filter_shape import edges
from yfccdask.training.layouts import layouts_of


def test_shares_are_those_of_all_filters(tiny_run):
    shares = edge_shares(tiny_run)
    weights = tiny_run.commit().layer(1)["weights"].values
    whole = weights.reshape(-1, 8, 8, 3)
    assert shares.trained.units == len(whole) == 128
    assert shares.trained.share == edges(whole).mean()
    assert len(shares.positions) == 16
    assert shares.trained.localisation == 1  # windows of 8 pixels


def test_initial_filters_are_what_training_began_with(tiny_run):
    layout, config = layouts_of(tiny_run, 1)[0], tiny_run.config
    start = initial_chunks("start", layout, seed=config.seed, layer=0, alpha=1.0, dtype=np.float32)
    weights = start.weights.compute(scheduler="synchronous")
    found = initial_filters(tiny_run, (1, 2))
    np.testing.assert_array_equal(found.reshape(8, -1), weights[1, 2])
    np.testing.assert_array_equal(initial_filters(tiny_run, (1, 2), 3), found[:3])
    assert (trained_filters(tiny_run, tiny_run.commit(), (1, 2)) != found).any()


def test_positions_are_spread_from_corner_to_corner():
    assert spread_positions((5, 4), 3) == [(0, 0), (2, 2), (4, 3)]
    assert spread_positions((1, 1), 64) == [(0, 0)]
    assert len(spread_positions((72, 72), 64)) == 64
