"""Localisation, orientation and edges on filters whose shape is known."""

import numpy as np
import pytest

from yfccdask.numerics.filter_shape import edges, localisation, orientation, principal_plane


def gabor(angle, width=2.0, centre=(7.5, 7.5), period=6.0):
    y, x = np.mgrid[:16, :16] - np.array(centre)[:, None, None]
    across = x * np.cos(angle) + y * np.sin(angle)
    return np.exp(-(x**2 + y**2) / (2 * width**2)) * np.sin(2 * np.pi * across / period)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 135, 170])
def test_a_small_gabor_is_local_and_of_its_orientation(degrees):
    plane = gabor(np.deg2rad(degrees))[None]
    assert localisation(plane)[0] > 0.85
    share, angle = orientation(plane)
    assert share[0] > 0.65
    apart = abs((np.rad2deg(angle[0]) - degrees + 90) % 180 - 90)
    assert apart <= 10
    assert edges(plane[..., None]).all()


def test_noise_and_wide_waves_are_no_edges(rng):
    noise = rng.normal(size=(200, 16, 16, 3))
    assert edges(noise).mean() == 0
    assert orientation(noise[..., 0])[0].mean() == pytest.approx(1 / 4, abs=0.1)
    wide = gabor(0.3, width=50)[None]
    assert localisation(wide)[0] < 0.4
    assert not edges(wide[..., None]).any()
    y, x = np.mgrid[:16, :16] - 7.5
    blob = np.exp(-(x**2 + y**2) / 8)[None]
    assert orientation(blob)[0][0] < 0.4
    assert not edges(blob[..., None]).any()


def test_localisation_is_the_best_window_s_share_of_the_energy():
    plane = np.zeros((2, 16, 16))
    plane[0, 3:11, 5:13] = 1
    plane[1] = 1
    np.testing.assert_allclose(localisation(plane), [1, 64 / 256])


def test_filters_of_zeros_are_no_edges():
    zeros = np.zeros((1, 16, 16, 3))
    assert not edges(zeros).any()


def test_the_principal_plane_of_a_coloured_edge_is_the_edge():
    colour = np.array([0.8, -0.6, 0.0])
    plane = gabor(0.7)
    found = principal_plane((plane[..., None] * colour)[None])[0]
    assert np.allclose(found, plane) or np.allclose(found, -plane)
