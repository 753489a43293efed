"""Every transition of a session: what each event is answered with."""

from itertools import pairwise

import pytest

from tests.training.pipeline.played_sessions import (
    RULES,
    Loop,
    begun,
    configured,
    numbers,
    settling,
)
from yfccdask.training.pipeline.messages import (
    End,
    Hold,
    Recover,
    Settle,
    Settled,
    TickDone,
    Wished,
    WorkerLost,
)
from yfccdask.training.pipeline.state_machine import SETTLE_EVERY, StateMachine

# --- what is under way --------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [1, 2, 4])
def test_a_session_begins_with_as_many_ticks_as_may_be_under_way(ahead):
    loop = Loop(configured(ahead=ahead))
    assert numbers(loop.begin()) == list(range(ahead))


def test_a_run_shorter_than_that_begins_with_all_its_ticks():
    assert numbers(Loop(configured(ahead=4), [12, 3, 12]).begin()) == [0, 1]


def test_each_tick_that_is_done_makes_room_for_the_next():
    loop = begun()
    assert numbers(loop.done()) == [2]
    assert numbers(loop.done()) == [3]


@pytest.mark.parametrize("start", RULES)
def test_a_tick_names_the_next_visits_of_its_layers(start):
    ticks = Loop(configured(passes=[2, 1, 1], **RULES[start])).finish()
    for tick, after in pairwise(ticks):
        going_on = {visit.layer for visit in tick.visits if not visit.last}
        assert tick.ahead == tuple(visit for visit in after.visits if visit.layer in going_on)
    assert ticks[-1].ahead == ()


def test_nothing_is_handed_out_before_the_session_begins():
    machine = StateMachine(configured(), [12] * 3)
    assert machine.handle(Wished("resume", 0.0)) == []
    assert machine.handle(Wished("commit", 0.0)) == []


def test_a_store_without_a_whole_mini_batch_has_nothing_to_train():
    loop = Loop(configured(passes=[2, 1]), [3, 3])
    assert loop.begin() == [Settle(0, commit=False, finished=True)]
    assert loop.settled() == [End("finished")]


# --- barriers -----------------------------------------------------------------------------------


def test_ticks_wait_at_a_settling_until_all_before_it_are_done():
    loop = begun(configured(ahead=3), blocks=20)
    while len(loop.ticks) < SETTLE_EVERY:
        loop.done()
    assert loop.done() == loop.done() == []
    assert loop.done() == [Settle(SETTLE_EVERY, commit=False, finished=False)]
    assert numbers(loop.settled()) == [SETTLE_EVERY + n for n in range(3)]


def test_the_end_of_a_layer_settles_and_commits():
    loop = begun(configured(passes=[1, 1]), blocks=3)
    found = loop.until(Settle)
    assert found == [Settle(3, commit=True, finished=False, layer_ended=True)]
    assert numbers(loop.settled()) == [3, 4]


def test_the_end_of_a_layer_commits_once_it_can_be_paid_for():
    loop = begun(configured([1, 1, 1], checkpoints={"most_share": 0.03}), blocks=2)
    assert loop.until(Settle) == [Settle(2, commit=True, finished=False, layer_ended=True)]
    loop.settled()
    assert loop.until(Settle) == [Settle(4, commit=False, finished=False, layer_ended=True)]
    loop.settled()
    assert loop.until(Settle) == [Settle(6, commit=True, finished=True, layer_ended=True)]


def test_the_end_of_a_layer_that_is_to_be_pinned_commits_at_any_price():
    costly = {"most_share": 0.03, "pin_layers": True}
    loop = begun(configured([1, 1, 1], checkpoints=costly), blocks=2)
    for tick in (2, 4):
        assert loop.until(Settle) == [Settle(tick, commit=True, finished=False, layer_ended=True)]
        loop.settled()


def test_the_end_of_a_layer_that_others_outlive_settles_and_commits():
    config = configured(passes=[1, 2], start="after_blocks", after_blocks=1)
    found = begun(config, blocks=3).until(Settle)
    assert found == [Settle(3, commit=True, finished=False, layer_ended=True)]


def test_the_last_tick_ends_with_a_commit_and_the_end():
    loop = begun(blocks=2)
    assert loop.until(Settle) == [Settle(2, commit=True, finished=True, layer_ended=True)]
    assert loop.settled() == [End("finished")]


def test_a_session_that_begins_with_a_finished_run_ends_without_a_commit():
    loop = begun(blocks=2)
    loop.until(End)
    again = Loop(configured(), [12] * 2, saved=loop.saved[-1])
    assert again.begin() == [Settle(2, commit=False, finished=True)]
    assert again.settled() == [End("finished")]


def test_a_commit_that_is_due_by_blocks_settles():
    loop = begun(configured(checkpoints={"every_blocks": 3}), blocks=8)
    loop.until(End)
    assert [(s.tick, s.commit) for s in loop.settles] == [(3, True), (6, True), (8, True)]


def test_blocks_are_counted_from_the_commit_that_a_session_goes_on_from():
    config = configured(checkpoints={"every_blocks": 3})
    loop = begun(config, blocks=9)
    loop.wish("commit")
    loop.until(Settle)
    again = Loop(config, [12] * 9, saved=loop.saved[-1])
    again.finish()
    assert [settle.tick for settle in again.settles] == [5, 8, 9]


def test_a_commit_that_is_due_by_time_settles_after_the_next_tick():
    loop = begun(configured(ahead=1, checkpoints={"every_seconds": 10.0}))
    loop.now = 9.9
    assert numbers(loop.done()) == [1]
    loop.now = 10.0
    assert numbers(loop.done()) == [2]
    assert loop.done() == [Settle(3, commit=True, finished=False)]


def test_times_are_counted_from_the_sessions_beginning():
    loop = Loop(configured(ahead=1, checkpoints={"every_seconds": 10.0}))
    loop.now = 1000.0
    loop.begin()
    loop.now = 1009.0
    assert numbers(loop.done()) == [1]
    assert numbers(loop.done()) == [2]
    assert not loop.settles


def test_times_are_counted_from_the_last_commit():
    loop = begun(configured(ahead=1, checkpoints={"every_seconds": 10.0}), blocks=9)
    loop.now = 10.0
    loop.until(Settle)
    loop.now = 12.0
    loop.settled(seconds=2.0)
    loop.now = 21.9
    assert numbers(loop.done()) == [3]
    loop.now = 22.0
    assert numbers(loop.done()) == [4]
    assert loop.done() == [Settle(5, commit=True, finished=False)]


def test_a_settling_becomes_a_commit_if_one_is_due_by_then():
    loop = begun(configured(checkpoints={"every_seconds": 10.0}), blocks=20)
    while len(loop.ticks) < SETTLE_EVERY:
        loop.done()
    loop.now = 10.0
    assert loop.until(Settle) == [Settle(SETTLE_EVERY, commit=True, finished=False)]


# --- wishes -------------------------------------------------------------------------------------


def test_a_pause_lets_ticks_end_and_commits_before_it_holds():
    loop = begun()
    assert loop.wish("pause") == []
    assert loop.done() == []
    assert loop.done() == [Settle(2, commit=True, finished=False)]
    assert loop.settled() == [Hold()]
    assert numbers(loop.wish("resume")) == [2, 3]


def test_a_pause_before_the_session_begins_holds_before_the_first_tick():
    loop = Loop(configured())
    assert loop.wish("pause") == []
    assert loop.begin() == [Settle(0, commit=False, finished=False)]
    assert loop.settled() == [Hold()]
    assert numbers(loop.wish("resume")) == [0, 1]


def test_going_on_before_a_pause_has_come_about_calls_it_off():
    loop = begun()
    loop.wish("pause")
    assert loop.wish("resume") == []
    assert loop.until(Settle) == [Settle(2, commit=False, finished=False)]
    assert numbers(loop.settled()) == [2, 3]


def test_going_on_while_a_pause_commits_calls_it_off():
    loop = begun()
    loop.wish("pause")
    loop.until(Settle)
    assert loop.wish("resume") == []
    assert numbers(loop.settled()) == [2, 3]


def test_going_on_when_nothing_is_held_changes_nothing():
    loop = begun()
    assert loop.wish("resume") == []
    assert numbers(loop.done()) == [2]
    assert not loop.settles


@pytest.mark.parametrize("what", ["pause", "commit"])
def test_what_is_held_has_no_use_for_a_pause_or_a_commit(what):
    loop = begun()
    loop.wish("pause")
    loop.until(Hold)
    assert loop.wish(what) == []
    assert numbers(loop.wish("resume")) == [2, 3]
    assert numbers(loop.done()) == [4]


def test_a_stop_of_what_is_held_ends_at_once():
    loop = begun()
    loop.wish("pause")
    loop.until(Hold)
    assert loop.wish("stop") == [End("stopped")]


@pytest.mark.parametrize("others", [[], ["pause"], ["commit"], ["resume"]])
def test_a_stop_commits_and_ends_whatever_else_was_wished(others):
    loop = begun()
    for what in ["stop", *others]:
        assert loop.wish(what) == []
    assert loop.until(Settle) == [Settle(2, commit=True, finished=False)]
    assert loop.settled() == [End("stopped")]


def test_a_stop_before_the_first_tick_ends_without_a_commit():
    loop = Loop(configured())
    loop.wish("stop")
    assert loop.begin() == [Settle(0, commit=False, finished=False)]
    assert loop.settled() == [End("stopped")]


@pytest.mark.parametrize("what", ["pause", "stop"])
def test_a_run_that_has_come_to_its_end_is_finished_whatever_was_wished(what):
    loop = begun(blocks=2)
    loop.wish(what)
    assert loop.until(Settle) == [Settle(2, commit=True, finished=True, layer_ended=True)]
    assert loop.settled() == [End("finished")]


def test_a_wished_commit_settles_once_and_goes_on():
    loop = begun()
    assert loop.wish("commit") == []
    assert loop.until(Settle) == [Settle(2, commit=True, finished=False)]
    assert numbers(loop.settled()) == [2, 3]
    assert numbers(loop.done()) == [4]


@pytest.mark.parametrize("what", ["pause", "stop", "commit"])
def test_a_wish_during_a_settling_without_a_commit_asks_for_one(what):
    loop = settling()
    assert loop.wish(what) == []
    assert loop.settled() == [Settle(2, commit=True, finished=False)]
    found = loop.settled()
    after = {"pause": [Hold()], "stop": [End("stopped")]}
    assert found == after[what] if what in after else numbers(found) == [2, 3]


@pytest.mark.parametrize("what", ["pause", "stop", "commit"])
def test_a_wish_during_a_commit_needs_no_other_one(what):
    loop = settling(commit=True)
    assert loop.wish(what) == []
    found = loop.settled()
    after = {"pause": [Hold()], "stop": [End("stopped")]}
    assert found == after[what] if what in after else numbers(found) == [2, 3]


# --- lost workers -------------------------------------------------------------------------------

AFTERWARDS = [
    TickDone(0, {0: 1.0}, 1.0),
    Wished("resume", 1.0),
    Wished("pause", 1.0),
    Wished("stop", 1.0),
    Wished("commit", 1.0),
]


def test_a_lost_worker_ends_the_session_with_a_recovery():
    loop = begun()
    assert loop.tell(WorkerLost("gone", 1.0)) == [Recover("gone")]
    for event in AFTERWARDS:
        assert loop.machine.handle(event) == []


def test_a_worker_lost_while_held_ends_the_session():
    loop = begun()
    loop.wish("pause")
    loop.until(Hold)
    assert loop.tell(WorkerLost("gone", 1.0)) == [Recover("gone")]
    assert loop.machine.handle(Wished("resume", 1.0)) == []


@pytest.mark.parametrize("seconds", [None, 1.0])
def test_a_settling_that_ends_after_a_worker_was_lost_hands_nothing_out(seconds):
    loop = settling(commit=seconds is not None)
    loop.tell(WorkerLost("gone", 1.0))
    assert loop.machine.handle(Settled(2.0, seconds)) == []


@pytest.mark.parametrize("reason", ["finished", "stopped"])
def test_nothing_comes_after_the_end(reason):
    loop = begun(blocks=2 if reason == "finished" else 5)
    if reason == "stopped":
        loop.wish("stop")
    assert loop.until(End) == [End(reason)]
    for event in AFTERWARDS:
        assert loop.machine.handle(event) == []
