"""Every chunk has one worker, neighbours stay together, and work is in balance."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yfccdask.errors import GeometryError
from yfccdask.geometry import Field, FieldLayout, Rectangle, dense_layer, local_layer
from yfccdask.geometry.cuts import (
    assign,
    chunk_weights,
    even_layout,
    leaf_layout,
    serpentine,
    tile_makers,
    touched,
)


def grid_of(rows, columns):
    height, width = 4 * rows + 4, 4 * columns + 4
    return local_layer(Field(height, width, 3), window=8, stride=4, units=16)


layouts = st.builds(
    lambda rows, columns, r, c: even_layout(grid_of(rows, columns), r, c),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 14),
    st.integers(1, 14),
)
dense_layouts = st.builds(
    lambda inputs, leaf, chunks: leaf_layout(
        dense_layer(Field(1, inputs, 1), units=5, leaf=leaf), chunks
    ),
    st.integers(1, 90),
    st.integers(1, 20),
    st.integers(1, 9),
)


def work_of(layout, owners, workers):
    done = [0] * workers
    for index, worker in owners.items():
        done[worker] += chunk_weights(layout, index)
    return done


@given(st.one_of(layouts, dense_layouts), st.integers(1, 9))
def test_every_chunk_has_one_worker_and_runs_are_contiguous(layout, workers):
    owners = assign(layout, workers)
    assert sorted(owners) == sorted(layout.indices())
    along = [owners[index] for index in serpentine(layout)]
    assert along == sorted(along)
    assert min(along) >= 0
    assert max(along) < workers
    if len(along) >= workers:
        assert set(along) == set(range(workers))


@given(st.one_of(layouts, dense_layouts), st.integers(1, 9))
def test_work_is_within_a_chunk_of_the_mean(layout, workers):
    work = work_of(layout, assign(layout, workers), workers)
    largest = max(chunk_weights(layout, index) for index in layout.indices())
    assert sum(work) == layout.layer.weights
    for each in work:
        assert abs(each - sum(work) / workers) <= largest + 1e-6


@given(layouts, st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_shares_are_kept_within_a_chunk(layout, shares):
    if not any(shares):
        with pytest.raises(GeometryError, match="shares"):
            assign(layout, len(shares), shares)
        return
    work = work_of(layout, assign(layout, len(shares), shares), len(shares))
    largest = max(chunk_weights(layout, index) for index in layout.indices())
    for share, each in zip(shares, work, strict=True):
        assert each <= share / sum(shares) * layout.layer.weights + largest + 1e-6
        assert share or not each


@given(layouts)
def test_a_serpentine_steps_from_neighbour_to_neighbour(layout):
    for (i, j, _), (y, x, _) in pairwise(serpentine(layout)):
        assert abs(i - y) + abs(j - x) == 1


@given(st.integers(1, 40), st.integers(1, 40))
def test_an_even_cut_has_regular_steps_and_never_more_chunks_than_asked(rows, wanted):
    layout = even_layout(grid_of(rows, 3), wanted)
    assert sum(layout.rows) == rows
    assert len(layout.rows) <= wanted
    assert len(set(layout.rows[:-1])) <= 1
    assert layout.rows[-1] <= layout.rows[0]
    assert layout.columns == (3,)


@given(layouts, st.data())
def test_what_a_region_touches_is_what_the_field_s_layout_says(layout, data):
    field = layout.output
    rows, columns = sum(field.rows), sum(field.columns)
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    bottom = data.draw(st.integers(top + 1, rows))
    right = data.draw(st.integers(left + 1, columns))
    region = Rectangle(top, bottom, left, right)
    assert touched(field, region) == [index for index, _ in field.touching(region)]
    assert isinstance(field, FieldLayout)


def test_the_same_worker_has_about_the_same_part_of_every_layer():
    owners = [assign(even_layout(grid_of(n, n), 8), 4) for n in (72, 62)]
    assert list(owners[0].values()) == list(owners[1].values()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_no_worker_and_no_share_are_refused():
    layout = even_layout(grid_of(2, 2), 2)
    with pytest.raises(GeometryError, match="at least 1 worker"):
        assign(layout, 0)
    with pytest.raises(GeometryError, match="3 shares"):
        assign(layout, 3, [1, 2])


tile_fields = st.builds(
    lambda rows, columns: FieldLayout((4,) * rows, (4,) * columns, 3),
    st.integers(1, 5),
    st.integers(1, 5),
)


@given(layouts, tile_fields, st.integers(1, 9), st.integers(0, 50))
def test_tiles_are_shared_evenly_and_by_every_worker_in_its_turn(layout, tiles, workers, turn):
    owners = assign(layout, workers)
    busy = set(owners.values())
    made = Counter()
    for number in range(turn, turn + len(busy)):
        makers = tile_makers(layout, owners, tiles, number)
        assert makers.keys() == tiles.places.keys()
        shares = Counter(makers.values())
        assert max(shares.values()) <= -(-len(makers) // len(busy))
        assert min(shares[worker] for worker in busy) >= len(makers) // len(busy)
        made += shares
    assert set(made.items()) == {(worker, len(tiles.places)) for worker in busy}


def test_tiles_stay_near_their_positions_where_each_worker_has_as_many():
    layout, tiles = even_layout(grid_of(8, 8), 4), FieldLayout((9,) * 4, (36,), 3)
    for turn in range(4):
        assert tile_makers(layout, assign(layout, 4), tiles, turn) == {(i, 0): i for i in range(4)}


def test_fewer_tiles_than_workers_move_on_to_others_with_every_block():
    layout, tiles = even_layout(grid_of(6, 6), 6), FieldLayout((14,) * 2, (28,), 3)
    turns = [set(tile_makers(layout, assign(layout, 6), tiles, t).values()) for t in range(12)]
    assert all(not a & b for a, b in pairwise(turns[:3]))
