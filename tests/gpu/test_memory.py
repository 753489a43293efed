"""What a GPU holds and waits for: memory over many visits, copies to it, hidden transfers."""

from importlib import import_module

import numpy as np
import pytest

from yfccdask.numerics import local_visits
from yfccdask.numerics.states import Objective, Rates, Windows

pytestmark = pytest.mark.gpu
OBJECTIVE, RATES = Objective(0.1, 1e-3, 0.9), (Rates(1e-3, 1e-3, 1e-6),) * 2
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
    busy = cupy.RawKernel(
        'extern "C" __global__ void busy(long long n) {'
        " long long start = clock64(); while (clock64() - start < n) {} }",
        "busy",
    )
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
