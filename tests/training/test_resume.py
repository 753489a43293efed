"""A run that was stopped anywhere goes on to the same bits, on any number of workers."""

import os
import signal

import numpy as np
import psutil
import pytest
import yaml

from tests.conftest import THREADS
from yfccdask.config import load_config
from yfccdask.data import write_store
from yfccdask.data.digests import digest
from yfccdask.data.events import read_events
from yfccdask.data.runs import open_run
from yfccdask.errors import LostChunk, RunError, StoreError
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import resume, train

OTHERS = ClusterRequest(workers=3, processes=False)
NO_GRACE = "checkpoints.grace=0"
EVERY_TWO = ["checkpoints.every_blocks=2", "checkpoints.most_share=null"]
STAGGERED = ["pipeline.start=after_blocks", "pipeline.after_blocks=3", "pipeline.sync_every=3"]
MODES = {
    "sequential": [],
    "staggered": STAGGERED,
    "weights on disk": ["engine.weights=disk", "engine.chunk=[2, 3]"],
    "fields in memory": ["engine.stage_fields=memory"],
    "half momentum": [*STAGGERED, "arithmetic.momentum=half"],
}


class Stopped(Exception):
    pass


def stop_at(tick):
    def follow(event):
        if event["event"] == "block" and event["tick"] == tick:
            raise Stopped

    return follow


def stopped_run(config, store, path, tick):
    with pytest.raises(Stopped):
        train(config, store, path, cluster=THREADS, on_event=stop_at(tick))
    return open_run(path)


def trained_again(run):
    """How many blocks were trained more than once, because a session was cut off."""
    blocks = [e for e in read_events(run.path / "events.jsonl") if e["event"] == "block"]
    return len(blocks) - len({(event["layer"], event["tick"]) for event in blocks})


def assert_same(resumed, whole):
    assert digest(resumed).arrays == digest(whole).arrays
    for layer in (1, 2, 3):
        terms = ["reconstruction", "sparsity"]
        assert resumed.curves(layer)[terms].equals(whole.curves(layer)[terms])


@pytest.fixture(scope="module")
def staggered_run(tiny_store, tmp_path_factory):
    config = load_config("tiny", STAGGERED)
    return train(config, tiny_store, tmp_path_factory.mktemp("whole") / "run", cluster=THREADS)


@pytest.fixture(scope="module")
def half_run(tiny_store, tmp_path_factory):
    """On two workers, its dense layer in chunks; those that resume have one or three."""
    config = load_config("tiny", [*MODES["half momentum"], "engine.chunk_leaves=1"])
    path = tmp_path_factory.mktemp("half") / "run"
    return train(config, tiny_store, path, cluster=ClusterRequest(workers=2, processes=False))


@pytest.fixture
def whole(mode, request):
    """The undisturbed run of a mode: where weights and fields lie changes no bits."""
    others = {"staggered": "staggered_run", "half momentum": "half_run"}
    return request.getfixturevalue(others.get(mode, "tiny_run"))


SLOWLY = [
    pytest.param(mode, marks=[pytest.mark.slow] if mode == "half momentum" else [])
    for mode in MODES
]


@pytest.mark.parametrize("tick", [1, 6])
@pytest.mark.parametrize("mode", SLOWLY)
def test_a_run_that_was_cut_off_goes_on_to_the_same_bits(tiny_store, tmp_path, mode, tick, whole):
    config = load_config("tiny", [*MODES[mode], *EVERY_TWO, NO_GRACE])
    stopped = stopped_run(config, tiny_store, tmp_path / "stopped", tick)
    events = []
    resumed = resume(stopped, cluster=OTHERS, on_event=events.append)
    assert_same(resumed, whole)
    began = next(event for event in events if event["event"] in ("start", "resume"))
    assert began.get("tick", 0) >= tick // 2 * 2


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_is_told_to_stop_commits_and_trains_nothing_twice(
    tiny_store, tmp_path, mode, whole
):
    config = load_config("tiny", MODES[mode])
    stopped = stopped_run(config, tiny_store, tmp_path / "stopped", 5)
    assert stopped.events()[-1]["reason"] == "stopped"
    assert not stopped.commit().finished
    resumed = resume(stopped, cluster=OTHERS)
    assert_same(resumed, whole)
    assert trained_again(resumed) == 0


def test_a_second_stop_is_no_different(tiny_store, tiny_run, tmp_path):
    config = load_config("tiny", [*EVERY_TWO, NO_GRACE])
    run = stopped_run(config, tiny_store, tmp_path / "run", 5)
    with pytest.raises(Stopped):
        resume(run, cluster=OTHERS, on_event=stop_at(9))
    assert digest(resume(run, cluster=THREADS)).arrays == digest(tiny_run).arrays


def test_only_the_newest_commits_are_kept(tiny_store, tmp_path):
    config = load_config(
        "tiny", ["checkpoints.every_blocks=1", "checkpoints.most_share=null", "checkpoints.keep=2"]
    )
    run = train(config, tiny_store, tmp_path / "run", cluster=THREADS)
    kept = sorted(path.name for path in run.checkpoints.iterdir())
    assert len(kept) == 2
    assert run.commit().path.name == kept[-1]
    assert run.commit().finished


def test_a_finished_run_is_not_resumed(tiny_run):
    with pytest.raises(RunError, match="has finished"):
        resume(tiny_run, cluster=THREADS)


def test_another_store_is_refused(tiny_store, tmp_path, rng):
    images = rng.integers(0, 256, size=(24, 20, 20, 3), dtype=np.uint8)
    write_store(images, tmp_path / "store", block_size=12)
    run = stopped_run(load_config("tiny"), tmp_path / "store", tmp_path / "run", 1)
    (tmp_path / "store").rename(tmp_path / "aside")
    with pytest.raises(StoreError):
        resume(run, cluster=THREADS)
    write_store(255 - images, tmp_path / "store", block_size=12)
    with pytest.raises(StoreError, match="digest"):
        resume(run, cluster=THREADS)


def test_a_resume_elsewhere_warns(tiny_store, tmp_path):
    run = stopped_run(load_config("tiny"), tiny_store, tmp_path / "run", 1)
    file = run.path / "config.yaml"
    tree = yaml.safe_load(file.read_text())
    tree["provenance"]["blas"][0]["architecture"] = "Sandybridge"
    tree["provenance"]["versions"]["numpy"] = "1.0"
    file.write_text(yaml.safe_dump(tree))
    events = []
    resume(run.path, cluster=THREADS, on_event=events.append)
    texts = [event["text"] for event in events if event["event"] == "warning"]
    assert any(text.startswith("BLAS 0 architecture: Sandybridge then") for text in texts)
    assert any(text.startswith("numpy: 1.0 then") for text in texts)
    assert len(texts) == 2


def killing(tick, killed):
    """Follow a run, and kill one of its workers at a tick."""

    def follow(event):
        if event["event"] == "block" and event["tick"] == tick and not killed:
            killed.append(worker_processes()[0])
            os.kill(killed[0], signal.SIGKILL)

    return follow


def worker_processes():
    """The process ids of the embedded workers below this process."""
    below = psutil.Process().children(recursive=True)
    return [process.pid for process in below if "spawn_main" in " ".join(process.cmdline())]


TWO = ClusterRequest(workers=2)
COMMITTING = [*EVERY_TWO, "engine.chunk=[1, 2]"]


def test_a_run_that_loses_a_worker_goes_on_by_itself(tiny_store, tiny_run, tmp_path):
    killed, config = [], load_config("tiny", COMMITTING)
    run = train(config, tiny_store, tmp_path / "run", cluster=TWO, on_event=killing(3, killed))
    assert killed
    assert "gone" in run.events("lost")[0]["text"]
    assert digest(run).arrays == digest(tiny_run).arrays


@pytest.mark.slow
def test_a_run_without_attempts_ends_resumable_with_the_first_loss(tiny_store, tiny_run, tmp_path):
    killed, config = [], load_config("tiny", [*COMMITTING, "recovery.attempts=0"])
    with pytest.raises(LostChunk, match="yfccdask resume") as caught:
        train(config, tiny_store, tmp_path / "run", cluster=TWO, on_event=killing(3, killed))
    assert killed
    assert caught.value.exit_code == 75
    assert open_run(tmp_path / "run").events()[-1]["error"] == "LostChunk"
    assert digest(resume(tmp_path / "run", cluster=THREADS)).arrays == digest(tiny_run).arrays
