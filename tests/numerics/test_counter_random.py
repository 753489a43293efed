"""Initial weights: published answers, independence of chunks, distribution."""

import numpy as np
import pytest

from yfccdask.numerics.counter_random import (
    CENTRE,
    initial_weights,
    philox4x32,
    random_integers,
    row_squares,
    unit_rows,
)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [  # Random123's known answers for philox4x32-10
        ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (
            [0xFFFFFFFF] * 4,
            [0xFFFFFFFF] * 2,
            [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
        ),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_answers(counter, key, answer):
    found = philox4x32(np.array(counter, np.uint64), np.array(key, np.uint64))
    assert found.tolist() == answer


def test_each_integer_is_a_sum_of_four_halves():
    values = philox4x32(np.array([2, 1, 7, 0], np.uint64), np.array([3, 5], np.uint64))
    want = sum(int(value) >> 16 for value in values) - CENTRE
    assert random_integers(3, 5, position=7, units=2, inputs=(2, 3))[1, 0] == want


def test_weights_do_not_depend_on_how_inputs_are_cut():
    whole = initial_weights(1, 2, 3, units=5, inputs=40, dtype=np.float32)
    parts = [random_integers(1, 2, 3, 5, cut) for cut in ((0, 16), (16, 30), (30, 40))]
    squares = sum(row_squares(part) for part in reversed(parts))
    cut = np.concatenate([unit_rows(part, squares, np.float32) for part in parts], axis=1)
    np.testing.assert_array_equal(whole, cut)


def test_rows_are_of_unit_norm_and_nearly_normal():
    weights = initial_weights(0, 0, 0, units=50, inputs=2000, dtype=np.float64)
    np.testing.assert_allclose((weights**2).sum(axis=1), 1, rtol=1e-12)
    scaled = weights.ravel() * np.sqrt(2000)
    assert abs(scaled.mean()) < 0.01
    assert (scaled**4).mean() == pytest.approx(2.7, abs=0.05)  # four uniforms: 3 - 1.2 / 4


def test_seed_layer_and_position_each_make_other_weights():
    weights = [
        initial_weights(*which, units=2, inputs=8, dtype=np.float32)
        for which in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    ]
    assert len({part.tobytes() for part in weights}) == 4
