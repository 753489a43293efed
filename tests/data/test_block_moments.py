"""Moments of images: exact integers, one division."""

import numpy as np
import pytest

from yfccdask.data.block_writing import moments


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_moments_agree_with_numpy_in_float64(dtype):
    images = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (5, 9, 9, 3), dtype)
    images[0] = np.iinfo(dtype).max
    mean, deviation = moments(images)
    plain = images.astype(np.float64).reshape(5, -1)
    np.testing.assert_array_equal(mean, plain.mean(axis=1).astype(np.float32))
    np.testing.assert_allclose(deviation, plain.std(axis=1), rtol=1e-6)
    assert deviation[0] == 0
