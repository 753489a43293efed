"""What the plan says of a GPU's memory, against what visits take of it."""

import asyncio

import numpy as np
import pytest

from benchmarks import gpu_floors
from tests.conftest import THREADS
from tests.device.emulated import GUARD
from tests.training.made_up_speeds import made_up_calibration
from yfccdask import plan
from yfccdask.backend.device import library
from yfccdask.config import load_config, network_geometry
from yfccdask.numerics import local_visits
from yfccdask.numerics.device import visits
from yfccdask.numerics.states import Objective, Rates, Windows
from yfccdask.training.clusters import connect
from yfccdask.training.planning.calibration import calibrate, kernel_key, measured_speeds
from yfccdask.training.planning.device_floors import (
    ASSUMED,
    dense_stages,
    local_stages,
    step_floor,
)
from yfccdask.training.planning.sites import calibration_of, workers_of

ON_GPU = "arithmetic.device=gpu"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("momentum", ["full", "half"])
def test_a_visit_s_buffers_are_what_the_plan_counts(
    device, rng, monkeypatch, precision, few, momentum
):
    images, units, inputs = 20, 40, 64
    if few:
        monkeypatch.setattr(visits, "MOST_TOGETHER", 2 * 8 * images * (units + inputs))
    numbers = np.arange(5).reshape(1, 5)
    how = (units, inputs, 1.0, np.float32, "gpu", momentum)
    state = local_visits.initial_state(0, 0, numbers, *how)
    field = device.upload(rng.normal(size=(images, 8, 24, 1)).astype(np.float32))
    device.guarded.clear()
    how = (field, 0.1, Windows((8, 8), 4), Objective(0.1, 1e-3, 0.9), (Rates(0.01, 0.01, 1e-4),))
    new, _ = local_visits.train_visit(state, *how, precision)
    taken = sum(each.nbytes - 2 * GUARD * each.itemsize for each in device.guarded)
    rounded = precision == "bf16"
    own = visits.together(5, images, units, inputs)
    if few and rounded:  # the rounded weights of the group before are free again
        taken -= 2 * units * inputs * (5 - own)
    fresh, buffers = sum(part.nbytes for part in new), taken - sum(part.nbytes for part in new)
    half = momentum == "half"
    counted = 4 * visits.buffer_values(5, images, units, inputs, rounded, half)
    assert fresh > 0
    assert 0.9 * counted < buffers < 1.1 * counted


def planned(memory, *overrides):
    config = load_config("tiny", [ON_GPU, "layers.0.units=256", *overrides])
    speeds = made_up_calibration(config)
    return plan(config, workers=1, memory=memory, images=48, calibration=speeds)


def test_half_fields_take_half_and_the_disk_is_not_suggested():
    full, half = (planned(10**9, f"arithmetic.fields={kind}") for kind in ("full", "half"))
    assert full.rows[1].fields > 1.5 * half.rows[1].fields > 0
    small = planned(50_000)
    assert small.refusals
    assert not any("disk" in each for each in small.suggestions)


def test_a_gpu_s_parts_are_measured_on_it(device):
    config = load_config("tiny", [ON_GPU, "layers.2.leaf=8"])
    found, expected = measured_speeds(config), made_up_calibration(config)
    for name in ("visits", "forwards", "contrasts", "preprocessing"):
        assert getattr(found, name).keys() == getattr(expected, name).keys()
        assert all(seconds > 0 for seconds in getattr(found, name).values())
    warnings = plan(config, workers=1, images=48, calibration=found).warnings
    assert not any("arithmetic" in each for each in warnings)


def test_without_a_gpu_the_seconds_are_what_an_assumed_card_can_t_beat(monkeypatch):
    monkeypatch.delitem(library.LIBRARIES, "gpu", raising=False)
    config = load_config("paper", [ON_GPU, "arithmetic.products=tf32"])
    found = calibrate(config)
    shapes = gpu_floors.paper_shapes().values()
    for layer, shape in zip(network_geometry(config).layers, shapes, strict=True):
        calls = layer.inputs / layer.leaf if layer.dense else layer.positions
        stages = dense_stages if layer.dense else local_stages
        least = step_floor(stages(shape, "tf32"), ASSUMED.bandwidth, ASSUMED.tf32)
        assert found.visits[kernel_key(layer, config)] * calls == pytest.approx(least, rel=0.05)
        assert found.forwards[kernel_key(layer, config)] * calls < least / 3
    warning = plan(config, workers=1, calibration=found).warnings[0]
    assert "4.3 TB/s" in warning
    assert "400 in tf32" in warning


def test_what_the_process_holds_on_the_host_is_not_held_on_the_card(device):
    async def asked(device_name):
        config = load_config("tiny", [f"arithmetic.device={device_name}"])
        async with connect(THREADS) as client:
            return await calibration_of(client, config, list(await workers_of(client)))

    assert asyncio.run(asked("gpu")).idle_bytes == 0
    assert asyncio.run(asked("cpu")).idle_bytes > 0
