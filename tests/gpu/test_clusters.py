"""Runs on dask-cuda's cluster: the tiny preset against the CPU's run, the demo, device memory."""

import asyncio

import numpy as np
import pytest

from tests.conftest import THREADS
from tests.device.test_runs import SHORT, costs
from yfccdask.analysis.reporting import report
from yfccdask.config import load_config
from yfccdask.data import write_store
from yfccdask.training.clusters import ClusterRequest, connect
from yfccdask.training.start import train

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]
ON_GPU = "arithmetic.device=gpu"
ONE_GPU = ClusterRequest(workers=1, device="gpu")


def test_a_run_on_a_gpu_agrees_with_the_cpu_s(tiny_store, tmp_path):
    on_gpu = load_config("tiny", [*SHORT, ON_GPU])
    there = train(on_gpu, tiny_store, tmp_path / "gpu", cluster=ONE_GPU)
    here = train(load_config("tiny", SHORT), tiny_store, tmp_path / "cpu", cluster=THREADS)
    np.testing.assert_allclose(costs(there)[:, :5], costs(here)[:, :5], rtol=1e-5)
    np.testing.assert_allclose(costs(there), costs(here), rtol=1e-3)


def test_a_run_on_a_gpu_has_the_same_bits_twice(tiny_store, tmp_path):
    config = load_config("tiny", [*SHORT, ON_GPU, "arithmetic.products=tf32"])
    runs = [train(config, tiny_store, tmp_path / name, cluster=ONE_GPU) for name in "ab"]
    np.testing.assert_array_equal(*(costs(run) for run in runs))


def test_the_demo_s_network_trains_and_reports(tmp_path, rng):
    images = rng.integers(0, 255, size=(1920, 64, 64, 3), dtype=np.uint8)
    write_store(images, tmp_path / "store", block_size=960)
    overrides = [ON_GPU, "arithmetic.products=tf32", "layers.0.passes=1", "layers.1.passes=1"]
    config = load_config("demo", overrides)
    run = train(config, tmp_path / "store", tmp_path / "run", cluster=ONE_GPU)
    assert np.isfinite(costs(run)).all()
    assert report(run).exists()


def test_workers_say_how_much_device_memory_they_use():
    async def asked():
        async with connect(ONE_GPU) as client:
            (worker,) = client.scheduler_info()["workers"].values()
            return worker["metrics"]

    metrics = asyncio.run(asked())
    assert metrics["gpu"]["memory-used"] > 0
