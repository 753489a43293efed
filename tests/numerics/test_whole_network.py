"""A whole network's way forward is the engine's, its way back is what finite differences say."""

import numpy as np
import pytest

from tests.numerics.made_networks import made_network
from yfccdask.numerics.contrast import ContrastWindow, normalise_field
from yfccdask.numerics.contrast_gradient import contrast_passes, normalised, normalised_gradient
from yfccdask.numerics.input_ascent import ascend, on_sphere, responses_at, seeded_starts
from yfccdask.numerics.whole_network import (
    forward_images,
    forward_trace,
    image_gradient,
    whitened,
    whitened_gradient,
)


def numeric(function, at, direction, step=1e-5):
    return (function(at + step * direction) - function(at - step * direction)) / (2 * step)


@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize("valid", [True, False])
@pytest.mark.parametrize("floor", [1e-4, 10.0])
def test_normalisation_is_the_engine_s_and_its_gradient_is_right(rng, valid, floor, rectified):
    window, field = ContrastWindow(5, 1.3, valid, rectified), rng.normal(size=(2, 11, 13, 3))
    passes = contrast_passes(window, (11, 13), np.float64)
    one = normalised(field, passes, floor)
    np.testing.assert_allclose(one.out, normalise_field(field, window, floor), rtol=1e-10)
    by_out, way = rng.normal(size=one.out.shape), rng.normal(size=field.shape)
    gradient = normalised_gradient(by_out, one, passes, floor)
    value = numeric(lambda x: (by_out * normalised(x, passes, floor).out).sum(), field, way)
    assert (gradient * way).sum() == pytest.approx(value, rel=1e-6)


def test_a_blank_field_has_no_gradient_that_is_not_a_number():
    passes = contrast_passes(ContrastWindow(3, 0.8, False), (6, 6), np.float64)
    one = normalised(np.zeros((1, 6, 6, 2)), passes, 1e-4)
    gradient = normalised_gradient(np.ones((1, 6, 6, 2)), one, passes, 1e-4)
    assert np.isfinite(gradient).all()


def test_whitening_s_gradient_is_its_transpose(rng):
    network = made_network(rng)
    images, by_field = rng.normal(size=(2, 3, 12, 12, 2))
    forward = (whitened(network, images) * by_field).sum()
    assert (images * whitened_gradient(network, by_field)).sum() == pytest.approx(forward)


@pytest.mark.parametrize("valid", [(True, False), (False, True)])
@pytest.mark.parametrize("signs", [1, 2])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_gradient_by_the_image_is_what_finite_differences_say(rng, valid, layers, signs):
    network = made_network(rng, valid, signs=signs)
    network = network._replace(layers=network.layers[:layers])
    images, way = rng.normal(size=(2, 3, 12, 12, 2))
    trace = forward_trace(network, images)
    by_top = rng.normal(size=trace.outputs[-1].shape)
    gradient = image_gradient(network, trace, by_top)
    value = numeric(lambda x: (forward_images(network, x)[-1] * by_top).sum(), images, way)
    assert (gradient * way).sum() == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_unit_s_response_is_its_place_in_the_top_layer_s_field(rng, layers):
    network = made_network(rng)
    network = network._replace(layers=network.layers[:layers])
    top, images = network.layers[-1], rng.normal(size=(5, 12, 12, 2))
    output = forward_images(network, images)[-1]
    (row, column), (height, width) = np.array(top.grid) - 1, top.tile
    tile = output[:, row * height :, column * width :].reshape(5, -1)
    units = [(int(row), int(column), unit) for unit in range(5)]
    np.testing.assert_allclose(responses_at(network, units, images), np.diagonal(tile))


def test_ascent_finds_a_linear_unit_s_filter(rng):
    network = made_network(rng)._replace(whitening=None)
    network = network._replace(layers=network.layers[:1])
    windows = np.zeros((1, 12, 12, 1), bool)
    windows[:, 2:6, 4:8] = True
    noise = rng.normal(size=(1, 12, 12, 2))
    found = ascend(network, [(1, 2, 3)], on_sphere(noise, windows), windows, 60)
    there = seeded_starts(network, [(1, 2, 3)], noise, windows)
    at_once = ascend(network, [(1, 2, 3)], there, windows, 60)
    assert at_once.responses == pytest.approx(found.responses, rel=1e-6)
    weights = network.layers[0].weights[1, 2, 3]
    best = found.inputs[0, 2:6, 4:8].ravel()
    assert best @ weights / np.linalg.norm(best) == pytest.approx(1, abs=1e-6)
    assert not found.inputs[~np.broadcast_to(windows, found.inputs.shape)].any()


def test_ascent_keeps_the_norm_and_beats_any_image_of_that_norm(rng):
    network, units = made_network(rng), [(0, 0, unit) for unit in range(5)]
    windows = np.ones((5, 12, 12, 1), bool)
    start = on_sphere(rng.normal(size=(5, 12, 12, 2)), windows)
    found = ascend(network, units, start, windows, 60)
    np.testing.assert_allclose(found.responses, responses_at(network, units, found.inputs))
    np.testing.assert_allclose(np.square(found.inputs).mean(axis=(1, 2, 3)), 1)
    np.testing.assert_allclose(found.inputs.mean(axis=(1, 2, 3)), 0, atol=1e-12)
    others = on_sphere(rng.normal(size=(300, 12, 12, 2)), np.ones((300, 12, 12, 1), bool))
    top = forward_images(network, others)[-1][:, 0, 0]
    assert (found.responses > top.max(axis=0)).all()
