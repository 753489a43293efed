"""What a GPU holds and waits for: memory over many visits, copies to it, hidden transfers."""

from importlib import import_module

import numpy as np
import pytest

from yfccdask.numerics import local_visits
from yfccdask.numerics.device import visits
from yfccdask.numerics.device.streaming import Hosted, moved_to_host
from yfccdask.numerics.states import Objective, Rates, State, Windows

pytestmark = pytest.mark.gpu
OBJECTIVE, RATES = Objective(0.1, 1e-3, 0.9), (Rates(1e-3, 1e-3, 1e-6),) * 2
BUSY = (
    'extern "C" __global__ void busy(long long n) {'
    " long long start = clock64(); while (clock64() - start < n) {} }"
)
HOW = (0.1, Windows((16, 16), 4), OBJECTIVE, RATES)


@pytest.fixture
def visited(gpu, rng):
    """A state of 8 x 8 positions and the field that it reads."""
    numbers = np.arange(64).reshape(8, 8)
    state = local_visits.initial_state(0, 0, numbers, 384, 768, 1.0, np.float32, "gpu")
    field = gpu.upload(rng.normal(size=(384, 44, 44, 3)).astype(np.float32))
    return state, field


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_memory_is_constant_over_100_visits(visited, precision):
    pool = import_module("cupy").get_default_memory_pool()
    (state, field), held = visited, []
    for _ in range(100):
        state, costs = local_visits.train_visit(state, field, *HOW, precision)
        held.append((pool.used_bytes(), pool.total_bytes()))
    assert np.isfinite(costs.get()).all()
    assert len(set(held[2:])) == 1


def test_a_visit_waits_for_nothing(visited, monkeypatch):
    cupy = import_module("cupy")
    state, field = visited
    local_visits.train_visit(state, field, *HOW)
    busy = cupy.RawKernel(BUSY, "busy")
    busy((1,), (1,), (np.int64(2_000_000_000),))  # about a second
    ended = cupy.cuda.Event(disable_timing=True)
    ended.record()
    local_visits.train_visit(state, field, *HOW)
    assert not ended.done, "the visit's launches waited for the work before them"


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000_000])
def test_uploads_arrive_whole(gpu, rng, size):
    values = rng.integers(0, 255, size=size, dtype=np.uint8)
    np.testing.assert_array_equal(gpu.upload(values).get(), values)


def test_uploads_in_a_row_do_not_overtake_each_other(gpu):
    arrays = [np.full(70_000_000, number, np.uint8) for number in range(5)]
    uploaded = [gpu.upload(array) for array in arrays]
    for number, array in enumerate(uploaded):
        assert int(array.min()) == int(array.max()) == number


@pytest.fixture
def few_at_once(monkeypatch):
    """Seven groups of ten positions, the last one of four."""
    monkeypatch.setattr(visits, "MOST_TOGETHER", 10 * 8 * 192 * (384 + 768))


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("momentum", ["full", "half"])
@pytest.mark.usefixtures("few_at_once")
def test_streaming_has_the_bits_of_what_stays_on_the_device(gpu, visited, precision, momentum):
    state, field = visited
    state = state.stored(momentum)
    streamed = moved_to_host(gpu, state)
    for _ in range(5):
        how = (field, 0.1, HOW[1], (4, 4), 192, precision)
        codes = [local_visits.forward_visit(each, *how) for each in (state, streamed)]
        assert bool((codes[0] == codes[1]).all())
        state, costs = local_visits.train_visit(state, field, *HOW, precision)
        streamed, others = local_visits.train_visit(streamed, field, *HOW, precision)
        assert isinstance(streamed, Hosted)
        assert bool((costs == others).all())
    for mine, wanted in zip(streamed.opened(), state, strict=True):
        np.testing.assert_array_equal(mine, wanted.get())


@pytest.mark.usefixtures("few_at_once")
def test_memory_is_constant_over_100_streamed_visits(gpu, visited):
    pool, blocks = import_module("cupy").get_default_memory_pool(), gpu.blocks
    state, field = visited
    streamed, held, made = moved_to_host(gpu, state), [], []
    allocate = blocks.allocate

    def counted(size):
        made.append(size)
        return allocate(size)

    blocks.allocate = counted
    try:
        for _ in range(100):
            streamed, _ = local_visits.train_visit(streamed, field, *HOW)
            held.append((pool.used_bytes(), pool.total_bytes(), len(made)))
    finally:
        blocks.allocate = allocate
    assert np.isfinite(streamed.opened().weights).all()
    assert len(set(held[3:])) == 1


@pytest.mark.usefixtures("few_at_once")
def test_a_streamed_visit_waits_for_nothing(gpu, visited):
    cupy = import_module("cupy")
    state, field = visited
    streamed = moved_to_host(gpu, state)
    for _ in range(3):
        streamed, _ = local_visits.train_visit(streamed, field, *HOW)
    streamed.opened()
    busy = cupy.RawKernel(BUSY, "busy")
    busy((1,), (1,), (np.int64(2_000_000_000),))  # about a second
    ended = cupy.cuda.Event(disable_timing=True)
    ended.record()
    streamed, _ = local_visits.train_visit(streamed, field, *HOW)
    assert not ended.done, "the visit's launches and copies waited for the work before them"


def test_page_locked_memory_has_the_size_that_was_asked_for_and_comes_back(gpu):
    array = gpu.pinned((1000, 1001), np.float32)
    address = array.ctypes.data
    there, back = gpu.full(array.shape, 0, np.float32), gpu.pinned(array.shape, np.float32)
    array[...] = np.arange(array.size).reshape(array.shape)
    gpu.stream("up").copy(array, there)
    gpu.stream("down").wait(gpu.stream("up").record())
    gpu.stream("down").copy(there, back)
    gpu.stream("down").record().wait()
    np.testing.assert_array_equal(back, array)
    del array
    assert gpu.pinned((1001, 1000), np.float32).ctypes.data == address


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_bits_do_not_depend_on_how_many_positions_are_together(visited, precision):
    state, field = visited
    whole, costs = local_visits.train_visit(state, field, *HOW, precision)
    for first in (0, 3):
        rows = slice(first, first + 3)
        part = State(*(each[rows] for each in state))
        seen = field[:, 4 * first : 4 * first + 24]
        own, others = local_visits.train_visit(part, seen, *HOW, precision)
        assert bool((others == costs[:, rows]).all())
        for mine, wanted in zip(own, whole, strict=True):
            assert bool((mine == wanted[rows]).all())
