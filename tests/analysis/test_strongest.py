"""Lists of the strongest are exact, and the same for every cut and every order of merging."""

from itertools import pairwise

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yfccdask.geometry import Field, dense_layer, layer_layout, local_layer
from yfccdask.graph import Forward, initial_chunks
from yfccdask.graph.strongest_graph import block_outputs, block_summaries, merged_summaries
from yfccdask.numerics.contrast import ContrastWindow
from yfccdask.numerics.strongest import (
    mean_and_deviation,
    merge,
    merge_strongest,
    strongest_of,
    summarise,
    unit_moments,
)

LOCAL = local_layer(
    Field(12, 12, 2), window=4, stride=4, units=8, tile=(2, 2), lcn_window=3, lcn_mode="same"
)
DENSE = dense_layer(LOCAL.normalised, units=5, leaf=16)


def naive(codes, images, k):
    """Sorted by larger value, then smaller number: (unit, rank) of (value, image)."""
    pairs = [sorted(zip(-row, images, strict=True))[:k] for row in codes]
    values = [[-value for value, _ in row] for row in pairs]
    return np.array(values), np.array([[image for _, image in row] for row in pairs])


@st.composite
def responses(draw):
    """A few units' responses to a few images, with many ties, in any order of images."""
    units, count = draw(st.integers(1, 3)), draw(st.integers(1, 12))
    values = draw(st.lists(st.integers(-2, 2), min_size=units * count, max_size=units * count))
    images = np.array(draw(st.permutations(range(count))), np.int64)
    return np.array(values, np.float32).reshape(units, count), images


@given(responses(), st.integers(1, 6))
@settings(deadline=None)
def test_the_strongest_are_those_of_a_full_sort(given_, k):
    codes, images = given_
    values, numbers = naive(codes, images, k)
    found = strongest_of(codes, images, k)
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.images, numbers)


@given(responses(), st.integers(1, 6), st.lists(st.integers(0, 11), max_size=3), st.booleans())
@settings(deadline=None)
def test_any_cut_and_any_order_of_merging_gives_the_same_list(given_, k, cuts, backwards):
    codes, images = given_
    whole = strongest_of(codes, images, k)
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(images)}), len(images)]
    parts = [strongest_of(codes[:, a:b], images[a:b], k) for a, b in pairwise(edges)]
    total, *rest = parts[::-1] if backwards else parts
    for part in rest:
        total = merge_strongest(total, part, k)
    np.testing.assert_array_equal(total.images, whole.images)
    np.testing.assert_array_equal(total.values, whole.values)


def test_what_is_not_a_number_comes_last():
    codes = np.array([[np.nan, -5.0, np.inf]], np.float32)
    assert strongest_of(codes, np.arange(3), 3).images.tolist() == [[2, 1, 0]]


def test_a_unit_that_never_changes_has_a_deviation_of_exactly_zero():
    codes = np.full((1, 1000), 0.1, np.float32)
    mean, deviation = mean_and_deviation(unit_moments(codes), codes[:, 0])
    assert deviation[0] == 0
    assert mean[0] == pytest.approx(0.1, rel=1e-6)


def test_moments_are_those_of_the_values(rng):
    field = rng.normal(3, 2, (9, 4, 6, 2)).astype(np.float32)
    first, second = summarise(field[:5], (2, 3), 0, 2), summarise(field[5:], (2, 3), 5, 2)
    both = merge(first, second, 2)
    mean, deviation = mean_and_deviation(both.moments, both.strongest.values[..., 0])
    codes = np.stack(
        [field[:, :2, :3], field[:, :2, 3:], field[:, 2:, :3], field[:, 2:, 3:]], axis=1
    ).reshape(9, 2, 2, 12)
    np.testing.assert_allclose(mean, codes.mean(axis=0, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(deviation, codes.std(axis=0, dtype=float), rtol=1e-9)
    np.testing.assert_array_equal(both.strongest.values[..., 0], codes.max(axis=0))
    np.testing.assert_array_equal(both.strongest.images[..., 0], codes.argmax(axis=0))


def network(chunk, leaves):
    """Two untrained layers, cut in some way."""
    below = layer_layout(LOCAL, chunk=chunk)
    above = layer_layout(DENSE, chunk_leaves=leaves)
    states = [
        initial_chunks(f"layer{n}", layout, seed=3, layer=n, alpha=1.0, dtype=np.float32)
        for n, layout in enumerate([below, above])
    ]
    window = ContrastWindow(3, 0.75, False)
    return [Forward(states[0], 0.5, window, 1e-4), Forward(states[1], 0.5, None, 0.0)]


def passed(values, cuts, chunk=None, leaves=None):
    """Both layers' merged summaries over blocks, as arrays over whole grids."""
    layers, parts = network(chunk, leaves), {0: [], 1: []}
    for number, (start, stop) in enumerate(pairwise(cuts)):
        field = da.from_array(values[start:stop], chunks=(stop - start, 6, 12, 2))
        for n, output in enumerate(block_outputs(f"b{number}", field, layers, 4)):
            name = f"s{number}-{n}"
            summary = block_summaries(name, output, layers[n].states.layout, start, 3)
            parts[n].append(summary)
    return [gathered(merged_summaries(f"m{n}", parts[n], 3)) for n in parts]


def gathered(summaries):
    rows, columns = summaries.numblocks
    keys = [[(summaries.name, i, j) for j in range(columns)] for i in range(rows)]
    found = dask.get(dict(summaries.__dask_graph__()), keys)
    parts = [[(*part.strongest, part.moments) for part in line] for line in found]
    return [
        np.concatenate([np.concatenate([part[n] for part in line], axis=1) for line in parts])
        for n in range(3)
    ]


@pytest.mark.parametrize(("chunk", "leaves"), [((1, 1), 1), ((2, 3), 2), ((3, 2), None)])
def test_a_pass_has_the_same_bits_for_every_cut_of_the_network(rng, chunk, leaves):
    values = rng.normal(size=(11, 12, 12, 2)).astype(np.float32)
    cuts = [0, 4, 8, 11]
    for whole, cut in zip(passed(values, cuts), passed(values, cuts, chunk, leaves), strict=True):
        for one, other in zip(whole, cut, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("cuts", [[0, 11], [0, 1, 11], [0, 2, 4, 6, 8, 10, 11]])
def test_a_pass_finds_the_same_images_for_every_size_of_block(rng, cuts):
    values = rng.normal(size=(11, 12, 12, 2)).astype(np.float32)
    for one, other in zip(passed(values, [0, 4, 8, 11]), passed(values, cuts), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
        np.testing.assert_allclose(one[2], other[2], rtol=1e-9, atol=1e-9)


def test_builders_compute_nothing():
    calls = []

    def make_field():
        calls.append(1)

    shape = (8, 12, 12, 2)
    field = da.from_delayed(dask.delayed(make_field)(), shape, meta=np.empty((0,) * 4, np.float32))
    layers = network(None, None)
    outputs = block_outputs("b", field, layers, 4)
    summary = block_summaries("s", outputs[0], layers[0].states.layout, 0, 2)
    merged_summaries("m", [summary, summary, summary], 2)
    assert not calls
