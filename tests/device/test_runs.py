"""A whole run on the emulated device: committed, resumed, and compared with the CPU's."""

import json

import numpy as np
import pytest

from tests.conftest import THREADS
from tests.device.emulated import DeviceArray, Emulated
from yfccdask.config import load_config
from yfccdask.data.digests import digest
from yfccdask.data.runs import open_run
from yfccdask.errors import ConfigError
from yfccdask.training.planning import planner
from yfccdask.training.start import on_device, resume, train

SHORT = ["layers.0.passes=1", "checkpoints.every_blocks=2", "layers.0.rate=0.001"]
ON_GPU = "arithmetic.device=gpu"


def costs(run):
    """Every mini-batch's two terms, in the order of the events."""
    lines = map(json.loads, (run.path / "events.jsonl").read_text().splitlines())
    blocks = [each for each in lines if each["event"] == "block"]
    return np.concatenate([[each["reconstruction"], each["sparsity"]] for each in blocks], axis=1)


def test_the_device_that_is_asked_for_is_the_configuration_s():
    config = load_config("tiny")
    assert on_device(config, None) is config
    there = on_device(config, "gpu")
    assert there.arithmetic.device == "gpu"
    with pytest.raises(ConfigError, match="float32 with device gpu"):
        on_device(load_config("tiny", ["dtype=float64"]), "gpu")
    with pytest.raises(ConfigError, match=r"arithmetic\.device=gpu"):
        load_config("tiny", ["arithmetic.products=tf32"])
    with pytest.raises(ConfigError, match="stays in its memory"):
        load_config("tiny", [ON_GPU, "engine.weights=disk"])


@pytest.mark.slow
def test_a_run_on_the_device_agrees_with_the_cpu_s(device, tiny_store, tmp_path):
    there = train(
        load_config("tiny", [*SHORT, ON_GPU]), tiny_store, tmp_path / "gpu", cluster=THREADS
    )
    here = train(load_config("tiny", SHORT), tiny_store, tmp_path / "cpu", cluster=THREADS)
    assert costs(here).shape == (2, 36)
    np.testing.assert_allclose(costs(there)[:, :5], costs(here)[:, :5], rtol=1e-5)
    np.testing.assert_allclose(costs(there), costs(here), rtol=1e-3)
    assert DeviceArray.looks == 18  # at the end of a layer, whether its six arrays are finite


class Enough(Exception):
    pass


def stop_after(tick):
    def follow(event):
        if event["event"] == "block" and event["tick"] == tick:
            raise Enough

    return follow


STAGGERED = ["pipeline.start=after_blocks", "pipeline.after_blocks=2", "engine.chunk=[1, 2]"]
HALF = ["arithmetic.momentum=half", "checkpoints.every_blocks=2", "checkpoints.most_share=null"]


@pytest.mark.slow
def test_a_streamed_staggered_run_has_the_resident_one_s_bits(
    device, tiny_store, tmp_path, monkeypatch
):
    units = ["layers.0.units=64", "layers.1.units=64"]
    plain = [*STAGGERED, *HALF, *units, *(f"layers.{n}.passes=1" for n in range(3)), ON_GPU]
    resident = train(load_config("tiny", plain), tiny_store, tmp_path / "a", cluster=THREADS)
    plans, planned = [], planner.run_plan

    def run_plan(*given):
        plans.append(planned(*given))
        return plans[-1]

    monkeypatch.setattr(Emulated, "memory", lambda self: 3_000_000)
    monkeypatch.setattr("yfccdask.training.planning.sites.run_plan", run_plan)
    host = load_config("tiny", [*plain, "engine.weights=host"])
    with pytest.raises(Enough):
        train(host, tiny_store, tmp_path / "b", cluster=THREADS, on_event=stop_after(4))
    run = resume(open_run(tmp_path / "b"), cluster=THREADS)
    assert len(plans) == 2
    for plan in plans:
        streamed, chunks = (sum(map(len, each)) for each in (plan.hosted, plan.owners))
        assert 0 < streamed < chunks - 1
    assert digest(run).arrays == digest(resident).arrays
