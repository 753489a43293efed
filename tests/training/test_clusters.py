"""Where training runs: a client of one's own, an address, a scheduler file; and what is refused."""

import asyncio
import json

import pytest
from distributed import Client, Security

from tests.conftest import threads_cluster
from yfccdask.data.digests import digest
from yfccdask.errors import ClusterError
from yfccdask.training.clusters import (
    ClusterRequest,
    connections,
    embedded,
    embedded_cluster,
    embedded_options,
)
from yfccdask.training.start import train, with_client


@pytest.fixture(scope="module")
def cluster():
    with threads_cluster() as cluster:
        yield cluster


def test_a_client_s_cluster_gives_the_same_digest(cluster, tiny_store, tiny_run, tmp_path):
    facts = []
    with (
        Client(cluster, set_as_default=False) as client,
        pytest.warns(UserWarning, match="closing it .* ends the run"),
    ):
        run = train("tiny", tiny_store, tmp_path / "run", client=client, on_connect=facts.append)
    assert facts[0]["ends_with_this_process"]
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
    with threads_cluster(0) as empty:
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


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "fe80::1", "some-host"])
def test_a_host_that_others_reach_is_refused_without_tls(host):
    with pytest.raises(ClusterError, match="run any code as its user"):
        ClusterRequest(host=host)
    assert embedded_options(ClusterRequest(host=host, insecure=True))["host"] == host


@pytest.mark.parametrize("host", [None, "localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_needs_nothing(host):
    options = embedded_options(ClusterRequest(host=host))
    assert options["host"] == (host or "127.0.0.1")
    assert options["protocol"] == "tcp"
    assert options["dashboard_address"] == "127.0.0.1:0"


def test_security_with_a_certificate_opens_a_host_but_no_dashboard():
    files = {"tls_ca_file": "ca.pem", "tls_scheduler_cert": "cert.pem"}
    security = Security(require_encryption=True, **files)
    options = embedded_options(ClusterRequest(host="10.0.0.5", security=security))
    assert (options["host"], options["protocol"]) == ("10.0.0.5", "tls")
    assert options["dashboard_address"] == "127.0.0.1:0"
    assert options["worker_dashboard_address"] == "127.0.0.1:0"


def test_security_that_encrypts_nothing_opens_no_host():
    with pytest.raises(ClusterError, match="run any code as its user"):
        ClusterRequest(host="10.0.0.5", security=Security())


def test_insecure_opens_the_dashboard_too():
    options = embedded_options(ClusterRequest(host="::", insecure=True))
    assert options["dashboard_address"] == "[::]:0"


@pytest.mark.parametrize("kind", [{"scheduler": "tcp://a:1"}, {"scheduler_file": "a.json"}])
@pytest.mark.parametrize("wish", [{"host": "127.0.0.1"}, {"insecure": True}, {"protocol": "tcp"}])
def test_a_cluster_that_runs_already_is_told_nothing_of_hosts(kind, wish):
    assert not ClusterRequest(**kind).embedded
    with pytest.raises(ClusterError, match="embedded cluster"):
        ClusterRequest(**kind, **wish)


def test_half_of_the_tls_files_are_refused():
    with pytest.raises(ClusterError, match="together with"):
        ClusterRequest(tls_ca_file="ca.pem")
    with pytest.raises(ClusterError, match="together with"):
        ClusterRequest(tls_cert="cert.pem", tls_key="key.pem")


def test_tls_files_that_are_absent_or_no_certificates_are_refused(tmp_path):
    nothing = tmp_path / "nothing.pem"
    with pytest.raises(ClusterError, match=r"nothing\.pem"):
        ClusterRequest(tls_ca_file=str(nothing), tls_cert=str(nothing))
    nothing.write_text("no certificate")
    with pytest.raises(ClusterError, match=r"nothing\.pem"):
        ClusterRequest(tls_ca_file=str(nothing), tls_cert=str(nothing))


class FakeCluster(dict):
    """Remembers what it was made with, and starts nothing."""


@pytest.fixture
def machine(monkeypatch):
    """Sets how many GPUs there are and which packages are installed, and takes clusters' place."""

    def change(gpus, *packages):
        monkeypatch.setattr(embedded, "count_devices", lambda: gpus)
        monkeypatch.setattr(embedded, "find_spec", lambda name: name in packages or None)

    monkeypatch.setattr(embedded, "LocalCluster", type("Cores", (FakeCluster,), {}))
    gpus = type("Gpus", (FakeCluster,), {})
    monkeypatch.setattr(embedded, "cuda_cluster_class", lambda: gpus)
    return change


def kind(**wish):
    return type(embedded_cluster(ClusterRequest(**wish))).__name__


def test_work_for_gpus_gets_them_and_other_work_gets_cores(machine):
    machine(4, *embedded.FOR_GPUS)
    assert kind(device="gpu") == "Gpus"
    assert kind(device="cpu") == kind() == "Cores"
    assert kind(device="gpu", processes=False) == "Cores"  # threads, for tests
    machine(0)
    assert kind() == "Cores"


def test_a_gpu_gets_one_worker_of_one_thread_and_a_pool_that_cupy_uses(machine):
    machine(4, *embedded.FOR_GPUS)
    made = embedded_cluster(ClusterRequest(device="gpu", memory="20GB", pool="60GB"))
    assert (made["n_workers"], made["threads_per_worker"], made["memory_limit"]) == (4, 1, "20GB")
    assert made["rmm_pool_size"] == "60GB"
    assert made["rmm_allocator_external_lib_list"] == ["cupy"]
    assert (made["device_memory_limit"], made["data"]) == (0, dict)  # nothing is spilled
    assert (made["host"], made["protocol"]) == ("127.0.0.1", "tcp")
    assert "processes" not in made
    two = embedded_cluster(ClusterRequest(device="gpu", workers=2, pool=None))
    assert two["n_workers"] == 2
    assert "rmm_pool_size" not in two


@pytest.mark.parametrize(
    ("gpus", "packages", "wish", "said"),
    [
        (0, embedded.FOR_GPUS, {}, r"nvidia-smi.*unset.*--device cpu"),
        (2, ("cupy", "rmm"), {}, r"no dask_cuda: pip install 'yfccdask\[cuda12\]'"),
        (2, embedded.FOR_GPUS, {"workers": 3}, "at most 2 workers, one per GPU, found 3"),
    ],
)
def test_gpus_that_can_t_be_had_are_refused_and_not_replaced(
    machine, monkeypatch, gpus, packages, wish, said
):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine(gpus, *packages)
    with pytest.raises(ClusterError, match=said):
        kind(device="gpu", **wish)


def test_a_run_for_gpus_is_refused_without_one(machine, tiny_store, tmp_path):
    machine(0)
    with pytest.raises(ClusterError, match="expected a GPU"):
        train("tiny", tiny_store, tmp_path / "run", cluster=ClusterRequest(device="gpu"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("memory", ["10MB", "0.3 GB", 10**8])
def test_a_worker_of_less_memory_than_it_starts_with_is_refused(memory):
    with pytest.raises(ClusterError, match="at least 320 MB"):
        ClusterRequest(memory=memory)


@pytest.mark.parametrize("memory", [None, "auto", "0", "320MB", "0.5"])
def test_memory_may_be_enough_a_share_or_without_a_limit(memory):
    assert ClusterRequest(memory=memory).memory == memory


def test_ucx_is_spoken_where_it_is_installed_and_never_with_tls(machine):
    machine(1, *embedded.FOR_GPUS)
    request = ClusterRequest(device="gpu", protocol="ucxx")
    with pytest.raises(ClusterError, match="distributed-ucxx"):
        embedded_cluster(request)
    machine(1, *embedded.FOR_GPUS, "distributed_ucxx")
    assert embedded_cluster(request)["protocol"] == "ucxx"
    security = Security(require_encryption=True, tls_ca_file="a.pem", tls_scheduler_cert="b.pem")
    with pytest.raises(ClusterError, match="UCX does not encrypt"):
        ClusterRequest(protocol="ucxx", security=security)
    with pytest.raises(ClusterError, match="run any code as its user"):
        ClusterRequest(protocol="ucxx", host="10.0.0.5")
    with pytest.raises(ClusterError, match="a protocol of tcp or ucxx, found 'ucx'"):
        ClusterRequest(protocol="ucx")


def test_a_batch_job_waits_for_its_workers(cluster, tmp_path, monkeypatch):
    async def workers_seen(**where):
        async with connections.connect(ClusterRequest(**where)) as client:
            return len((await client.scheduler.identity(n_workers=-1))["workers"])

    monkeypatch.setattr(connections, "AWAITED_SECONDS", 0.3)
    address = cluster.scheduler_address
    assert asyncio.run(workers_seen(scheduler=address, await_workers=2)) == 2
    with pytest.raises(ClusterError, match=r"expected 3 workers .* found 2"):
        asyncio.run(workers_seen(scheduler=address, await_workers=3))
    with pytest.raises(ClusterError, match=r"none\.json"):
        asyncio.run(workers_seen(scheduler_file=str(tmp_path / "none.json"), await_workers=1))
    with pytest.raises(ClusterError, match="name it"):
        ClusterRequest(await_workers=1)


class LateCluster:
    """A cluster that does not end in time."""

    async def __aenter__(self):
        return self

    async def close(self):
        raise TimeoutError


def test_a_cluster_that_ends_late_is_no_failure_of_the_work():
    async def work(outcome):
        async with connections.closed_patiently(LateCluster()):
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

    assert asyncio.run(work("done")) == "done"
    with pytest.raises(TimeoutError, match="of the work itself"):
        asyncio.run(work(TimeoutError("of the work itself")))
