"""Contrast and whitening of images against loops, and what whitening is for."""

import numpy as np
import pytest

from yfccdask.numerics.whitening import (
    filter_images,
    normalise_contrast,
    sample_patches,
    second_moment,
    whitening_filter,
)


def correlated(images, filter_):
    """The filter at every pixel where it fits, tap by tap."""
    fy, fx = filter_.shape[:2]
    height, width = images.shape[1] - fy + 1, images.shape[2] - fx + 1
    out = np.zeros((len(images), height, width, filter_.shape[3]))
    for y, x in np.ndindex(height, width):
        patch = images[:, y : y + fy, x : x + fx]
        out[:, y, x] = np.einsum("nyxc,yxco->no", patch, filter_)
    return out


@pytest.mark.parametrize("channels", [1, 3])
def test_filtering_agrees_with_loops(rng, channels):
    images = rng.normal(size=(11, 14, 12, channels))
    filter_ = rng.normal(size=(5, 5, channels, channels))
    np.testing.assert_allclose(
        filter_images(images, filter_), correlated(images, filter_), atol=1e-10
    )


def test_mirroring_while_filtering_is_mirroring_before(rng):
    images = rng.normal(size=(3, 14, 12, 3)).astype(np.float32)
    filter_ = rng.normal(size=(5, 5, 3, 3))
    np.testing.assert_array_equal(
        filter_images(images, filter_, ((2, 2), (2, 2))),
        filter_images(np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect"), filter_),
    )


def test_contrast_is_per_image_on_a_scale_where_white_is_one(rng):
    images = rng.integers(0, 256, size=(4, 6, 5, 3), dtype=np.uint8)
    flat = images.reshape(4, -1) / 255
    mean, deviation = images.mean(axis=(1, 2, 3)), images.std(axis=(1, 2, 3))
    out = normalise_contrast(images, mean, deviation, 10 / 255, 255.0, np.float64)
    want = (flat - flat.mean(axis=1, keepdims=True)) / (flat.std(axis=1, keepdims=True) + 10 / 255)
    np.testing.assert_allclose(out.reshape(4, -1), want, atol=1e-12)


def test_a_blank_image_becomes_zeros_even_without_a_floor():
    blank = np.full((1, 4, 4, 3), 9, np.uint8)
    out = normalise_contrast(blank, np.array([9.0]), np.zeros(1), 0.0, 255.0, np.float32)
    np.testing.assert_array_equal(out, 0)


def test_whitening_flattens_the_spectrum_of_smooth_images(rng):
    smooth = rng.normal(size=(200, 40, 40, 1))
    for axis in (1, 2):
        smooth = sum(np.roll(smooth, shift, axis=axis) for shift in (0, 1, 2))
    corners = np.stack([rng.integers(0, limit, 4000) for limit in (200, 34, 34)], axis=1)
    patches = sample_patches(smooth, corners, 7)
    filter_ = whitening_filter(second_moment(patches) / len(patches), 7, 0.01)
    white = filter_images(smooth, filter_)[..., 0]

    def neighbours(field):
        return np.corrcoef(field[:, :, 1:].ravel(), field[:, :, :-1].ravel())[0, 1]

    assert neighbours(smooth[..., 0]) > 0.6
    assert abs(neighbours(white)) < 0.2


def test_the_filter_is_the_centre_row_of_zca(rng):
    patches = rng.normal(size=(500, 3, 3, 2))
    moment = second_moment(patches) / 500
    values, vectors = np.linalg.eigh(moment)
    zca = vectors @ np.diag(1 / np.sqrt(values + 0.1 * values.mean())) @ vectors.T
    filter_ = whitening_filter(moment, 3, 0.1)
    for channel in range(2):
        row = zca[4 * 2 + channel].reshape(3, 3, 2)
        np.testing.assert_allclose(filter_[..., channel], row, atol=1e-12)
