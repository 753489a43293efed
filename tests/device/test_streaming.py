"""Chunks in the host's memory go through the device in groups, with the bits of those on it."""

import gc
import pickle
import weakref

import numpy as np
import pytest

from tests.device.emulated import DeviceArray, Emulated
from tests.device.test_visits import LAYER, OBJECTIVE, RATES, WINDOWS, in_four_pieces
from tests.device.timelines import Race, Timeline
from yfccdask.backend.device import PAST, library
from yfccdask.backend.device.pinned_blocks import Block, PinnedBlocks
from yfccdask.numerics import local_visits
from yfccdask.numerics.device import streaming, visits
from yfccdask.numerics.device.streaming import Hosted, moved_to_host
from yfccdask.numerics.states import State

HOW = (0.5, WINDOWS, OBJECTIVE, RATES)


@pytest.fixture
def narrow(monkeypatch):
    """Buffers for five of the twelve positions: three groups, the last one of two."""
    monkeypatch.setattr(visits, "MOST_TOGETHER", 5 * 8 * 4 * (6 + LAYER.inputs))


@pytest.fixture
def fields(device, rng):
    """Three blocks of 8 images, as pieces on the device."""
    return [
        in_four_pieces(device, rng.normal(size=(8, 10, 8, 2)).astype(np.float32)) for _ in range(3)
    ]


def initial(momentum="full"):
    numbers = np.arange(12).reshape(LAYER.grid)
    how = (numbers, 6, LAYER.inputs, 0.9, np.float32, "gpu", momentum)
    return local_visits.initial_state(3, 0, *how)


def through_blocks(state, fields, precision="fp32"):
    """Three visits with the forward pass of every block before it, and what they left."""
    outs = []
    for field in fields:
        outs.append(local_visits.forward_visit(state, field, 0.5, WINDOWS, (1, 2), 3, precision))
        state, costs = local_visits.train_visit(state, field, *HOW, precision)
        outs.append(costs)
    return state, outs


def assert_same(streamed, resident):
    state, outs = streamed
    assert isinstance(state, Hosted)
    for mine, wanted in zip(state.opened(), resident[0], strict=True):
        assert isinstance(mine, np.ndarray)
        np.testing.assert_array_equal(mine, wanted.get())
    for mine, wanted in zip(outs, resident[1], strict=True):
        np.testing.assert_array_equal(mine.get(), wanted.get())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("momentum", ["full", "half"])
@pytest.mark.usefixtures("narrow")
def test_a_streamed_chunk_has_the_bits_of_a_resident_one(device, fields, momentum, precision):
    resident = through_blocks(initial(momentum), fields, precision)
    streamed = through_blocks(moved_to_host(device, initial(momentum)), fields, precision)
    assert_same(streamed, resident)


@pytest.mark.parametrize("together", [1, 4, 12])
def test_any_number_of_groups_goes_through_three_slots(device, fields, monkeypatch, together):
    monkeypatch.setattr(visits, "MOST_TOGETHER", together * 8 * 4 * (6 + LAYER.inputs))
    resident = through_blocks(initial(), fields[:2])
    device.guarded.clear()
    streamed = through_blocks(moved_to_host(device, initial()), fields[:2])
    assert_same(streamed, resident)
    one = sum(part[0, :1].nbytes for part in streamed[0].state)
    slots = [each for each in device.guarded if each.dtype == np.uint8]
    assert len(slots) == 2 * streaming.SLOTS  # of the first forward pass, which needs less; then
    slots = slots[streaming.SLOTS :]
    assert all(together * one <= each.nbytes < together * one + 8 * 512 for each in slots)


@pytest.mark.usefixtures("narrow")
def test_a_streamed_visit_never_waits_nor_looks_at_a_value(device, fields, monkeypatch):
    state = moved_to_host(device, initial())
    done = [timeline.done for timeline in device.timelines.values()]
    monkeypatch.setattr(DeviceArray, "get", None)
    new, _ = local_visits.train_visit(state, fields[0], *HOW)
    assert DeviceArray.looks == 0
    down = device.timelines["down"]
    assert down.done < down.asked, "the last group's way back was waited for"
    assert np.isnan(new.state.weights).any()
    new.opened()
    assert not np.isnan(new.state.weights).any()
    assert len(done) == 3


def without(name, call):
    """A timeline's method that leaves out its ``call``-th wait."""
    waits, plain = [], Timeline.wait

    def wait(self, event):
        if self.name == name and event is not PAST:
            waits.append(event)
            if len(waits) == call:
                return None
        return plain(self, event)

    return wait, waits


@pytest.mark.parametrize(
    ("together", "name", "call"),
    [
        (3, "compute", 1),  # a group has not arrived
        (3, "compute", 4),
        (3, "up", 5),  # the slot's group is on its way back
        (5, "up", 5),  # the state is not whole yet
        (3, "down", 1),  # the group is still worked on
        (3, "down", 4),
    ],
)
def test_a_wait_that_is_left_out_is_seen(rng, monkeypatch, together, name, call):
    monkeypatch.setattr(visits, "MOST_TOGETHER", together * 8 * 4 * (6 + LAYER.inputs))
    device = Emulated()
    monkeypatch.setitem(library.LIBRARIES, "gpu", device)
    values = rng.normal(size=(8, 10, 8, 2)).astype(np.float32)
    field = in_four_pieces(device, values)
    state = moved_to_host(device, initial())
    resident, _ = local_visits.train_visit(initial(), field, *HOW)
    wait, waits = without(name, call)
    monkeypatch.setattr(Timeline, "wait", wait)
    seen = False
    try:
        new = local_visits.train_visit(state, field, *HOW)[0]
        new = local_visits.train_visit(new, field, *HOW)[0]
        one = local_visits.train_visit(resident, field, *HOW)[0]
        seen = not np.array_equal(new.opened().weights, one.weights.get())
    except Race:
        seen = True
    assert len(waits) >= call
    assert seen


def test_memory_of_the_host_is_used_again_once_the_last_view_is_gone():
    made = []

    def allocate(size):
        made.append(np.zeros(size, np.uint8))
        return Block(made[-1].ctypes.data, made[-1])

    blocks = PinnedBlocks(allocate)
    whole = blocks.take((3, 5), np.float32)
    part = whole[1:].reshape(-1)[2:]
    del whole
    gc.collect()
    blocks.take((15,), np.float32)
    assert len(made) == 2, "a view still lay in the first block"
    del part
    gc.collect()
    assert blocks.take((5, 3), np.float32).size == 15
    assert [each.size for each in made] == [60, 60]
    assert blocks.take((7,), np.float64).shape == (7,)
    assert [each.size for each in made] == [60, 60, 56]


def test_blocks_of_other_sizes_make_room():
    held = []

    def allocate(size):
        if held and held[0]() is not None:
            raise MemoryError
        owner = np.zeros(size, np.uint8)
        held[:] = [weakref.ref(owner)]
        return Block(owner.ctypes.data, owner)

    blocks = PinnedBlocks(allocate)
    blocks.take((10,), np.uint8)
    gc.collect()
    assert blocks.take((20,), np.uint8).size == 20


def test_a_hosted_state_is_waited_for_when_it_is_sent_elsewhere(device, fields):
    new, _ = local_visits.train_visit(moved_to_host(device, initial()), fields[0], *HOW)
    assert isinstance(new.state, State)
    there = pickle.loads(pickle.dumps(new))
    assert not np.isnan(there.state.weights).any()
    for mine, sent in zip(new.opened(), there.opened(), strict=True):
        np.testing.assert_array_equal(mine, sent)
