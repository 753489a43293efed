"""A pipeline driven by hand: configurations, objectives, and the loop's part."""

import json
from random import Random

from yfccdask.config import parse_config
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
)
from yfccdask.training.pipeline.state_machine import SETTLE_EVERY, Progress, StateMachine

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
