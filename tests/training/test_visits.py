"""The schedule: every block once per pass, in a seeded order; rates that fall to zero."""

from hypothesis import given
from hypothesis import strategies as st

from yfccdask.config import load_config, network_geometry
from yfccdask.training.pipeline.visits import (
    block_order,
    layer_visits,
    objective_of,
    rates_of,
    unused_images,
)

CONFIG = load_config("tiny")


@given(st.lists(st.integers(0, 12), min_size=1, max_size=9), st.integers(1, 3))
def test_each_block_is_trained_once_per_pass_by_its_whole_mini_batches(images, passes):
    config = load_config("tiny", [f"layers.0.passes={passes}"])
    visits = list(layer_visits(config, 0, images))
    whole = {block: count // 4 for block, count in enumerate(images) if count >= 4}
    for sweep in range(passes):
        seen = {visit.block: visit.mini_batches for visit in visits if visit.sweep == sweep}
        assert seen == whole
    steps = [visit.first_step for visit in visits]
    assert steps == sorted(steps)
    assert len({visit.steps for visit in visits}) <= 1
    if visits:
        assert visits[-1].first_step + visits[-1].mini_batches == visits[0].steps
    assert unused_images(images, 4) + 4 * sum(whole.values()) == sum(images)


def test_the_order_is_seeded_and_another_in_every_pass():
    assert block_order(1, 0, 20) == block_order(1, 0, 20)
    assert block_order(1, 0, 20) != block_order(1, 1, 20)
    assert block_order(1, 0, 20) != block_order(2, 0, 20)
    assert sorted(block_order(1, 0, 20)) == list(range(20))


def test_rates_fall_linearly_in_the_units_of_the_input():
    settings, layer = CONFIG.layers[0], network_geometry(CONFIG).layers[0]
    visits = list(layer_visits(CONFIG, 0, [12, 12]))
    first = rates_of(settings, layer, visits[0])[0]
    last = rates_of(settings, layer, visits[-1])[-1]
    variance = settings.input_deviation**2
    assert first.weights == settings.rate / variance
    expected = settings.alpha_rate * (1 - settings.momentum) / (layer.inputs * variance)
    assert first.alpha == expected
    assert abs(last.weights / first.weights - 1 / visits[0].steps) < 1e-12
    assert objective_of(settings).epsilon == settings.epsilon * variance
