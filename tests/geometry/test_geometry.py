"""The geometry closes: the paper's table, Coates's total, any window, tree and layout."""

import operator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yfccdask.errors import GeometryError
from yfccdask.geometry import (
    Field,
    Rectangle,
    dense_layer,
    layer_layout,
    leaf_ranges,
    local_layer,
    tree_fold,
    tree_nodes,
)

PAPER = {"window": 16, "stride": 4, "units": 384, "lcn_window": 15, "lcn_mode": "valid"}


def test_the_paper_s_network_closes():
    first = local_layer(Field(300, 300, 3), **PAPER)
    second = local_layer(first.normalised, **PAPER)
    third = dense_layer(second.normalised, units=4096, leaf=16_384)
    assert (first.grid, first.positions, first.inputs) == ((72, 72), 5184, 768)
    assert first.output == Field(288, 288, 24)
    assert first.normalised == Field(260, 260, 24)
    assert (second.grid, second.positions, second.inputs) == ((62, 62), 3844, 6144)
    assert second.normalised == Field(220, 220, 24)
    assert third.inputs == 1_161_600
    weights = [layer.weights for layer in (first, second, third)]
    assert weights == [1_528_823_808, 9_069_133_824, 4_757_913_600]
    assert sum(weights) == 15_355_871_232
    assert first.flop_per_image == 10 * first.weights


def test_coates_s_network_closes_under_pooling_and_two_pass_lcn_of_5():
    # 200 x 200 x 3 pixels and 4 x 4 tiles of 18 maps at stride 4; pooling trims 4 and LCN 8. The
    # windows are not published as such: these are the only uniform ones that give 11.199 G.
    def after_pooling(layer):
        return Field(layer.output.height - 12, layer.output.width - 12, layer.maps)

    first = local_layer(Field(200, 200, 3), window=20, stride=4, units=288)
    second = local_layer(after_pooling(first), window=32, stride=4, units=288)
    third = local_layer(after_pooling(second), window=32, stride=4, units=288)
    total = first.weights + second.weights + third.weights
    assert total == 11_199_485_952


@given(
    grid=st.integers(1, 9),
    window=st.integers(1, 12),
    stride=st.integers(1, 12),
    maps=st.integers(1, 4),
    tile=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_windows_cover_a_field_exactly_and_tiles_fill_the_output(grid, window, stride, maps, tile):
    side = (grid - 1) * stride + window
    layer = local_layer(
        Field(side, side, maps),
        window=window,
        stride=stride,
        units=tile[0] * tile[1] * 3,
        tile=tile,
    )
    assert layer.grid == (grid, grid)
    last = layer.window_region(Rectangle(grid - 1, grid, grid - 1, grid))
    assert (last.bottom, last.right) == (side, side)
    seen = np.zeros((layer.output.height, layer.output.width), int)
    for i, j in layer.all_positions.positions():
        seen[layer.tile_region(Rectangle(i, i + 1, j, j + 1)).slices] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": 5}, "3 pixels left over"),
        ({"window": 80}, "at most the input field's height of 64"),
        ({"units": 17}, "multiple of the tile's 4 x 4"),
        ({"lcn_window": 15, "lcn_mode": "valid"}, "lcn.window"),
    ],
)
def test_what_does_not_tile_is_refused_by_name(change, message):
    settings_ = {"window": 16, "stride": 12, "units": 96} | change
    with pytest.raises(GeometryError, match=message):
        local_layer(Field(64, 64, 3), **settings_)


@given(st.integers(1, 60), st.data())
def test_the_tree_adds_the_same_whoever_holds_the_leaves(leaves, data):
    values = np.random.default_rng(leaves).normal(size=leaves).astype(np.float32)
    ones = {(i, i + 1): values[i] for i in range(leaves)}
    whole = tree_fold((0, leaves), ones, operator.add)
    inside = data.draw(st.lists(st.integers(0, leaves), max_size=6))
    cuts = sorted({0, leaves, *inside})
    nodes = {}
    for start, stop in pairwise(cuts):
        for node in tree_nodes(leaves, start, stop):
            nodes[node] = tree_fold(node, ones, operator.add)
    assert tree_fold((0, leaves), nodes, operator.add) == whole


def test_leaves_cover_the_inputs_once():
    ranges = leaf_ranges(100, 16)
    assert ranges[0] == (0, 16)
    assert ranges[-1] == (96, 100)
    assert all(a[1] == b[0] for a, b in pairwise(ranges))


@given(st.integers(1, 8), st.one_of(st.none(), st.tuples(st.integers(1, 5), st.integers(1, 5))))
def test_a_layout_s_regions_hold_its_positions_windows(workers, chunk):
    layer = local_layer(Field(64, 64, 3), window=16, stride=12, units=96)
    layout = layer_layout(layer, workers, chunk)
    assert sum(layout.positions(*index[:2]).area for index in layout.indices()) == 25
    for index in layout.indices():
        assert layout.region(index) == layer.window_region(layout.positions(*index[:2]))


def test_a_dense_layout_s_regions_hold_its_leaves():
    layer = dense_layer(Field(5, 6, 3), units=7, leaf=16)
    layout = layer_layout(layer, chunk_leaves=2)
    assert layout.inputs == (32, 32, 26)
    assert layout.region((0, 0, 1)) == Rectangle(1, 4, 0, 6)


def test_no_worker_is_refused():
    with pytest.raises(GeometryError, match="at least 1 worker"):
        layer_layout(dense_layer(Field(5, 6, 3), units=7, leaf=16), workers=0)
