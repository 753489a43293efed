"""The cost and its gradient against loops, finite differences and a complex step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.numerics import naive
from yfccdask.numerics.rica import cost_and_gradient, descend, normalise_rows


def problem(rng, positions=2, units=3, inputs=5, images=4):
    return {
        "weights": normalise_rows(rng.normal(size=(positions, units, inputs))),
        "alpha": rng.uniform(0.5, 1.5, size=positions),
        "offset": rng.normal(size=(positions, inputs)),
        "patches": rng.normal(size=(positions, images, inputs)),
    }


TERMS = {"sparsity": 0.3, "epsilon": 1e-3}


def test_cost_and_gradient_agree_with_loops(rng):
    given_ = problem(rng)
    cost, gradient = cost_and_gradient(**given_, **TERMS)
    for p in range(2):
        one = [given_[key][p] for key in ("weights", "alpha", "offset", "patches")]
        assert np.isclose(cost[p], naive.cost(*one, 0.3, 1e-3), rtol=1e-13)
        for mine, oracle in zip(
            (gradient.weights[p], gradient.alpha[p], gradient.offset[p]),
            naive.gradient(*one, 0.3, 1e-3),
            strict=True,
        ):
            np.testing.assert_allclose(mine, oracle, rtol=1e-12, atol=1e-13)


def test_a_scalar_alpha_serves_every_position(rng):
    given_ = problem(rng)
    given_["alpha"] = 0.7
    cost, gradient = cost_and_gradient(**given_, **TERMS)
    given_["alpha"] = np.full(2, 0.7)
    same, _ = cost_and_gradient(**given_, **TERMS)
    np.testing.assert_array_equal(cost, same)
    assert gradient.alpha.shape == (2,)


@pytest.mark.parametrize("key", ["weights", "alpha", "offset"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), epsilon=st.sampled_from([1e-4, 1e-2, 1.0]))
def test_gradient_agrees_with_complex_step_and_finite_differences(key, seed, epsilon):
    rng = np.random.default_rng(seed)
    given_, terms = problem(rng), {"sparsity": 0.3, "epsilon": epsilon}
    _, gradient = cost_and_gradient(**given_, **terms)
    analytic = getattr(gradient, key)
    index = tuple(rng.integers(0, size) for size in given_[key].shape)

    def moved(by):
        value = given_[key].astype(type(by) if isinstance(by, complex) else float)
        value[index] += by
        return cost_and_gradient(**{**given_, key: value}, **terms)[0].sum()

    complex_step = moved(1e-200j).imag / 1e-200
    assert abs(complex_step - analytic[index]) <= 1e-12 * max(1, abs(analytic[index]))
    h = 1e-5 * np.sqrt(epsilon)
    difference = (moved(h) - moved(-h)) / (2 * h)
    scale = max(1.0, abs(analytic[index]), moved(0.0) * 1e-9 / h)
    assert abs(difference - analytic[index]) <= 1e-6 * scale


def test_descend_leaves_its_input_unchanged(rng):
    parameter, momentum, gradient = rng.normal(size=(3, 4))
    before = parameter.copy(), momentum.copy()
    new, m = descend(parameter, momentum, gradient, images=2, decay=0.9, rate=0.1)
    np.testing.assert_allclose(m, 0.9 * momentum + gradient / 2)
    np.testing.assert_allclose(new, parameter - 0.1 * m)
    np.testing.assert_array_equal(parameter, before[0])
    np.testing.assert_array_equal(momentum, before[1])
