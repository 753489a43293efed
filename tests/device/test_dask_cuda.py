"""dask-cuda's own cluster, started through our factory in the mode that its tests use: no GPU."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

PACKAGES = ["dask-cuda>=26.10", "nvidia-ml-py", "cuda-core", "cuda-bindings", "cuda-pathfinder"]
PROGRAM = """
import asyncio, json, os
from distributed import Client
from yfccdask.training.clusters import ClusterRequest, embedded, embedded_cluster

def seen(dask_worker):
    plugins = sorted(type(each).__name__ for each in dask_worker.plugins.values())
    data, threads = type(dask_worker.data).__name__, dask_worker.state.nthreads
    return os.environ["CUDA_VISIBLE_DEVICES"], threads, data, plugins

async def main():
    embedded.count_devices, embedded.FOR_GPUS = lambda: 2, ("dask_cuda",)
    request = ClusterRequest(device="gpu", pool=None)
    async with embedded_cluster(request) as cluster:
        async with Client(cluster, asynchronous=True) as client:
            print(json.dumps(sorted((await client.run(seen)).values())))

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.fixture
def path_of_dask_cuda(tmp_path):
    """A folder with dask-cuda and what it imports; nothing where it is installed already."""
    if find_spec("dask_cuda") is not None:
        return ""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path)]
    subprocess.run([*command, *PACKAGES], check=True, timeout=200)
    return str(tmp_path)


@pytest.mark.slow
def test_a_worker_per_gpu_each_with_its_own_device_first(path_of_dask_cuda, tmp_path):
    program = tmp_path / "cluster.py"
    program.write_text(PROGRAM)
    environment = {
        **os.environ,
        "PYTHONPATH": path_of_dask_cuda,
        "DASK_CUDA_TEST_DISABLE_DEVICE_SPECIFIC": "1",
        "DASK_CUDA_TEST_SINGLE_GPU": "1",
        "CUDA_VISIBLE_DEVICES": "0,1",
    }
    command = [sys.executable, str(program)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    workers = json.loads(done.stdout.splitlines()[-1])
    assert [devices for devices, *_ in workers] == ["0,1", "1,0"]
    for _, threads, data, plugins in workers:
        assert threads == 1
        assert data == "dict"  # nothing spills behind our back
        assert "PreImport" in plugins
