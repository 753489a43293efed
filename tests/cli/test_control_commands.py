"""``status``, ``attach``, ``pause``, ``stop``, ``runs``, ``checkpoint`` and ``dask yfccdask``."""

import json
import shutil
import signal
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.conftest import threads_cluster
from tests.training.processes import command, until, until_block
from yfccdask.cli.group import main
from yfccdask.config import load_config
from yfccdask.data.run_locks import hold_run
from yfccdask.training import clusters
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import train


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def own_run(tiny_run, tmp_path):
    """A copy of the tiny run that may be harmed."""
    return shutil.copytree(tiny_run.path, tmp_path / "own")


@pytest.fixture(scope="module")
def cluster():
    with threads_cluster() as cluster:
        yield cluster


@pytest.fixture
def detached_run(cluster, tiny_store, tmp_path):
    """A run in training that takes minutes; it is stopped afterwards."""
    config = load_config("tiny", ["layers.0.passes=900", "preprocessing.whitening=null"])
    place = ClusterRequest(scheduler=cluster.scheduler_address)
    run = train(config, tiny_store, tmp_path / "long", cluster=place, follow=False)
    yield run.path
    call("stop", run.path)
    until(lambda: state_of(run.path) in ("stopped", "finished"))


def state_of(run):
    return json.loads(call("status", run, "--json").output)["state"]


def test_a_run_is_found_by_its_folder_paused_and_stopped(detached_run):
    first = call("status", detached_run)
    assert first.exit_code == 0, first.output
    assert "on 2 workers" in first.output
    assert call("pause", detached_run).exit_code == 0
    until(lambda: state_of(detached_run) == "paused")
    assert "commit 1 at tick" in call("status", detached_run).output
    (row,) = json.loads(call("runs", detached_run.parent, "--json").output)["runs"]
    assert row["state"] == "paused"
    assert "scheduler tcp://127.0.0.1" in row["reason"]
    again = call("resume", detached_run, "--detach")
    assert again.exit_code == 0, again.output
    assert "yfccdask attach" in again.output
    assert state_of(detached_run) == "running"
    assert call("stop", detached_run).exit_code == 0
    until(lambda: state_of(detached_run) == "stopped")
    ended = call("stop", detached_run)
    assert ended.exit_code == 1
    assert "yfccdask resume" in ended.output


def test_attach_follows_to_the_end_and_75_says_that_it_was_stopped(cluster, detached_run):
    follower = command("attach", "--scheduler", cluster.scheduler_address, "--json")
    until_block(follower, 1)
    call("stop", detached_run)
    _, err = follower.communicate(timeout=60)
    assert follower.returncode == 75
    assert "stopped and resumable" in err


def test_ctrl_c_leaves_a_followed_run_alone(cluster, detached_run):
    follower = command("attach", "--scheduler", cluster.scheduler_address, "--json")
    until_block(follower, 1)
    follower.send_signal(signal.SIGINT)
    _, err = follower.communicate(timeout=60)
    assert follower.returncode == 0
    assert "the run goes on" in err
    assert state_of(detached_run) == "running"


def test_another_run_than_the_one_in_training_is_not_stopped(cluster, detached_run, tmp_path):
    refused = call("stop", tmp_path / "other", "--scheduler", cluster.scheduler_address)
    assert refused.exit_code == 1
    assert str(detached_run) in refused.output
    assert state_of(detached_run) == "running"


def test_a_cluster_that_never_trained_is_idle(tmp_path):
    with threads_cluster(0) as empty:
        answer = call("status", "--scheduler", empty.scheduler_address)
    assert answer.exit_code == 1
    assert "--preload yfccdask.preload" in answer.output


@pytest.mark.parametrize("name", ["status", "attach", "pause", "stop"])
def test_a_run_or_a_scheduler_has_to_be_named(name):
    assert call(name).exit_code == 2
    nowhere = call(name, "nowhere")
    assert nowhere.exit_code == 1
    assert "no such folder" in nowhere.output


def test_a_scheduler_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(clusters.connections, "CONNECT_TIMEOUT", "1s")
    gone = call("status", "--scheduler", "tcp://127.0.0.1:1")
    assert gone.exit_code == 1
    assert "expected a Dask scheduler at" in gone.output


def test_runs_says_why_each_ended(own_run):
    log = own_run / "events.jsonl"
    whole = call("runs", own_run.parent)
    assert "finished" in whole.output
    assert "8/8 4/4 4/4" in whole.output
    for later in ("00000002", "00000003"):
        shutil.rmtree(own_run / "checkpoints" / later)
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines[:-3]) + "\n")
    assert state_of(own_run) == "interrupted"
    end = {"event": "end", "time": 0.0, "reason": "failed", "text": "no space left"}
    log.write_text("\n".join([*lines[:-3], json.dumps(end)]) + "\n")
    (row,) = json.loads(call("runs", own_run.parent, "--json").output)["runs"]
    assert (row["state"], row["reason"], row["commit"]) == ("failed", "no space left", 1)
    with hold_run(own_run, {"host": "here", "pid": 1, "scheduler": "tcp://127.0.0.1:1"}):
        (row,) = json.loads(call("runs", own_run, "--json").output)["runs"]
    assert row["state"] == "training"
    (own_run / "config.yaml").write_text("nonsense: [")
    assert "unreadable" in call("runs", own_run.parent).output
    assert call("runs", own_run / "none").exit_code == 1


def test_checkpoints_are_listed_verified_pinned_and_pruned(own_run):
    listed = json.loads(call("checkpoint", "ls", own_run, "--json").output)["commits"]
    assert [each["number"] for each in listed] == [3, 2, 1]
    assert [each["layers"] for each in listed] == [3, 2, 1]
    assert call("checkpoint", "verify", "--deep", own_run).exit_code == 0
    chunk = own_run / "checkpoints/00000002/layer-2.zarr/offset/c/0/0/0"
    data = bytearray(chunk.read_bytes())
    data[0] ^= 1
    chunk.write_bytes(data)
    assert call("checkpoint", "verify", own_run).exit_code == 0  # of the same size
    deep = call("checkpoint", "verify", "--deep", own_run)
    assert deep.exit_code == 1
    assert "layer 2, offset, chunk (0, 0, 0)" in deep.output
    facts = json.loads(call("checkpoint", "verify", "--deep", own_run, "--json").output)
    assert [len(each["damages"]) for each in facts["commits"]] == [0, 1, 0]
    assert call("checkpoint", "pin", own_run, 1).exit_code == 0
    assert "pinned" in call("checkpoint", "ls", own_run).output
    gone = call("checkpoint", "prune", own_run, "--keep", 1)
    assert "00000002" in gone.output
    left = json.loads(call("checkpoint", "ls", own_run, "--json").output)["commits"]
    assert [each["number"] for each in left] == [3, 1]
    assert call("checkpoint", "unpin", own_run, 1).exit_code == 0
    assert call("checkpoint", "pin", own_run, 9).exit_code == 1
    (own_run / "LATEST").unlink()
    pointer = call("checkpoint", "verify", own_run)
    assert pointer.exit_code == 1
    assert "the pointer to the newest commit" in pointer.output


def test_the_group_is_a_command_of_dask():
    line = [sys.executable, "-m", "dask", "yfccdask", "--help"]
    shown = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "checkpoint" in shown.stdout


def listening(process):
    """The addresses that a process and those below it listen on."""
    every = [process, *process.children(recursive=True)]
    return {each.laddr.ip for one in every for each in doors(one)}


def doors(process):
    """The sockets that a process listens on; none once it has ended."""
    with suppress(psutil.NoSuchProcess):
        sockets = process.net_connections(kind="inet")
        return [each for each in sockets if each.status == psutil.CONN_LISTEN]
    return []


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "tiny", "--run", "RUN", "--set", "layers.0.passes=300", "--json"),
        ("ingest", "PHOTOS", "OUT", "--size", "200", "--crops-per-image", "2000"),
    ],
    ids=["train", "ingest"],
)
def test_every_listening_socket_is_on_loopback(arguments, tiny_store, tmp_path, photos):
    names = {"RUN": tmp_path / "run", "PHOTOS": photos, "OUT": tmp_path / "out"}
    line = [names.get(each, each) for each in arguments]
    line += ["--data", tiny_store.path] if "train" in arguments else []
    process = command(*line, "--workers", 2)
    try:
        own = psutil.Process(process.pid)
        until(lambda: process.poll() is not None or len(worker_sockets(own)) >= 2)
        found = listening(own)
        assert found
        assert found <= {"127.0.0.1", "::1"}
    finally:
        process.kill()
        process.communicate()


def worker_sockets(process):
    return [child for child in process.children(recursive=True) if doors(child)]


@pytest.fixture
def photos(tmp_path, rng):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        pixels = rng.integers(0, 256, size=(400, 400, 3), dtype="uint8")
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("name", ["train", "resume", "ingest", "report", "doctor", "demo"])
def test_another_host_is_refused_without_tls_by_every_command(name, tmp_path):
    needed = {
        "train": ("tiny", "--data", "x", "--run", "y"),
        "resume": ("x",),
        "ingest": ("x", "y"),
        "report": ("x",),
    }
    refused = call(name, *needed.get(name, ()), "--host", "0.0.0.0")
    assert refused.exit_code == 2
    assert "run any code as its user" in refused.output.replace("\n", " ")
