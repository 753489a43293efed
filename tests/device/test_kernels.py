"""Each kernel against NumPy, into memory that was poisoned before."""

import numpy as np
import pytest

from yfccdask.backend.device import operand_dtype
from yfccdask.numerics import bfloat16, counter_random
from yfccdask.numerics.device import visits, weights

THREADS = 64
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


def brain(values):
    """float32 rounded to bfloat16, as its bits: by ml_dtypes' rule, nearest and ties to even."""
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def normal(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def test_code_terms_fill_the_slope_and_sum_the_roots(device, rng):
    s = normal(rng, 3, 4, 10)
    stacked, parts = device.empty((3, 8, 10), F32), device.empty((3, 2), F64)
    rounded = device.empty((3, 4, 10), operand_dtype("bf16"))
    given = (device.upload(s), 40, 40, 0.3, 0.01, stacked, 80, rounded, 40, parts)
    device.launch("code_terms", (2, 3), THREADS, given)
    root = np.sqrt(s.astype(float) ** 2 + 0.01)
    np.testing.assert_allclose(stacked[:, :4].get(), 0.3 * s / root, rtol=1e-6)
    np.testing.assert_allclose(parts.get().sum(axis=1), root.sum(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(rounded.get(), brain(s))


@pytest.mark.parametrize("inputs", [5, 70])
def test_residual_terms_sum_over_images(device, rng, inputs):
    r, groups = normal(rng, 2, 9, inputs), -(-inputs // THREADS)
    sums, parts = device.empty((2, inputs), F32), device.empty((2, groups), F64)
    rounded = device.empty(r.shape, operand_dtype("bf16"))
    given = (device.upload(r), 9 * inputs, 9, inputs, sums, rounded, 9 * inputs, parts)
    device.launch("residual_terms", (groups, 2), THREADS, given)
    np.testing.assert_allclose(sums.get(), r.sum(axis=1), rtol=1e-5, atol=1e-6)
    squares = (r.astype(float) ** 2).sum(axis=(1, 2)) / 4
    np.testing.assert_allclose(parts.get().sum(axis=1), squares, rtol=1e-6)
    np.testing.assert_array_equal(rounded.get(), brain(r))


def test_gradient_terms_sum_g_s(device, rng):
    g, s = normal(rng, 2, 33), normal(rng, 2, 33)
    parts, rounded = device.empty((2, 3), F64), device.empty((2, 33), operand_dtype("bf16"))
    given = (device.upload(g), 33, device.upload(s), 33, 33, rounded, 33, parts)
    device.launch("gradient_terms", (3, 2), THREADS, given)
    expected = (g.astype(float) * s).sum(axis=1)
    np.testing.assert_allclose(parts.get().sum(axis=1), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(rounded.get(), brain(g))


@pytest.mark.parametrize("kept", [0, 1])
def test_update_rows_leaves_rows_of_unit_norm(device, rng, kept):
    w, m = normal(rng, 3, 100), normal(rng, 3, 100)
    w[1], m[1] = 0, 0
    new, rounded = device.upload(w.copy()), device.empty(w.shape, operand_dtype("bf16"))
    given = (new, device.upload(m), 100, 0.1, rounded, kept)
    device.launch("update_rows", (3,), THREADS, given, 400 if kept else 0)
    expected = w[[0, 2]] - np.float32(0.1) * m[[0, 2]].astype(float)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(new.get()[[0, 2]], expected, rtol=1e-5)
    assert np.isnan(new.get()[1]).all()
    np.testing.assert_array_equal(rounded.get()[[0, 2]], brain(new.get()[[0, 2]]))


def test_finish_step_adds_parts_and_descends_alpha(device, rng):
    roots, products, squares = (rng.random((70, n)) for n in (2, 2, 5))
    alpha, momentum = normal(rng, 70), normal(rng, 70)
    arrays = [device.upload(each) for each in (roots, products, squares)]
    new, moved, costs = device.upload(alpha), device.upload(momentum), device.empty((70, 2), F64)
    given = (arrays[0], arrays[1], 2, arrays[2], 5, 70, 0.3, 0.9, 0.25, 0.1, new, moved, costs)
    device.launch("finish_step", (2,), THREADS, given)
    step = 0.9 * momentum + 0.25 * products.sum(axis=1) / alpha
    np.testing.assert_allclose(moved.get(), step, rtol=1e-6)
    np.testing.assert_allclose(new.get(), alpha - 0.1 * step, rtol=1e-5, atol=1e-6)
    terms = np.stack([squares.sum(axis=1), 0.3 * roots.sum(axis=1)], axis=1)
    np.testing.assert_allclose(costs.get(), terms)


def test_rounding_to_bfloat16_takes_columns_of_a_matrix(device, rng):
    whole = normal(rng, 6, 50)
    whole[0, 20:24] = np.inf, -np.inf, 1 + 2.0**-8, 1 + 3 * 2.0**-8
    part = device.upload(whole)[None][:, :, 20:33]
    out = visits.rounded(device, part)
    np.testing.assert_array_equal(out.get()[0], brain(whole[:, 20:33]))


def test_bfloat16_is_the_host_s_and_comes_back_exactly(device, rng):
    whole = normal(rng, 6, 50)
    whole[0, :3] = np.inf, np.nan, 1 + 2.0**-8
    bits = bfloat16.narrowed(device.upload(whole))
    np.testing.assert_array_equal(bits.get(), bfloat16.narrowed(whole))
    np.testing.assert_array_equal(
        bfloat16.widened(bits[:, 10:31]).get(), bfloat16.widened(bits.get())[:, 10:31]
    )
    assert not bfloat16.all_finite(bits)
    assert bfloat16.all_finite(bits[1:])


def test_bfloat16_of_nan_is_nan(device):
    out = visits.rounded(device, device.upload(np.full((1, 1, 1), np.nan, np.float32)))
    assert (out.get() & 0x7FFF).item() > 0x7F80


def test_initial_weights_have_the_host_s_bits(device):
    numbers = np.array([[7, 3]])
    made = weights.initial_weights_on(device, 5, 1, numbers, 3, 300).get()
    for place, number in enumerate(numbers[0]):
        own = counter_random.initial_weights(5, 1, int(number), 3, 300, np.float32)
        np.testing.assert_array_equal(made[0, place], own)


def test_arguments_of_another_kind_are_refused(device):
    with pytest.raises(TypeError, match="of kernel add_parts, found"):
        device.launch("add_parts", (1,), 32, (1.0, 3, 4))
