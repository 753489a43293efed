"""LCN against pixel-by-pixel loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.numerics import naive
from yfccdask.numerics.contrast import (
    ContrastWindow,
    mean_sigma,
    measure_contrast,
    normalise_field,
    row_sums,
)


@pytest.mark.parametrize("valid", [True, False])
@settings(max_examples=15, deadline=None)
@given(
    size=st.sampled_from([1, 3, 5]),
    height=st.integers(9, 13),
    width=st.integers(9, 12),
    maps=st.integers(1, 4),
    mean=st.sampled_from([0.0, 100.0]),
)
def test_lcn_agrees_with_loops(valid, size, height, width, maps, mean):
    rng = np.random.default_rng(height * width)
    field = rng.normal(mean, 1, size=(2, height, width, maps))
    window = ContrastWindow(size, 1.3, valid)
    out = normalise_field(field, window, 1e-4)
    for image, want in zip(out, field, strict=True):
        np.testing.assert_allclose(image, naive.local_contrast(want, window, 1e-4), atol=1e-10)


def test_valid_trims_two_windows_and_same_trims_nothing(rng):
    field = rng.normal(size=(1, 20, 18, 2)).astype(np.float32)
    assert normalise_field(field, ContrastWindow(5, 1.2, True), 1e-4).shape == (1, 12, 10, 2)
    assert normalise_field(field, ContrastWindow(5, 1.2, False), 1e-4).shape == field.shape


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_a_rectified_field_has_the_parts_of_either_sign_as_maps_of_their_own(rng, kind):
    field, window = rng.normal(size=(2, 9, 8, 3)).astype(kind), ContrastWindow(3, 1.0, True)
    field[0, 2, 2, 1] = np.nan
    plain = normalise_field(field, window, 1e-4, stored=kind)
    out = normalise_field(field, window._replace(rectified=True), 1e-4, stored=kind)
    assert out.dtype == kind
    np.testing.assert_array_equal(out, np.concatenate([plain.clip(0), (-plain).clip(0)], axis=-1))
    assert np.isnan(out).any()
    assert not np.signbit(out[np.isfinite(out)]).any()


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch(rng):
    field = rng.normal(size=(3, 12, 12, 2)).astype(np.float32)
    window = ContrastWindow(3, 1.0, True)
    whole = normalise_field(field, window, 1e-4)
    np.testing.assert_array_equal(whole[1], normalise_field(field[1:2], window, 1e-4)[0])


def test_the_taps_add_up_to_one_and_c_is_the_mean_of_sigma(rng):
    window = ContrastWindow(5, 1.2, True)
    assert window.taps().sum() == pytest.approx(1)
    field = rng.normal(size=(2, 14, 13, 3))
    sigma = measure_contrast(field, window, (14, 13), (0, 6), (0, 5)).sigma
    sums = row_sums([sigma[:, :, :2], sigma[:, :, 2:]])
    np.testing.assert_array_equal(sums, row_sums([sigma]))
    np.testing.assert_allclose(mean_sigma(sums, 5), sigma.mean(axis=(1, 2)))


def test_a_constant_field_becomes_zero():
    out = normalise_field(np.full((1, 9, 9, 2), 7.0), ContrastWindow(3, 1.0, False), 1e-4)
    np.testing.assert_allclose(out, 0, atol=1e-9)
