"""Fields in rectangles: LCN, windows and leaves read them where they lie, with the same bits."""

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.numerics import naive
from yfccdask.geometry import Field, Rectangle, layer_layout, local_layer
from yfccdask.graph import forward_block, initial_chunks
from yfccdask.graph.contrast_graph import normalise_block
from yfccdask.graph.network_graph import Forward, normalised_cuts, normalised_output
from yfccdask.numerics.contrast import ContrastWindow, normalise_field
from yfccdask.numerics.fields import Pieces, as_pieces, fill_patch, row_runs


@pytest.fixture(autouse=True, scope="module")
def synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


@st.composite
def cuts(draw, length):
    """Sizes of chunks that add up to ``length``."""
    inside = draw(st.sets(st.integers(1, length - 1), max_size=4)) if length > 1 else set()
    edges = [0, *sorted(inside), length]
    return tuple(int(size) for size in np.diff(edges))


def pieces_of(values, rows, columns, region):
    """The pieces of an array, cut into ``rows`` x ``columns``, that a region touches."""
    tops, lefts = np.cumsum([0, *rows]), np.cumsum([0, *columns])
    places = [
        Rectangle(int(tops[i]), int(tops[i + 1]), int(lefts[j]), int(lefts[j + 1]))
        for i in range(len(rows))
        for j in range(len(columns))
    ]
    touched = [place for place in places if place.meets(region)]
    arrays = [np.ascontiguousarray(values[(slice(None), *each.slices)]) for each in touched]
    return Pieces(arrays, touched, region)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), valid=st.booleans(), size=st.sampled_from([1, 3, 5, 7]))
def test_contrast_in_rectangles_has_the_bits_of_the_whole_field(data, valid, size):
    height, width = data.draw(st.integers(16, 24)), data.draw(st.integers(16, 24))
    maps, trim = data.draw(st.sampled_from([1, 2, 9, 24])), 2 * (size - 1) if valid else 0
    window = ContrastWindow(size, 1.2, valid)
    values = np.random.default_rng(size).normal(2, 1, (3, height, width, maps)).astype("f4")
    chunks = (3, data.draw(cuts(height)), data.draw(cuts(width)), maps)
    rows, columns = data.draw(cuts(height - trim)), data.draw(cuts(width - trim))
    out = normalise_block("lcn", da.from_array(values, chunks), window, 1e-4, rows, columns)
    assert out.chunks == ((3,), rows, columns, (maps,))
    np.testing.assert_array_equal(out.compute(), normalise_field(values, window, 1e-4))


@pytest.mark.parametrize("valid", [True, False])
def test_contrast_in_rectangles_agrees_with_loops(rng, valid):
    window = ContrastWindow(5, 1.3, valid)
    values = rng.normal(size=(2, 17, 15, 3))
    field = da.from_array(values, chunks=(2, 6, 4, 3))
    rows, columns = ((4, 5), (6, 1)) if valid else ((8, 9), (3, 12))
    out = normalise_block("lcn", field, window, 1e-4, rows, columns).compute()
    for image, want in zip(out, values, strict=True):
        np.testing.assert_allclose(image, naive.local_contrast(want, window, 1e-4), atol=1e-10)


def test_one_rectangle_is_one_task(rng):
    field = da.from_array(rng.normal(size=(2, 12, 12, 3)), chunks=-1)
    out = normalise_block("lcn", field, ContrastWindow(3, 1.0, True), 1e-4, (8,), (8,))
    assert len(out.__dask_graph__().layers["lcn"]) == 1


def test_planes_go_to_the_mean_and_the_field_does_not(rng):
    field = da.from_array(rng.normal(size=(2, 12, 12, 3)), chunks=(2, 6, 6, 3))
    out = normalise_block("lcn", field, ContrastWindow(3, 1.0, True), 1e-4, (4, 4), (3, 5))
    layer = out.__dask_graph__().layers["lcn"]
    assert len(layer) == 4 + 4 + 2 + 1  # measure and divide, a sum per band, one mean
    assert layer[("mean-sigma-lcn",)].dependencies == {("row-sums-lcn", 0), ("row-sums-lcn", 1)}
    assert layer[("row-sums-lcn", 1)].dependencies == {("contrast-lcn", 1, j) for j in (0, 1)}


def test_a_layer_s_field_is_cut_as_its_weights_are(rng):
    layer = local_layer(
        Field(28, 28, 3), window=8, stride=4, units=32, tile=(4, 4), lcn_window=3, lcn_mode="valid"
    )
    field = da.from_array(rng.normal(size=(4, 28, 28, 3)).astype("f4"), chunks=(4, 14, 9, 3))
    results = []
    for chunk in [(6, 6), (2, 6), (3, 2), (6, 1)]:
        layout = layer_layout(layer, chunk=chunk)
        states = initial_chunks("s", layout, seed=1, layer=0, alpha=1.0, dtype=np.float32)
        window = ContrastWindow(3, 1.0, True)
        out = normalised_output("n", Forward(states, 0.3, window, 1e-4), field, 4)
        assert out.chunks[1:3] == normalised_cuts(layout)
        results.append(out.compute())
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_windows_are_read_from_pieces_as_from_the_whole_field(data):
    values = np.random.default_rng(0).normal(size=(5, 9, 11, 2)).astype("f4")
    top, left = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 5))
    region = Rectangle(top, data.draw(st.integers(top + 4, 9)), left, 11)
    y, x = data.draw(st.integers(0, region.height - 3)), data.draw(st.integers(0, 3))
    window, images = Rectangle(y, y + 3, x, x + 2), slice(1, 4)
    pieces = pieces_of(values, data.draw(cuts(9)), data.draw(cuts(11)), region)
    out = np.empty((3, 3, 2, 2), np.float32)
    fill_patch(pieces.parts(window), images, np.float32(0.7), out)
    whole = values[images, top + y : top + y + 3, left + x : left + x + 2]
    np.testing.assert_array_equal(out, whole * np.float32(0.7))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_inputs_are_read_from_pieces_as_from_the_whole_field(data):
    values = np.random.default_rng(0).normal(size=(4, 7, 5, 3)).astype("f4")
    top = data.draw(st.integers(0, 5))
    region = Rectangle(top, data.draw(st.integers(top + 1, 7)), 0, 5)
    flat = values[:, top : region.bottom].reshape(4, -1)
    start = data.draw(st.integers(0, flat.shape[1] - 1))
    out = np.empty((2, data.draw(st.integers(1, flat.shape[1] - start))), np.float32)
    pieces = pieces_of(values, data.draw(cuts(7)), data.draw(cuts(5)), region)
    pieces.fill_inputs(slice(2, 4), start, np.float32(0.3), out)
    want = flat[2:4, start : start + out.shape[1]] * np.float32(0.3)
    np.testing.assert_array_equal(out, want)


@given(start=st.integers(0, 50), length=st.integers(1, 80), row=st.integers(1, 20))
def test_a_run_of_values_is_at_most_three_rectangles(start, length, row):
    runs = row_runs(start, start + length, row)
    assert len(runs) <= 3
    found = [y * row + x for run in runs for y, x in run.positions()]
    assert found == list(range(start, start + length))


def test_one_array_is_the_only_piece_and_is_not_copied(rng):
    values = rng.normal(size=(6, 8, 8, 2))
    whole = as_pieces(values)
    assert (whole.images, whole.maps, whole.region) == (6, 2, Rectangle(0, 8, 0, 8))
    image, top, left = whole.image(3, np.empty((8, 8, 2)))
    assert np.shares_memory(image, values)
    assert (top, left) == (0, 0)
    assert whole.first(2).images == 2


def test_forward_reads_rectangles_of_a_field(rng):
    layer = local_layer(Field(20, 20, 3), window=8, stride=4, units=8, tile=(2, 2))
    values = rng.normal(size=(5, 20, 20, 3)).astype(np.float32)
    outs = []
    for chunk, cut in [((4, 4), (20, 20)), ((1, 2), (3, 7))]:
        layout = layer_layout(layer, chunk=chunk)
        states = initial_chunks("s", layout, seed=1, layer=0, alpha=1.0, dtype=np.float32)
        field = da.from_array(values, chunks=(5, *cut, 3))
        outs.append(forward_block("f", states, field, 0.5, 4).compute())
    np.testing.assert_array_equal(*outs)
