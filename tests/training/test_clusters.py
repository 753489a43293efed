"""Where training runs: a client of one's own, an address, a scheduler file; and what is refused."""

import asyncio
import json

import pytest
from distributed import Client, LocalCluster

from yfccdask.data.digests import digest
from yfccdask.errors import ClusterError
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import train, with_client


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster


def test_a_client_s_cluster_gives_the_same_digest(cluster, tiny_store, tiny_run, tmp_path):
    facts = []
    with Client(cluster, set_as_default=False) as client:
        run = train("tiny", tiny_store, tmp_path / "run", client=client, on_connect=facts.append)
    assert digest(run) == digest(tiny_run)
    assert facts[0]["scheduler"] == cluster.scheduler_address
    assert facts[0]["workers"] == 2


def test_a_scheduler_file_is_followed(cluster, tiny_store, tiny_run, tmp_path):
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"type": "Scheduler", "address": cluster.scheduler_address}))
    request = ClusterRequest(scheduler_file=str(file))
    run = train("tiny", tiny_store, tmp_path / "run", cluster=request)
    assert digest(run) == digest(tiny_run)


def test_two_runs_share_a_cluster_without_sharing_chunks(cluster, tiny_store, tiny_run, tmp_path):
    with Client(cluster, set_as_default=False) as client:
        train("tiny", tiny_store, tmp_path / "one", client=client)
        again = train("tiny", tiny_store, tmp_path / "two", client=client)
    assert digest(again) == digest(tiny_run)


def test_a_scheduler_without_workers_is_refused_and_nothing_is_written(tiny_store, tmp_path):
    with LocalCluster(
        n_workers=0,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as empty:
        request = ClusterRequest(scheduler=empty.scheduler_address)
        with pytest.raises(ClusterError, match="start `dask worker` first"):
            train("tiny", tiny_store, tmp_path / "run", cluster=request)
    assert not (tmp_path / "run").exists()


def test_a_scheduler_file_that_is_not_there_is_refused(tiny_store, tmp_path):
    request = ClusterRequest(scheduler_file=str(tmp_path / "none.json"))
    with pytest.raises(ClusterError, match=r"none\.json"):
        train("tiny", tiny_store, tmp_path / "run", cluster=request)


def test_work_is_given_a_client_of_the_embedded_cluster():
    def count(base, *, client):
        return base + client.submit(sum, [1, 2]).result()

    request = ClusterRequest(workers=1, processes=False)
    assert with_client(request, count, 4) == 7


async def _inside_a_loop(work):
    return work()


def test_training_may_be_called_where_an_event_loop_runs(tiny_store, tiny_run, tmp_path):
    run = asyncio.run(
        _inside_a_loop(
            lambda: train(
                "tiny",
                tiny_store,
                tmp_path / "run",
                cluster=ClusterRequest(workers=1, processes=False),
            )
        )
    )
    assert digest(run) == digest(tiny_run)
