"""Processes killed for real, signals, hung workers, full disks, damaged commits: the same bits."""

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress

import psutil
import pytest

from tests.conftest import THREADS
from tests.training.processes import (
    command,
    finished,
    running_cluster,
    until,
    until_block,
    workers_below,
)
from yfccdask.config import load_config
from yfccdask.data.checkpoints import list_commits, verify_run
from yfccdask.data.commit_checks import file_digest, sealed
from yfccdask.data.commits import commit_folder, commit_numbers, has_finished
from yfccdask.data.digests import digest
from yfccdask.data.events import read_events
from yfccdask.data.runs import open_run
from yfccdask.errors import DamagedCommit, ForeignCommit
from yfccdask.training import loop
from yfccdask.training.pipeline.state_machine import Progress
from yfccdask.training.run_overviews import overview
from yfccdask.training.start import resume, train

SETTINGS = [
    "layers.0.passes=15",
    "checkpoints.every_blocks=4",
    "checkpoints.most_share=null",
    "checkpoints.keep=3",
]


@pytest.fixture(scope="module")
def undisturbed(tiny_store, tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    return digest(train(load_config("tiny", SETTINGS), tiny_store, path, cluster=THREADS))


def train_command(store, run, *where, settings=SETTINGS):
    changes = [text for each in settings for text in ("--set", each)]
    what = ("train", "tiny", "--data", store.path, "--run", run, "--json")
    return command(*what, *changes, *where)


def blocks_of(run):
    return [e for e in read_events(run / "events.jsonl") if e["event"] == "block"]


def assert_resumes(run, undisturbed):
    assert not has_finished(run)
    assert not any(check.damages for check in verify_run(run, deep=True))
    assert digest(resume(run, cluster=THREADS)).arrays == undisturbed.arrays


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name", ["SIGTERM", pytest.param("SIGUSR1", marks=SLOW), pytest.param("SIGINT", marks=SLOW)]
)
def test_a_signal_commits_and_ends_with_75(tiny_store, undisturbed, tmp_path, name):
    run = tmp_path / "run"
    process = train_command(tiny_store, run, "--workers", 1)
    until_block(process, 5)
    send = os.kill if name == "SIGUSR1" else os.killpg  # the others go to a whole job, or terminal
    send(process.pid, getattr(signal, name))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "yfccdask resume" in err
    assert "Traceback" not in err
    assert overview(run).state == "stopped"
    assert_resumes(run, undisturbed)
    ticks = [(event["layer"], event["tick"]) for event in blocks_of(run)]
    assert len(ticks) == len(set(ticks))


def test_an_embedded_run_that_is_killed_leaves_no_process_and_goes_on(
    tiny_store, undisturbed, tmp_path
):
    run = tmp_path / "run"
    process = train_command(tiny_store, run, "--workers", 2)
    until_block(process, 9)
    workers = workers_below(process.pid)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    until(lambda: not any(map(alive, workers)))
    assert overview(run).state == "interrupted"
    assert overview(run).commit >= 2
    assert_resumes(run, undisturbed)


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_a_killed_client_leaves_training_alone(tiny_store, undisturbed, tmp_path):
    run = tmp_path / "run"
    with running_cluster(tmp_path) as (file, _):
        process = train_command(tiny_store, run, "--scheduler-file", file)
        until_block(process, 3)
        process.kill()
        process.communicate()
        finished("attach", run)
    assert has_finished(run)
    assert digest(run).arrays == undisturbed.arrays
    assert len(blocks_of(run)) == 60 + 8


@pytest.mark.slow
def test_a_killed_scheduler_is_noticed_and_another_one_goes_on(tiny_store, undisturbed, tmp_path):
    run = tmp_path / "run"
    with running_cluster(tmp_path) as (file, processes):
        process = train_command(tiny_store, run, "--scheduler-file", file)
        until_block(process, 9)
        processes["scheduler"].kill()
        _, err = process.communicate(timeout=100)
        assert process.returncode == 1
        assert "yfccdask resume" in err
        assert "Traceback" not in err
    assert overview(run).state == "interrupted"
    assert_resumes(run, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGUSR1", "SIGTERM"])
def test_a_scheduler_that_is_told_to_stop_commits_the_run(tiny_store, undisturbed, tmp_path, name):
    run = tmp_path / "run"
    with running_cluster(tmp_path) as (file, processes):
        process = train_command(tiny_store, run, "--scheduler-file", file)
        until_block(process, 5)
        processes["scheduler"].send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=100)
        assert process.returncode in ((75,) if name == "SIGUSR1" else (75, 1)), err
        if name == "SIGTERM":
            processes["scheduler"].wait(60)
        else:
            assert processes["scheduler"].poll() is None
    assert overview(run).state == "stopped"
    assert_resumes(run, undisturbed)


@pytest.mark.slow
def test_a_hung_worker_is_given_up_after_a_bounded_time(tiny_store, undisturbed, tmp_path):
    run = tmp_path / "run"
    settings = [*SETTINGS, "recovery.patience=3"]
    process = train_command(tiny_store, run, "--workers", 2, settings=settings)
    until_block(process, 5)
    os.kill(workers_below(process.pid)[0], signal.SIGSTOP)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    lost = [event for event in read_events(run / "events.jsonl") if event["event"] == "lost"]
    assert "nothing was done for" in lost[0]["text"]
    assert digest(run).arrays == undisturbed.arrays


@contextmanager
def small_disk(folder, size):
    """A file system of its own, of so many bytes."""
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(line, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("expected to be allowed to mount a small tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_an_error_with_path_and_bytes_and_nothing_is_lost(
    tiny_store, undisturbed, tmp_path
):
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        ballast, run = disk / "ballast", disk / "run"
        process = train_command(tiny_store, run, "--workers", 1, settings=[*SETTINGS, "seed=0"])
        until_block(process, 9)
        fill(ballast)
        _, err = process.communicate(timeout=100)
        assert process.returncode == 1, err
        assert str(run) in err
        assert "bytes" in err
        assert "make room, then `yfccdask resume" in err
        assert "Traceback" not in err
        ballast.unlink()
        assert_resumes(run, undisturbed)
        shutil.copytree(run, tmp_path / "run")


def fill(path):
    """Write zeros until there is no room."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def stopped(store, path, settings=()):
    """A run with several commits that is not finished."""

    class Enough(Exception):
        pass

    def follow(event):
        if event["event"] == "block" and event["tick"] == 18:
            raise Enough

    config = load_config("tiny", [*SETTINGS, "checkpoints.grace=0", *settings])
    with pytest.raises(Enough):
        train(config, store, path, cluster=THREADS, on_event=follow)
    return open_run(path)


@pytest.mark.parametrize("harm", ["flipped", "removed"])
def test_a_damaged_commit_is_named_skipped_and_set_aside(tiny_store, undisturbed, tmp_path, harm):
    run = stopped(tiny_store, tmp_path / "run")
    newest, before = commit_numbers(run.checkpoints)[:2]
    chunk = commit_folder(run.checkpoints, newest) / "layer-1.zarr/weights/c/0/0/0/0"
    if harm == "removed":
        chunk.unlink()
    else:
        data = bytearray(chunk.read_bytes())
        data[5] ^= 4
        chunk.write_bytes(data)
    (check,) = (check for check in verify_run(run, deep=True) if check.damages)
    assert "layer 1, weights, chunk (0, 0, 0, 0)" in str(check.damages[0])
    events = []
    resumed = resume(run, cluster=THREADS, on_event=events.append)
    (warning,) = (event["text"] for event in events if event["event"] == "warning")
    assert "layer 1, weights, chunk (0, 0, 0, 0)" in warning
    assert "going on from the commit before it" in warning
    assert next(event for event in events if event["event"] == "resume")["commit"] == before
    assert digest(resumed).arrays == undisturbed.arrays
    assert list_commits(run)[-1].state == "set aside"


def test_a_run_whose_commits_are_all_damaged_is_not_begun_again(tiny_store, tmp_path):
    run = stopped(tiny_store, tmp_path / "run")
    numbers = commit_numbers(run.checkpoints)
    for number in numbers:
        (commit_folder(run.checkpoints, number) / "manifest.json").unlink()
    with pytest.raises(DamagedCommit, match="expected a commit that can be read"):
        resume(run, cluster=THREADS)
    assert commit_numbers(run.checkpoints) == numbers


def test_a_commit_of_another_version_is_refused_and_left_where_it_is(tiny_store, tmp_path):
    run = stopped(tiny_store, tmp_path / "run")
    numbers = commit_numbers(run.checkpoints)
    manifest = commit_folder(run.checkpoints, numbers[0]) / "manifest.json"
    text = manifest.read_text().replace('"format_version": 3', '"format_version": 4')
    manifest.write_text(text)
    seal = sealed({"manifest_sha256": file_digest(manifest)})
    manifest.with_name("manifest.sha256").write_text(seal)
    with pytest.raises(ForeignCommit, match="use the yfccdask that wrote it"):
        resume(run, cluster=THREADS)
    assert commit_numbers(run.checkpoints) == numbers


def test_a_wrong_data_position_is_seen_in_the_digests(
    tiny_store, undisturbed, tmp_path, monkeypatch
):
    run = stopped(tiny_store, tmp_path / "run")

    class Wrong(Progress):
        @classmethod
        def from_dict(cls, found):
            return Progress.from_dict({**found, "tick": found["tick"] - 1})

    monkeypatch.setattr(loop, "Progress", Wrong)
    resumed = resume(run, cluster=THREADS)
    assert digest(resumed).arrays != undisturbed.arrays
