"""Whatever happens, and whenever: the same ticks, as the configuration says."""

from itertools import pairwise
from random import Random
from statistics import fmean

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.pipeline.played_sessions import PLATEAU, Loop, configured, played
from yfccdask.training.pipeline.messages import (
    WorkerLost,
)
from yfccdask.training.pipeline.visits import block_order, layer_visits, visit_numbers

# --- whatever happens ---------------------------------------------------------------------------


CHANCE = st.builds(Random, st.integers(0, 2**32 - 1))


@st.composite
def runs(draw):
    """A configuration, the same with one tick at a time, a store's blocks and an objective."""
    ahead = draw(st.integers(1, 4))
    pipeline = {
        "start": draw(st.sampled_from(["finished", "after_blocks", "plateau"])),
        "after_blocks": draw(st.integers(1, 12)),
        "plateau_window": draw(st.integers(1, 4)),
        "plateau_lag": draw(st.integers(ahead, 6)),
        "plateau_improvement": draw(st.sampled_from([1e-4, 0.05, 0.5])),
        "sync_every": draw(st.integers(1, 5)),
    }
    checkpoints = {
        "every_blocks": draw(st.none() | st.integers(1, 20)),
        "every_seconds": draw(st.none() | st.sampled_from([1.0, 100.0])),
        "most_share": draw(st.none() | st.just(0.3)),
    }
    passes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    blocks = draw(st.lists(st.integers(0, 12), min_size=1, max_size=8))
    rate, noise = draw(st.sampled_from([0.3, 0.9, 1.0])), draw(st.sampled_from([0.0, 0.1, 1.0]))

    def objective(layer, visit):
        return 1 + rate**visit + noise * Random(f"{layer} {visit}").random()

    one = configured(passes, 1, **pipeline)
    return configured(passes, ahead, checkpoints, **pipeline), one, blocks, objective


def first_ticks(ticks):
    """By layer, the number of the first tick that trains it."""
    first = {}
    for tick in ticks:
        for visit in tick.visits:
            first.setdefault(visit.layer, tick.number)
    return first


def allowed(rule, done, total, values):
    """Whether a layer may start, in the words of the configuration."""
    seen, window = values[: max(done - rule.plateau_lag + 1, 0)], rule.plateau_window
    if done == total or rule.start != "plateau":
        return done == total or (rule.start == "after_blocks" and done >= rule.after_blocks)
    if len(seen) < 2 * window:
        return False
    earlier, later = fmean(seen[-2 * window : -window]), fmean(seen[-window:])
    return earlier - later < rule.plateau_improvement * abs(earlier)


def assert_every_block_is_trained_once_per_pass(config, blocks, ticks):
    whole = [block for block, images in enumerate(blocks) if images >= 4]
    assert [tick.number for tick in ticks] == list(range(len(ticks)))
    for number, layer in enumerate(config.layers):
        mine = [visit for tick in ticks for visit in tick.visits if visit.layer == number]
        assert mine == list(layer_visits(config, number, blocks))
        for sweep in range(layer.passes):
            order = block_order(config.seed, sweep, len(blocks))
            trained = [visit.block for visit in mine if visit.sweep == sweep]
            assert trained == [block for block in order if block in whole]
        assert [n for n, visit in enumerate(mine) if visit.first] == [0][: len(mine)]
        assert [n for n, visit in enumerate(mine) if visit.last] == [len(mine) - 1][: len(mine)]


def assert_layers_start_when_their_rule_allows(config, blocks, ticks, objective):
    first, visits = first_ticks(ticks), visit_numbers(config, blocks)
    for layer in range(1, len(first)):
        below, total = first[layer - 1], visits[layer - 1]
        values = [objective(layer - 1, visit) for visit in range(total)]
        for number in range(below, first[layer] + 1):
            done = min(number - below, total)
            may = allowed(config.pipeline, done, total, values)
            assert may == (number == first[layer])


def assert_copies_are_young(config, blocks, ticks):
    first, visits = first_ticks(ticks), visit_numbers(config, blocks)
    for tick in ticks:
        feeding = {
            layer - 1 for layer, start in first.items() if layer > 0 and start <= tick.number
        }
        assert set(tick.copies) == feeding
        for layer, taken in tick.copies.items():
            end = first[layer] + visits[layer]
            young = tick.number - taken < config.pipeline.sync_every
            assert taken >= end if tick.number >= end else young
            assert (layer in tick.renewed) == (taken == tick.number)
    for tick, following in pairwise(ticks):
        assert tick.passing == following.renewed & set(tick.copies)


@settings(max_examples=200)
@given(runs(), CHANCE)
def test_whatever_happens_every_layer_is_trained_as_the_configuration_says(run, random):
    config, _, blocks, objective = run
    loop = played(Loop(config, blocks, objective), random)
    assert loop.reason == "finished"
    assert_every_block_is_trained_once_per_pass(config, blocks, loop.ticks)
    assert_layers_start_when_their_rule_allows(config, blocks, loop.ticks, objective)
    assert_copies_are_young(config, blocks, loop.ticks)


@settings(max_examples=200)
@given(runs(), CHANCE)
def test_the_ticks_are_the_same_whatever_the_order_and_the_times_of_events(run, random):
    config, one, blocks, objective = run
    loop = played(Loop(config, blocks, objective), random)
    assert loop.ticks == Loop(one, blocks, objective).finish()


@settings(max_examples=100)
@given(runs(), CHANCE)
def test_a_run_that_is_stopped_again_and_again_trains_nothing_twice(run, random):
    config, one, blocks, objective = run
    ticks, saved = [], None
    for _ in range(20):
        wishes = ["stop", "pause", "resume"]
        loop = played(Loop(config, blocks, objective, saved), random, wishes)
        ticks += loop.ticks
        _, saved = loop.committed
    ticks += Loop(config, blocks, objective, saved).finish()
    assert ticks == Loop(one, blocks, objective).finish()


@settings(max_examples=100)
@given(runs(), CHANCE, st.integers(0, 60))
def test_a_run_that_loses_a_worker_goes_on_from_its_last_commit(run, random, tick):
    config, one, blocks, objective = run
    whole = Loop(one, blocks, objective).finish()
    loop = Loop(config, blocks, objective)
    loop.begin()
    while loop.reason is None and len(loop.ticks) < tick:
        loop.done(random.choice(loop.ready())) if loop.under_way else loop.settled()
    if loop.reason is None:
        loop.tell(WorkerLost("gone", loop.now))
    committed, saved = loop.committed
    assert Loop(config, blocks, objective, saved).finish() == whole[committed:]


def test_a_tick_that_stays_behind_delays_the_start_that_depends_on_it():
    config = configured([1, 1], ahead=2, **{**PLATEAU, "plateau_lag": 2})
    loop = Loop(config, [12] * 12)
    loop.begin()
    while loop.under_way:
        loop.done(max(loop.under_way))  # the oldest one comes last
        if loop.settling:
            loop.settled()
    assert loop.ticks == Loop(config, [12] * 12).finish()
