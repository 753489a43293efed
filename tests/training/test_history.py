"""A run's bounded history: curves, marks, paces, and what a resume makes of them."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from yfccdask.config import load_config
from yfccdask.training.bounded_curves import Curve, Marks
from yfccdask.training.history import MOST_BLOCKS, MOST_TICKS, History
from yfccdask.training.pipeline.messages import Tick
from yfccdask.training.pipeline.visits import Visit
from yfccdask.training.planned_figures import planned_rate

STAGGERED = ["pipeline.start=after_blocks", "pipeline.after_blocks=3", "pipeline.sync_every=2"]


def block_event(layer, tick, first, value=1.0, time=0.0):
    terms = {"reconstruction": [value, value], "sparsity": [0.5 * value, 0.5 * value]}
    place = {"layer": layer, "tick": tick, "first_mini_batch": first}
    return {"event": "block", **place, **terms, "images": 8, "time": time, "seconds": time}


def scale_event(layer, tick):
    return {"event": "scale", "layer": layer, "tick": tick, "time": 0.0}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(2, 9))
def test_a_curve_of_any_length_stays_bounded_and_keeps_its_extent(values, most):
    curve = Curve(most=most)
    curve.add(0, values)
    assert len(curve.bins) <= most
    assert curve.count == len(values)
    binned = values[: len(curve.bins) * curve.width]
    if curve.bins:
        assert min(least for _, least, _ in curve.bins) >= min(values)
        assert max(largest for _, _, largest in curve.bins) <= max(values)
        means = [mean for mean, _, _ in curve.bins]
        assert np.allclose(np.mean(means), np.mean(binned), rtol=1e-9, atol=1e-6)
        assert len(curve.smoothed()) == len(curve.middles()) == len(curve.bins)


def test_a_curve_that_is_begun_again_forgets_what_came_after():
    curve, alone = Curve(most=8), Curve(most=8)
    curve.add(0, range(50))
    curve.add(16, range(16, 40))
    alone.add(0, range(40))
    assert curve.count == alone.count == 40
    assert curve.bins == alone.bins


def test_a_smoothed_curve_of_a_constant_is_constant():
    curve = Curve()
    curve.add(0, [3.0] * 100)
    assert np.allclose(curve.smoothed(), 3.0)


def test_marks_stay_bounded_and_in_order():
    marks = Marks(most=10)
    for place in range(1000):
        marks.add(3 * place)
    assert len(marks.places) <= 10
    assert marks.places == sorted(marks.places)
    marks.add(30)
    assert max(marks.places) <= 30


def test_starts_and_copies_are_marked_on_the_layer_below():
    history = History(load_config("tiny", STAGGERED))
    history.add(scale_event(1, 0))
    for tick in range(10):
        if tick == 3:
            history.add(scale_event(2, 3))
        history.add(block_event(1, tick, 2 * tick))
    first = history.snapshot()["layers"][0]
    assert first["next_started"] == 6
    assert first["synchronised"] == [6, 10, 14, 18]
    assert first["mini_batches"] == 20


def test_a_pause_is_no_slowness_and_a_resume_forgets_later_ticks():
    history = History(load_config("tiny", STAGGERED))
    for tick in range(6):
        history.begin_tick(Tick(tick, (), frozenset(), frozenset()))
        history.end_tick(tick)
        history.add(block_event(1, tick, 2 * tick, time=float(tick)))
    history.add({"event": "unpause", "time": 1000.0, "tick": 6})
    history.add(block_event(1, 6, 12, time=1001.0))
    history.add(block_event(1, 7, 14, time=1002.0))
    pace = history.snapshot()["layers"][0]["pace"]["images_per_second"]
    assert pace == [8.0] * 5 + [None, 8.0, 8.0]
    history.add({"event": "resume", "time": 1003.0, "tick": 4, "commit": 1})
    assert [tick["number"] for tick in history.snapshot()["ticks"]] == [0, 1, 2, 3]


def test_a_snapshot_is_the_same_object_until_something_happens():
    history = History(load_config("tiny"))
    before = history.snapshot()
    assert history.snapshot() is before
    history.add(scale_event(1, 0))
    assert history.snapshot() is not before


def test_a_long_run_s_snapshot_is_bounded_and_plain():
    history, sizes = History(load_config("tiny", STAGGERED)), []
    for number in range(1500):
        visits = tuple(Visit(layer, 0, number, 2, 2 * number, 3000) for layer in range(3))
        history.begin_tick(Tick(number, visits, frozenset({0, 1}), frozenset()))
        for layer in (1, 2, 3):
            history.add(block_event(layer, number, 2 * number, 1.0 + number % 3, float(number)))
        history.end_tick(number)
        if number in (700, 1499):
            sizes.append(len(json.dumps(history.snapshot())))
    snapshot = history.snapshot()
    assert len(snapshot["ticks"]) == MOST_TICKS
    assert len(snapshot["layers"][0]["pace"]["time"]) == MOST_BLOCKS - 1
    assert sizes[1] < 1.5 * sizes[0] < 500_000


def test_filters_are_looked_at_while_somebody_watches_and_at_commits():
    history = History(load_config("tiny"))
    assert not history.wants_filters(committed=False)
    assert history.wants_filters(committed=True)
    history.snapshot()
    assert history.wants_filters(committed=False)
    history.see_filters(None)
    assert not history.wants_filters(committed=False)
    assert not history.wants_filters(committed=True)


def test_the_planned_rate_is_that_of_the_busiest_worker():
    facts = {"layers": [{"seconds": [1.0, 2.0]}, {"seconds": [3.0, 1.0]}]}
    assert planned_rate(facts, [0], 12) == 6.0
    assert planned_rate(facts, [0, 1], 12) == 3.0
    assert planned_rate(facts, [], 12) is None
