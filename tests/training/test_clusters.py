"""Where training runs: a client of one's own, an address, a scheduler file; and what is refused."""

import asyncio
import json

import pytest
from distributed import Client, Security

from tests.conftest import threads_cluster
from yfccdask.data.digests import digest
from yfccdask.errors import ClusterError
from yfccdask.training.clusters import ClusterRequest, embedded_options
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
@pytest.mark.parametrize("wish", [{"host": "127.0.0.1"}, {"insecure": True}])
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
