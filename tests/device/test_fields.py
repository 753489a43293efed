"""LCN, contrast, whitening and moments on a device against the host in float64."""

import numpy as np
import pytest

from yfccdask.geometry import Rectangle
from yfccdask.numerics import whitening
from yfccdask.numerics.contrast import (
    ContrastWindow,
    divide_contrast,
    mean_sigma,
    measure_contrast,
    normalise_field,
    row_sums,
)
from yfccdask.numerics.device.images import contrast_on_device, whitened_on_device
from yfccdask.numerics.fields import Pieces, row_moments


def halves(device, field):
    """A field as two pieces, beside each other."""
    middle, width = field.shape[2] // 2, field.shape[2]
    parts = ((0, middle), (middle, width))
    arrays = [device.upload(np.ascontiguousarray(field[:, :, a:b])) for a, b in parts]
    places = tuple(Rectangle(0, field.shape[1], *part) for part in parts)
    return Pieces(arrays, places, Rectangle(0, field.shape[1], 0, width))


@pytest.mark.parametrize(
    ("size", "valid", "rectified"),
    [(5, True, False), (5, False, True), (1, True, False), (3, True, True)],
)
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_lcn_agrees_with_float64(device, rng, size, valid, rectified, kind):
    field = rng.normal(2, 1, size=(2, 20, 45, 3)).astype(kind)
    window = ContrastWindow(size, 1.3, valid, rectified)
    out = normalise_field(halves(device, field), window, 1e-4, stored=kind).get()
    expected = normalise_field(field.astype(np.float64), window, 1e-4)
    assert out.dtype == kind
    np.testing.assert_allclose(out, expected, atol=2e-6 if kind == np.float32 else 4e-3)


def test_lcn_in_rectangles_agrees_with_the_whole(device, rng):
    field = rng.normal(2, 1, size=(2, 20, 18, 3)).astype(np.float32)
    window = ContrastWindow(3, 1.3, True)
    whole = normalise_field(device.upload(field), window, 1e-4).get()
    stripes = ((0, 5), (5, 14))
    read = [Rectangle(0, 20, *window.reads(stripe, 18)) for stripe in stripes]
    planes = [
        measure_contrast(_region(device, field, region), window, (20, 18), (0, 16), stripe)
        for region, stripe in zip(read, stripes, strict=True)
    ]
    c = mean_sigma(row_sums([each.sigma for each in planes]), 14)
    for stripe, each in zip(stripes, planes, strict=True):
        kept = Rectangle(2, 18, *window.kept(stripe, 18))
        out = divide_contrast(_region(device, field, kept), each, c, 1e-4).get()
        np.testing.assert_allclose(out, whole[:, :, slice(*stripe)], atol=1e-6)


def _region(device, field, region):
    return halves(device, field)._replace(region=region)


def test_host_fields_of_half_precision_are_worked_in_float32(rng):
    field = rng.normal(2, 1, size=(2, 12, 13, 3)).astype(np.float16)
    window = ContrastWindow(3, 1.3, True)
    out = normalise_field(field, window, 1e-4, stored=np.float16)
    exact = normalise_field(field.astype(np.float32), window, 1e-4)
    np.testing.assert_array_equal(out, exact.astype(np.float16))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_contrast_and_whitening_agree_with_float64(device, rng, kind):
    full = np.iinfo(kind).max
    images = rng.integers(0, full, size=(2, 40, 37, 3)).astype(kind)
    flat = images.reshape(2, -1)
    factors = whitening.contrast_factors(
        flat.mean(axis=1), flat.std(axis=1), 0.04, full, np.float32
    )
    plain = contrast_on_device(device, images, *factors).get()
    terms = flat.mean(axis=1), flat.std(axis=1), 0.04, full
    expected = whitening.normalise_contrast(images, *terms, np.float64)
    np.testing.assert_allclose(plain, expected, atol=2e-6)
    filters, mirror = rng.normal(size=(5, 5, 3, 3)), ((2, 2), (2, 0))
    out = whitened_on_device(device, images, *factors, filters, mirror).get()
    expected = whitening.filter_images(expected, filters, mirror)
    assert out.shape == expected.shape
    np.testing.assert_allclose(out, expected, atol=3e-5)


def test_moments_of_rows_agree_with_the_host(device, rng):
    field = rng.normal(1, 2, size=(3, 5, 7, 2)).astype(np.float32)
    np.testing.assert_allclose(row_moments(device.upload(field)), row_moments(field), rtol=1e-12)
