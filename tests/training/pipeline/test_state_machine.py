"""The pipeline as events and instructions: the same ticks, whatever happens and whenever."""

import json
from itertools import pairwise
from random import Random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yfccdask.config import Checkpoints, Pipeline, parse_config
from yfccdask.training.pipeline.commit_clock import CommitClock
from yfccdask.training.pipeline.messages import (
    Begun,
    End,
    Hold,
    Recover,
    Settle,
    Settled,
    Tick,
    TickDone,
    Wished,
    WorkerLost,
)
from yfccdask.training.pipeline.start_rules import earliest_starts, on_plateau, starts_now
from yfccdask.training.pipeline.state_machine import SETTLE_EVERY, Progress, StateMachine
from yfccdask.training.pipeline.visits import block_order, layer_visits, visit_numbers

LAYER = {"window": 2, "stride": 1, "units": 4, "tile": [2, 2], "lcn": None}
NEVER = {"every_seconds": None, "most_share": None}
PLATEAU = {"start": "plateau", "plateau_window": 2, "plateau_lag": 3, "plateau_improvement": 0.05}
RULES = {
    "finished": {"start": "finished"},
    "after some blocks": {"start": "after_blocks", "after_blocks": 3},
    "after more blocks than there are": {"start": "after_blocks", "after_blocks": 99},
    "plateau": PLATEAU,
}


def configured(passes=(1,), ahead=2, checkpoints=None, **pipeline):
    """A network of one small layer per entry of ``passes``; commits only where one must be."""
    return parse_config(
        {
            "images": {"size": 8, "channels": 1},
            "batching": {"data_block": 12, "mini_batch": 4},
            "preprocessing": {"whitening": None},
            "layers": [{**LAYER, "passes": number} for number in passes],
            "checkpoints": {**NEVER, **(checkpoints or {})},
            "pipeline": pipeline,
            "engine": {"blocks_in_flight": ahead},
        }
    )


def falling(layer, visit):
    """An objective that falls by half with every visit, then is level, never twice the same."""
    return 1 + 0.5**visit + Random(f"{layer} {visit}").random() / 1000


class Loop:
    """Plays the training loop's part, and holds the machine to its promises on the way."""

    def __init__(self, config, blocks=(12,) * 5, objective=falling, saved=None):
        progress = saved and Progress.from_dict(json.loads(saved))
        self.config, self.objective = config, objective
        self.machine = StateMachine(config, list(blocks), progress)
        self.ticks, self.settles, self.saved, self.under_way = [], [], [], {}
        self.settling = self.reason = None
        self.barrier = self.held = False
        self.now, self.committed = 0.0, (self.machine.progress.tick, saved)

    def tell(self, event):
        found = self.machine.handle(event)
        for instruction in found:
            self.take(instruction)
        return found

    def take(self, instruction):
        assert self.reason is None
        match instruction:
            case Tick():
                assert not any([self.barrier, self.settling, self.held])
                self.ticks.append(instruction)
                self.under_way[instruction.number] = instruction
                assert len(self.under_way) <= self.config.engine.blocks_in_flight
                settles = (instruction.number + 1) % SETTLE_EVERY == 0
                self.barrier = instruction.finishes or settles
            case Settle():
                assert not any([self.under_way, self.settling, self.held])
                assert instruction.tick == self.machine.progress.tick
                self.settling = instruction
                self.settles.append(instruction)
                self.saved.append(json.dumps(self.machine.progress.as_dict()))
            case Hold():
                assert self.committed[0] == self.machine.progress.tick
                self.held = True
            case End(reason):
                assert self.committed[0] == self.machine.progress.tick
                self.reason = reason
            case Recover():
                self.reason = "lost"

    def begin(self):
        return self.tell(Begun(self.now))

    def done(self, number=None):
        """A tick's costs are known: the oldest one's under way, or those of ``number``."""
        tick = self.under_way.pop(min(self.under_way) if number is None else number)
        layers = [visit.layer for visit in tick.visits]
        starts = self.machine.progress.starts
        objectives = {n: self.objective(n, tick.number - starts[n]) for n in layers}
        return self.tell(TickDone(tick.number, objectives, self.now))

    def settled(self, seconds=1.0):
        settle, self.settling, self.barrier = self.settling, None, False
        if settle.commit:
            self.committed = settle.tick, self.saved[-1]
        return self.tell(Settled(self.now, seconds if settle.commit else None))

    def wish(self, what):
        if what == "resume":
            self.held = False
        elif not self.held:
            self.barrier = True
        return self.tell(Wished(what, self.now))

    def until(self, kind):
        """Finish ticks in order, and settle, until an instruction of a kind comes."""
        found = self.done() if self.under_way else self.settled()
        while not any(isinstance(each, kind) for each in found):
            found = self.done() if self.under_way else self.settled()
        return found

    def finish(self):
        """Do everything in order, to the end; the ticks of this session."""
        self.begin()
        self.until(End)
        return self.ticks

    def ready(self):
        """The ticks that may be done now: any, as long as no start waits for the oldest one."""
        oldest = min(self.under_way)
        late = oldest <= self.machine.progress.tick - self.config.pipeline.plateau_lag
        return [oldest] if late and self.config.pipeline.start == "plateau" else [*self.under_way]


def played(loop, random, wishes=("pause", "resume", "commit")):
    """Let anything happen that can, in any order and at any time, to the end; the loop."""
    loop.begin()
    while loop.reason is None:
        loop.now += random.choice([0.0, 0.1, 5.0, 1000.0])
        if random.random() < 0.15:
            loop.wish(random.choice(wishes))
        elif loop.settling:
            loop.settled(random.choice([0.1, 5.0, 500.0]))
        elif loop.held:
            loop.wish("resume")
        else:
            loop.done(random.choice(loop.ready()))
    return loop


def begun(config=None, blocks=5):
    loop = Loop(config or configured(), [12] * blocks)
    loop.begin()
    return loop


def numbers(found):
    assert all(isinstance(each, Tick) for each in found)
    return [tick.number for tick in found]


def settling(commit=False, blocks=5):
    """A loop that has been asked to settle after all of its ticks under way, or to commit."""
    loop = begun(blocks=blocks)
    loop.wish("commit" if commit else "pause")
    if not commit:
        loop.wish("resume")
    found = loop.until(Settle)
    assert found == [Settle(2, commit=commit, finished=False)]
    return loop


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


def test_a_commit_waits_until_it_is_worth_the_cost_of_the_last_one():
    watch = clock(every_blocks=1, most_share=0.25)
    assert watch.due(8, 100.0)  # nobody knows yet what one costs
    watch.committed(8, now=110.0, seconds=10.0)
    assert not watch.due(9, 139.9)
    assert watch.due(9, 140.0)  # 10 s of 40
    assert clock(every_blocks=1).due(8, 100.0)


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
