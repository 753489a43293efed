"""What the plan says of a GPU's memory, against what visits take of it."""

import asyncio

import numpy as np
import pytest

from tests.conftest import THREADS
from tests.device.emulated import GUARD
from tests.training.made_up_speeds import made_up_calibration
from yfccdask import plan
from yfccdask.config import load_config
from yfccdask.numerics import local_visits
from yfccdask.numerics.device import visits
from yfccdask.numerics.states import Objective, Rates, Windows
from yfccdask.training.clusters import connect
from yfccdask.training.planning.sites import calibration_of, workers_of

ON_GPU = "arithmetic.device=gpu"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("few", [False, True])
def test_a_visit_s_buffers_are_what_the_plan_counts(device, rng, monkeypatch, precision, few):
    images, units, inputs = 20, 40, 64
    if few:
        monkeypatch.setattr(visits, "MOST_TOGETHER", 2 * 8 * images * (units + inputs))
    numbers = np.arange(5).reshape(1, 5)
    state = local_visits.initial_state(0, 0, numbers, units, inputs, 1.0, np.float32, "gpu")
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
    counted = 4 * visits.buffer_values(5, images, units, inputs, rounded)
    assert fresh > 0
    assert 0.9 * counted < buffers < 1.1 * counted


def planned(memory, *overrides):
    config = load_config("tiny", [ON_GPU, "layers.0.units=256", *overrides])
    speeds = made_up_calibration(config)
    return plan(config, workers=1, memory=memory, images=48, calibration=speeds)


def test_half_fields_take_half_and_the_disk_is_not_suggested():
    full, half = (planned(10**9, f"arithmetic.fields={kind}") for kind in ("full", "half"))
    assert full.rows[1].fields > 1.5 * half.rows[1].fields > 0
    assert any("not of a GPU" in warning for warning in full.warnings)
    small = planned(50_000)
    assert small.refusals
    assert not any("disk" in each for each in small.suggestions)


def test_what_the_process_holds_on_the_host_is_not_held_on_the_card(device):
    async def asked(device_name):
        config = load_config("tiny", [f"arithmetic.device={device_name}"])
        async with connect(THREADS) as client:
            return await calibration_of(client, config, list(await workers_of(client)))

    assert asyncio.run(asked("gpu")).idle_bytes == 0
    assert asyncio.run(asked("cpu")).idle_bytes > 0
