"""A run that was stopped anywhere goes on to the same bits, on any number of workers."""

import os
import signal

import numpy as np
import pytest
import yaml

from tests.conftest import THREADS
from yfccdask.config import load_config
from yfccdask.data import write_store
from yfccdask.data.digests import digest
from yfccdask.data.runs import open_run
from yfccdask.errors import LostChunk, RunError, StoreError
from yfccdask.training import loop
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import resume, train

OTHERS = ClusterRequest(workers=3, processes=False)
STAGGERED = ["pipeline.start=after_blocks", "pipeline.after_blocks=3", "pipeline.sync_every=3"]
MODES = {
    "sequential": [],
    "staggered": STAGGERED,
    "weights on disk": ["engine.weights=disk", "engine.chunk=[2, 3]"],
    "fields in memory": ["engine.stage_fields=memory"],
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


@pytest.mark.parametrize("tick", [1, 6])
@pytest.mark.parametrize("mode", MODES)
def test_a_stopped_run_goes_on_to_the_same_bits(tiny_store, tmp_path, mode, tick):
    config = load_config("tiny", [*MODES[mode], "checkpoints.every_blocks=2"])
    whole = train(config, tiny_store, tmp_path / "whole", cluster=THREADS)
    stopped = stopped_run(config, tiny_store, tmp_path / "stopped", tick)
    events = []
    resumed = resume(stopped, cluster=OTHERS, on_event=events.append)
    assert digest(resumed).arrays == digest(whole).arrays
    for layer in (1, 2, 3):
        terms = ["reconstruction", "sparsity"]
        assert resumed.curves(layer)[terms].equals(whole.curves(layer)[terms])
    began = next(event for event in events if event["event"] in ("start", "resume"))
    assert began.get("tick", 0) == tick // 2 * 2


def test_a_second_stop_is_no_different(tiny_store, tiny_run, tmp_path):
    config = load_config("tiny", ["checkpoints.every_blocks=2"])
    run = stopped_run(config, tiny_store, tmp_path / "run", 5)
    with pytest.raises(Stopped):
        resume(run, cluster=OTHERS, on_event=stop_at(9))
    assert digest(resume(run, cluster=THREADS)).arrays == digest(tiny_run).arrays


def test_only_the_newest_commits_are_kept(tiny_store, tmp_path):
    config = load_config("tiny", ["checkpoints.every_blocks=1", "checkpoints.keep=2"])
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


def test_a_lost_worker_ends_the_session_and_a_resume_repairs_it(
    tiny_store, tiny_run, tmp_path, monkeypatch
):
    killed = []

    async def kill(self, tick, submitted, original=loop.Trainer.record):
        await original(self, tick, submitted)
        if tick.number == 3 and not killed:
            pids = await self.client.run(os.getpid)
            killed.append(pids.popitem()[1])
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(loop.Trainer, "record", kill)
    config = load_config("tiny", ["checkpoints.every_blocks=2", "engine.chunk=[1, 2]"])
    with pytest.raises(LostChunk, match="yfccdask resume"):
        train(config, tiny_store, tmp_path / "run", cluster=ClusterRequest(workers=2))
    assert killed
    assert digest(resume(tmp_path / "run", cluster=THREADS)).arrays == digest(tiny_run).arrays
