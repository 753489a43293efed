"""A run on a scheduler: started, followed, refused a second, paused, resumed, stopped."""

import time

import pytest
from distributed import Client, span

from tests.conftest import threads_cluster
from yfccdask.config import load_config
from yfccdask.data.digests import digest
from yfccdask.data.events import read_events
from yfccdask.data.run_locks import holder_of
from yfccdask.data.runs import open_run
from yfccdask.errors import ClusterBusy, ClusterError, RunError, RunHeld, Stopped, VersionMismatch
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.compatibility import process_versions
from yfccdask.training.control.controller import Controller, forget_task_groups
from yfccdask.training.control.live import attach
from yfccdask.training.run_overviews import overview
from yfccdask.training.start import on_cluster, resume, train

LONG = ["layers.0.passes=25", "checkpoints.every_blocks=50", "preprocessing.whitening=null"]
SHORT = ["layers.0.passes=15", "preprocessing.whitening=null"]


@pytest.fixture
def cluster():
    with threads_cluster() as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster, set_as_default=False) as client:
        yield client


def place(cluster):
    return ClusterRequest(scheduler=cluster.scheduler_address)


def detached(cluster, store, path, settings=LONG):
    config = load_config("tiny", settings)
    return train(config, store, path, cluster=place(cluster), follow=False)


def until(condition, seconds=60):
    """Wait until something is so; it must be so in the end."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_detached_run_goes_on_and_is_followed_to_its_end(cluster, client, tiny_store, tmp_path):
    run = detached(cluster, tiny_store, tmp_path / "run", SHORT)
    events = []
    assert attach(client).follow(events.append).path == run.path
    assert events[0]["event"] == "attach"
    assert events[-1]["reason"] == "finished"
    serials = [event["serial"] for event in events[1:]]
    assert serials == sorted(set(serials))
    assert attach(client).status()["ended"] == {"reason": "finished"}
    alone = train(
        load_config("tiny", SHORT), tiny_store, tmp_path / "alone", cluster=place(cluster)
    )
    assert digest(run) == digest(alone)


def test_a_second_start_is_refused_with_the_run_that_holds_the_cluster(
    cluster, client, tiny_store, tmp_path
):
    run = detached(cluster, tiny_store, tmp_path / "first")
    with pytest.raises(ClusterBusy, match=f"found {run.path}") as caught:
        detached(cluster, tiny_store, tmp_path / "second")
    assert caught.value.exit_code == 1
    assert not (tmp_path / "second").exists()
    with pytest.raises(RunError, match="yfccdask resume"):
        detached(cluster, tiny_store, run.path)
    with pytest.raises(ClusterBusy, match="yfccdask attach"):
        resume(run, cluster=place(cluster))
    attach(client).stop()
    with pytest.raises((Stopped, ClusterError)):
        attach(client).follow()


def test_a_run_that_somebody_trains_is_not_trained_elsewhere(cluster, tiny_store, tmp_path):
    run = detached(cluster, tiny_store, tmp_path / "run")
    with pytest.raises(RunHeld, match=cluster.scheduler_address):
        resume(run, cluster=ClusterRequest(workers=1, processes=False))
    attach(run.path).stop()


def test_a_paused_run_is_committed_keeps_still_and_goes_on(cluster, client, tiny_store, tmp_path):
    run, live = detached(cluster, tiny_store, tmp_path / "run"), attach(client)
    until(lambda: live.status()["layers"] and live.status()["layers"][0]["blocks"] > 3)
    assert live.pause()["state"] in ("pausing", "paused")
    until(lambda: live.status()["state"] == "paused")
    tick = live.status()["tick"]
    assert overview(run.path).state == "paused"
    assert run.commit().state["tick"] == tick
    assert live.pause()["state"] == "paused"
    time.sleep(0.5)
    assert live.status()["tick"] == tick
    assert resume(run.path, follow=False).path == run.path
    assert live.status()["state"] == "running"
    assert live.follow().path == run.path
    alone = train(load_config("tiny", LONG), tiny_store, tmp_path / "alone", cluster=place(cluster))
    assert digest(run).arrays == digest(alone).arrays
    blocks = [e for e in read_events(run.path / "events.jsonl") if e["event"] == "block"]
    assert len(blocks) == sum(live.status()["layers"][n]["of"] for n in range(3))


def test_a_stopped_run_commits_and_is_resumed_from_there(cluster, client, tiny_store, tmp_path):
    run, live = detached(cluster, tiny_store, tmp_path / "run"), attach(client)
    until(lambda: live.status()["layers"] and live.status()["layers"][0]["blocks"] > 3)
    live.stop()
    until(lambda: live.status()["state"] == "idle")
    assert live.status()["ended"] == {"reason": "stopped"}
    assert overview(run.path).state == "stopped"
    assert holder_of(run.path) is None
    with pytest.raises(RunError, match="nobody trains it"):
        attach(run.path)
    events = []
    resume(run, cluster=place(cluster), on_event=events.append)
    assert events[0]["event"] == "resume"
    assert events[0]["tick"] > 3
    assert overview(run.path).state == "finished"


def test_a_paused_run_can_be_stopped(cluster, client, tiny_store, tmp_path):
    run, live = detached(cluster, tiny_store, tmp_path / "run"), attach(client)
    live.pause()
    until(lambda: live.status()["state"] == "paused")
    live.stop()
    until(lambda: live.status()["state"] == "idle")
    assert overview(run.path).state == "stopped"


def test_a_scheduler_that_closes_commits_first(tiny_store, tmp_path):
    with threads_cluster(1) as cluster:
        run = detached(cluster, tiny_store, tmp_path / "run")
        with Client(cluster, set_as_default=False) as client:
            live = attach(client)
            until(lambda: live.status()["layers"] and live.status()["layers"][0]["blocks"] > 3)
            cluster.sync(cluster.scheduler.plugins[Controller.name].before_close)
    assert overview(run.path).state == "stopped"
    assert run.commit().state["tick"] > 3


def test_a_client_of_another_protocol_is_refused(cluster, client, monkeypatch):
    client.register_plugin(Controller())
    monkeypatch.setattr("yfccdask.training.control.protocol.PROTOCOL", 99)

    async def answer():
        asked = {"command": "status", "protocol": 98}
        return await cluster.scheduler.plugins[Controller.name].answer(asked)

    refused = cluster.sync(answer)
    assert refused["error"] == "ClusterError"
    assert (
        "expected messages of protocol 99, found 98: install the same yfccdask" in refused["text"]
    )


def test_a_client_of_another_version_is_refused_before_anything_is_written(
    cluster, client, tiny_store, tmp_path, monkeypatch
):
    other = process_versions() | {"dask": "0.1"}
    monkeypatch.setattr("yfccdask.training.control.live.process_versions", lambda: other)
    with pytest.raises(VersionMismatch, match="install dask"):
        detached(cluster, tiny_store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_scheduler_without_the_controller_says_how_to_get_it(cluster, client):
    with pytest.raises(ClusterError, match=r"--preload yfccdask\.preload"):
        attach(client).status()


def test_nothing_to_stop_is_an_error(cluster, client):
    client.register_plugin(Controller())
    assert attach(client).status()["state"] == "idle"
    with pytest.raises(RunError, match="expected a run in training on this cluster, found none"):
        attach(client).stop()
    with pytest.raises(ClusterError, match="found none"):
        attach(client).follow()


def test_the_accessor_s_table_escapes_what_a_path_may_hold(cluster, client, tiny_store, tmp_path):
    detached(cluster, tiny_store, tmp_path / "a <b>run", SHORT)
    page = attach(client)._repr_html_()
    assert "a &lt;b&gt;run" in page
    assert "<b>run" not in page
    assert "layer 1" in page
    attach(client).stop()


def test_the_accessor_works_with_an_asynchronous_client(cluster, client):
    client.register_plugin(Controller())

    async def state(live):
        return (await live.status())["state"], live._repr_html_()

    state, page = on_cluster(place(cluster), state)
    assert state == "idle"
    assert page.startswith("&lt;LiveRun")


def test_what_dask_remembers_of_forgotten_tasks_is_let_go(cluster, client):
    with span("one"):
        for number in range(8):
            client.submit(sum, [number, 1], key=f"group{number}-1").result()
    groups = [span.groups for span in cluster.scheduler.extensions["spans"].spans.values()]
    until(lambda: not cluster.scheduler.tasks)
    before = sum(map(len, groups))
    assert before >= 8
    assert cluster.sync(_forget, cluster.scheduler) >= 5
    assert sum(map(len, groups)) <= before - 5
    assert all(groups)


async def _forget(scheduler):
    return forget_task_groups(scheduler)


def test_an_open_run_is_no_other_than_its_folder(cluster, tiny_store, tmp_path):
    run = detached(cluster, tiny_store, tmp_path / "run", SHORT)
    assert open_run(run) is run
    assert attach(run).follow().path == run.path
