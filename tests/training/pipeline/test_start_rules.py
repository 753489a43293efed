"""When commits are due and layers start, which copies feed them, and how a run goes on."""

import json

import pytest

from tests.training.pipeline.played_sessions import (
    NEVER,
    PLATEAU,
    RULES,
    Loop,
    begun,
    configured,
    falling,
)
from yfccdask.config import Checkpoints, Pipeline
from yfccdask.training.pipeline.commit_clock import CommitClock
from yfccdask.training.pipeline.start_rules import earliest_starts, on_plateau, starts_now
from yfccdask.training.pipeline.state_machine import Progress
from yfccdask.training.pipeline.visits import visit_numbers

# --- when a commit is due -----------------------------------------------------------------------


def clock(**changes):
    return CommitClock(Checkpoints(**{**NEVER, **changes}), began=100.0, tick=7)


def test_nothing_is_due_without_a_rule():
    assert not clock().due(10_000, 1e9)


def test_a_commit_is_due_by_blocks_or_by_seconds_whichever_comes_first():
    both = clock(every_blocks=5, every_seconds=60.0)
    assert not both.due(11, 159.9)
    assert both.due(12, 100.0)
    assert both.due(8, 160.0)


def test_nothing_is_due_where_nothing_was_trained_since():
    assert not clock(every_seconds=60.0).due(7, 1e9)


def test_a_commit_waits_until_all_of_them_cost_no_more_than_their_share():
    watch = clock(every_blocks=1, most_share=0.25)
    assert watch.due(8, 100.0)  # nobody knows yet what one costs
    watch.committed(8, now=110.0, seconds=10.0)
    assert not watch.due(9, 169.9)
    assert watch.due(9, 170.0)  # with it, 20 s of 80
    assert clock(every_blocks=1).due(8, 100.0)


def test_a_commit_that_was_asked_for_makes_the_next_ones_rarer():
    watch = clock(every_blocks=1, most_share=0.25)
    watch.committed(8, now=110.0, seconds=10.0)
    watch.committed(9, now=125.0, seconds=10.0)  # a pause, say
    assert not watch.due(10, 209.9)
    assert watch.due(10, 210.0)  # 30 s of 120


def test_the_end_of_a_layer_is_reason_enough_until_the_next_commit():
    watch = clock()
    watch.wanted = True
    assert watch.due(8, 100.0)
    watch.committed(8, now=101.0, seconds=1.0)
    assert not watch.due(9, 1e9)


def test_the_share_of_commits_is_of_the_whole_session():
    watch = clock()
    assert watch.share(100.0) == 0
    watch.committed(8, now=110.0, seconds=10.0)
    watch.committed(9, now=150.0, seconds=15.0)
    assert watch.share(200.0) == 0.25


# --- start rules --------------------------------------------------------------------------------


def starts(config, blocks=5, objective=falling):
    loop = Loop(config, [12] * blocks, objective)
    loop.finish()
    return loop.machine.progress.starts


def test_layer_after_layer_is_the_rule_finished():
    assert starts(configured(passes=[2, 1, 1])) == [0, 10, 15]


@pytest.mark.parametrize(("after", "expected"), [(1, [0, 1, 2]), (4, [0, 4, 8])])
def test_a_layer_starts_after_some_blocks_of_the_one_below(after, expected):
    assert starts(configured([2, 1, 1], start="after_blocks", after_blocks=after)) == expected


def test_a_layer_that_has_finished_starts_the_next_one_whatever_its_blocks():
    config = configured([1, 1, 2], start="after_blocks", after_blocks=99)
    assert starts(config) == [0, 5, 10]


def level(layer, visit):
    return 1.0


def steep(layer, visit):
    return 0.5**visit


def rising(layer, visit):
    return 1.0 + visit


def test_a_plateau_is_seen_as_soon_as_two_windows_are_as_old_as_the_lag():
    config = configured([1, 1], **PLATEAU)  # windows of 2, a lag of 3
    assert starts(config, 20, level) == [0, 6]
    assert starts(config, 20, rising) == [0, 6]


def test_an_objective_that_falls_is_no_plateau():
    assert starts(configured([1, 1], **PLATEAU), 20, steep) == [0, 20]


def test_the_next_plateau_is_the_next_layers_own():
    def objective(layer, visit):
        return level(layer, visit) if layer == 0 else steep(layer, visit)

    assert starts(configured([1, 1, 1], **PLATEAU), 20, objective) == [0, 6, 26]


@pytest.mark.parametrize("lag", [2, 3, 7])
def test_a_start_depends_on_nothing_younger_than_the_lag(lag):
    config = configured([1, 1], **{**PLATEAU, "plateau_lag": lag})

    def jumping(first):  # level until a visit, then falling steeply
        return lambda layer, visit: 1.0 if visit < first else 0.1**visit

    start = 4 + lag - 1
    assert starts(config, 20, jumping(start - lag + 1)) == [0, start]
    assert starts(config, 20, jumping(start - lag)) == [0, 20]


def test_the_improvement_that_counts_is_relative():
    rule = Pipeline(start="plateau", plateau_window=1, plateau_lag=1, plateau_improvement=0.1)
    assert on_plateau(rule, 2, {0: -10.0, 1: -10.9})
    assert not on_plateau(rule, 2, {0: -10.0, 1: -11.1})
    assert not on_plateau(rule, 1, {0: -10.0})


def test_a_layer_below_that_has_finished_needs_no_objective():
    assert starts_now(Pipeline(start="plateau"), 5, 5, {})
    assert not starts_now(Pipeline(start="plateau"), 4, 5, {})
    assert not starts_now(Pipeline(start="finished"), 4, 5, {})


@pytest.mark.parametrize("rule", RULES)
def test_the_plan_knows_when_layers_start(rule):
    config = configured([2, 1, 1], **RULES[rule])
    planned = earliest_starts(config, visit_numbers(config, [12] * 8))
    assert planned == starts(config, 8, level)
    assert all(a <= b for a, b in zip(planned, starts(config, 8, steep), strict=True))


def test_only_objectives_that_a_start_can_still_depend_on_are_kept():
    loop = begun(configured([1, 1, 1], **PLATEAU), blocks=60)
    loop.objective = steep
    while loop.reason is None:
        loop.done() if loop.under_way else loop.settled()
        assert len(loop.machine.progress.objectives) <= 1
        assert all(len(each) <= 2 * 2 + 3 for each in loop.machine.progress.objectives.values())
    assert loop.machine.progress.objectives == {}  # the last layer has none above it


# --- copies -------------------------------------------------------------------------------------


def test_the_copy_that_feeds_the_next_layer_is_renewed_every_few_of_its_ticks():
    config = configured([1, 1], start="after_blocks", after_blocks=2, sync_every=3)
    ticks = Loop(config, [12] * 9).finish()
    assert [tick.number for tick in ticks if 0 in tick.renewed] == [2, 5, 8, 9, 10]
    assert [dict(tick.copies) for tick in ticks[:7]] == [{}, {}, *[{0: 2}] * 3, *[{0: 5}] * 2]
    assert [tick.number for tick in ticks if 0 in tick.passing] == [4, 7, 8, 9, 10]


def test_a_layer_that_has_finished_is_its_own_copy():
    ticks = Loop(configured([1, 1], sync_every=4), [12] * 3).finish()
    assert [dict(tick.copies) for tick in ticks] == [{}] * 3 + [{0: 3}, {0: 4}, {0: 5}]


# --- progress -----------------------------------------------------------------------------------


def test_progress_survives_json():
    progress = Progress(19, [0, 4, 11], {1: 18, 0: 16}, {2: {7: 0.1 + 0.2, 3: 1 / 3}})
    assert Progress.from_dict(json.loads(json.dumps(progress.as_dict()))) == progress
    assert Progress.from_dict(progress.as_dict()) == progress
    assert Progress.from_dict(Progress().as_dict()) == Progress()


def test_what_a_session_goes_on_from_does_not_change_with_it():
    found = {"tick": 0, "starts": [0], "taken": [], "objectives": []}
    loop = Loop(configured([1, 1]))
    loop.machine.progress = Progress.from_dict(found)
    assert len(loop.finish()) == 10
    assert found == {"tick": 0, "starts": [0], "taken": [], "objectives": []}


def test_what_was_taken_down_does_not_change_with_the_machine():
    loop = Loop(configured([1, 1]))
    found = loop.machine.progress.as_dict()
    loop.finish()
    assert found["starts"] == [0]


@pytest.mark.parametrize("sync_every", [1, 3])
@pytest.mark.parametrize("rule", RULES)
def test_a_run_cut_anywhere_goes_on_with_the_same_ticks(rule, sync_every):
    config = configured([2, 1, 2], ahead=1, sync_every=sync_every, **RULES[rule])
    whole = Loop(config, [12, 2, 7, 12, 4]).finish()
    cut = Loop(config, [12, 2, 7, 12, 4])
    cut.wish("commit")
    cut.begin()
    while cut.reason is None:
        if cut.under_way:
            cut.wish("commit")
        cut.done() if cut.under_way else cut.settled()
    assert {settle.tick for settle in cut.settles} == set(range(len(whole) + 1))
    for settle, saved in zip(cut.settles, cut.saved, strict=True):
        rest = Loop(config, [12, 2, 7, 12, 4], saved=saved)
        assert rest.finish() == whole[settle.tick :]
