"""The resampling kernel against an exact loop and against Pillow, and what it must not do."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from yfccdask.errors import DataError
from yfccdask.numerics.resampling import resample, taps

CASES = [
    ((40, 60, 3), (10, 0, 50, 40), 16),
    ((40, 60, 3), (3.25, 1.5, 39.75, 38), 17),
    ((61, 37, 1), (0, 12, 37, 49), 30),
    ((20, 20, 3), (4, 4, 14, 14), 23),
    ((9, 200, 1), (95.5, 0, 104.5, 9), 16),
    ((150, 150, 3), (0, 0, 150, 150), 7),
    ((3, 3, 1), (0, 0, 3, 3), 6),
]


def keys(x):
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def exact_matrix(start, stop, size, length):
    """Weights of every pixel in every output pixel, float64 (size, length), by plain loops."""
    step = (stop - start) / size
    widen = max(step, 1.0)
    weights = np.zeros((size, length))
    for i in range(size):
        centre = start + (i + 0.5) * step
        for j in range(length):
            weights[i, j] = keys((j + 0.5 - centre) / widen)
    return weights / weights.sum(axis=1, keepdims=True)


def exact(pixels, box, size):
    rows = exact_matrix(box[1], box[3], size, pixels.shape[0])
    columns = exact_matrix(box[0], box[2], size, pixels.shape[1])
    return np.clip(np.einsum("iy,yxc,jx->ijc", rows, pixels.astype(float), columns), 0, 255)


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(("shape", "box", "size"), CASES)
def test_every_level_is_the_exact_one_rounded(shape, box, size):
    pixels = noise(shape)
    found = resample(pixels, box, size)
    assert found.dtype == np.uint8
    assert found.shape == (size, size, shape[2])
    assert np.abs(found - exact(pixels, box, size)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(("shape", "box", "size"), CASES)
def test_weights_are_the_exact_ones(shape, box, size):
    for start, stop, length in ((box[0], box[2], shape[1]), (box[1], box[3], shape[0])):
        first, weights = taps(start, stop, size, length)
        dense = np.zeros((size, length))
        for i in range(size):
            dense[i, first[i] : first[i] + weights.shape[1]] = weights[i]
        np.testing.assert_allclose(dense, exact_matrix(start, stop, size, length), atol=1e-6)


@pytest.mark.parametrize(("shape", "box", "size"), CASES)
def test_pillow_agrees_on_smooth_pictures(shape, box, size):
    y, x, c = np.ogrid[: shape[0], : shape[1], : shape[2]]
    pixels = (127 + 60 * np.sin(x / 5 + c) + 60 * np.cos(y / 4)).astype(np.uint8)
    picture = Image.fromarray(pixels if shape[2] == 3 else pixels[..., 0])
    oracle = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box=box))
    difference = np.abs(resample(pixels, box, size) - oracle.reshape(size, size, -1).astype(int))
    assert difference.max() <= 1
    assert difference.mean() <= 0.25


def test_pixels_that_are_not_scaled_are_untouched():
    pixels = noise((20, 30, 3))
    np.testing.assert_array_equal(resample(pixels, (5, 2, 20, 17), 15), pixels[2:17, 5:20])


def test_a_constant_stays_what_it_is():
    for level in range(256):
        pixels = np.full((23, 23, 1), level, np.uint8)
        assert (resample(pixels, (0, 0, 23, 23), 9) == level).all()
        assert (resample(pixels, (1, 2, 20, 21), 30) == level).all()


def test_stripes_too_fine_for_the_square_become_grey():
    stripes = np.zeros((128, 128, 1), np.uint8)
    stripes[:, ::2] = 255
    found = resample(stripes, (0, 0, 128, 128), 32)[:, 2:-2]  # the border sees half a stripe more
    assert np.abs(found - 127.5).max() < 2


@pytest.mark.parametrize("left", [0.0, 0.5, 0.25, 3.75])
def test_nothing_is_shifted(left):
    ramp = np.tile((20 + 2 * np.arange(64, dtype=np.uint8))[None, :, None], (64, 1, 1))
    found = resample(ramp, (left, 2, left + 56, 58), 16)[:, :, 0]
    centres = left + (np.arange(16) + 0.5) * 3.5
    assert np.abs(found - (19 + 2 * centres))[:, 2:-2].max() <= 0.51


def test_channels_do_not_depend_on_each_other():
    pixels, box = noise((40, 50, 3)), (2.5, 0, 42.5, 40)
    whole = resample(pixels, box, 13)
    for c in range(3):
        np.testing.assert_array_equal(whole[..., c : c + 1], resample(pixels[..., [c]], box, 13))


def test_memory_order_and_flags_do_not_matter():
    pixels, box = noise((40, 50, 3)), (0, 0, 40, 40)
    expected = resample(pixels, box, 13)
    np.testing.assert_array_equal(resample(np.asfortranarray(pixels), box, 13), expected)
    pixels.flags.writeable = False
    np.testing.assert_array_equal(resample(pixels, box, 13), expected)


@pytest.mark.parametrize(
    "box", [(-1, 0, 5, 5), (0, 0, 11, 5), (0, 0, 5, 11), (4, 0, 4, 5), (0, 0, float("nan"), 5)]
)
def test_a_box_that_does_not_lie_in_the_picture_is_refused(box):
    with pytest.raises(DataError, match="inside 10 x 10"):
        resample(noise((10, 10, 3)), box, 4)


def test_the_bits_are_the_same_on_every_machine():
    y, x, c = np.ogrid[:97, :131, :3]
    pixels = ((x * x + 7 * y * y + 31 * x * y + 85 * c) % 251).astype(np.uint8)
    squares = [resample(pixels, (17, 0, 114, 97), 40), resample(pixels, (5.3, 2.7, 40.3, 37.7), 60)]
    digest = hashlib.sha256(b"".join(square.tobytes() for square in squares)).hexdigest()
    assert digest == "3a3dfa930a797b582634ed54fd6a8546db98321d3e973b6cf91610c2c06d7f86"
