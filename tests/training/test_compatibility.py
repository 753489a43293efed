"""Versions of client, scheduler and workers: what must be alike, and what is said if it is not."""

import asyncio
import sys
from subprocess import DEVNULL, PIPE, Popen

import pytest

from yfccdask.errors import ClusterError, VersionMismatch
from yfccdask.training import compatibility
from yfccdask.training.clusters import ClusterRequest, connect
from yfccdask.training.compatibility import (
    mismatches,
    process_versions,
    refuse_mismatches,
    scheduler_and_worker_versions,
)

HERE = process_versions()
THREADS = ClusterRequest(workers=2, processes=False)


def among_workers(**changes):
    """98 workers as this process, the last of them otherwise."""
    workers = {f"tcp://10.0.0.{number}:4000": HERE for number in range(98)}
    return workers | {"tcp://10.0.0.97:4000": HERE | changes}


def test_alike_is_no_mismatch():
    assert mismatches(HERE, HERE, among_workers()) == []
    refuse_mismatches([])


@pytest.mark.parametrize("name", ["yfccdask", "dask", "distributed", "cloudpickle"])
@pytest.mark.parametrize("place", ["client", "scheduler", "worker"])
def test_a_version_that_differs_anywhere_is_a_line_with_its_remedy(name, place):
    other = HERE | {name: "0.0.1"}
    versions = {"client": HERE, "scheduler": HERE, place: other}
    workers = among_workers(**{name: "0.0.1"}) if place == "worker" else among_workers()
    (line,) = mismatches(versions["client"], versions["scheduler"], workers)
    assert line.startswith(f"{name}: expected one version everywhere")
    assert f"install {name} {versions['scheduler'][name]}" in line
    assert place in line


def test_workers_are_grouped_not_listed_one_by_one():
    workers = {address: HERE | {"dask": "0.1"} for address in among_workers()}
    (line,) = mismatches(HERE, HERE, workers)
    assert "0.1 on 98 workers (tcp://10.0.0.0:4000, " in line
    assert line.count("tcp://") == 3


def test_pythons_are_compared_by_major_and_minor():
    major, minor, micro = HERE["python"].split(".")
    assert not mismatches(HERE, HERE, among_workers(python=f"{major}.{minor}.{int(micro) + 1}"))
    (line,) = mismatches(HERE, HERE, among_workers(python=f"{major}.{int(minor) + 1}.0"))
    assert "python" in line


@pytest.mark.parametrize("name", ["numpy", "numba", "scipy", "zarr"])
def test_what_only_changes_bits_is_no_mismatch(name):
    assert mismatches(HERE, HERE, among_workers(**{name: "0.0.1"})) == []


def test_every_line_is_in_the_refusal():
    workers = among_workers(dask="0.0.1", yfccdask="0.0.2")
    with pytest.raises(VersionMismatch) as caught:
        refuse_mismatches(mismatches(HERE, HERE, workers))
    assert "0.0.1 on 1 worker" in str(caught.value)
    assert "0.0.2 on 1 worker" in str(caught.value)
    assert isinstance(caught.value, ClusterError)


def test_a_package_that_is_not_there_is_absent(monkeypatch):
    monkeypatch.setattr(compatibility, "PACKAGES", ("no-such-package",))
    assert process_versions()["no-such-package"] == "absent"


async def asked(request):
    async with connect(request) as client:
        return await scheduler_and_worker_versions(client)


def test_scheduler_and_workers_are_asked():
    scheduler, workers = asyncio.run(asked(THREADS))
    assert scheduler == HERE
    assert list(workers.values()) == [HERE, HERE]


BARE_CLUSTER = """
import sys
sys.modules["yfccdask"] = None  # to import it fails as where it was never installed
from distributed import LocalCluster
cluster = LocalCluster(
    n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1",
    dashboard_address="127.0.0.1:0",
)
print(cluster.scheduler_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def bare_cluster():
    """The address of a cluster that has Dask, but no yfccdask."""
    command, pipes = [sys.executable, "-c", BARE_CLUSTER], {"stdin": PIPE, "stdout": PIPE}
    with Popen(command, stderr=DEVNULL, text=True, **pipes) as process:
        yield process.stdout.readline().strip()
        process.terminate()


def test_a_cluster_without_yfccdask_is_told_to_install_it(bare_cluster):
    with pytest.raises(VersionMismatch, match="found none") as caught:
        asyncio.run(asked(ClusterRequest(scheduler=bare_cluster)))
    assert "the scheduler and 2 workers (tcp://127.0.0.1" in str(caught.value)
    assert f"install yfccdask {HERE['yfccdask']} there" in str(caught.value)


def test_what_else_goes_wrong_on_a_worker_is_raised(monkeypatch):
    monkeypatch.setattr(compatibility, "process_versions", fails)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(asked(THREADS))


def fails():
    return 1 / 0
