"""How long nothing may happen, who is missed, and what `status` counts."""

import asyncio
import time

import pytest

from yfccdask.errors import LostChunk
from yfccdask.training import watching
from yfccdask.training.clusters import ClusterRequest, connect
from yfccdask.training.planning.sites import workers_of
from yfccdask.training.tally import Tally
from yfccdask.training.watching import HungWorkers, Patience, lost_worker, while_all_stay


@pytest.fixture
def clock(monkeypatch):
    """The clock that patience looks at: a list whose one number is its time."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_patience_lasts_ten_of_the_longest_blocks_and_five_minutes_at_least(clock):
    patience = Patience(None, planned=2.0, last=clock[0])
    assert patience.bound == 300
    clock[0] += 50
    patience.progress()
    assert patience.bound == 500
    assert Patience(None, planned=90.0).bound == 900
    assert Patience(7.0, planned=90.0).bound == 7


def test_patience_is_over_when_nothing_was_done_for_too_long(clock):
    patience = Patience(7.0, planned=1.0, last=clock[0])
    clock[0] += 7
    assert not patience.over
    clock[0] += 1
    assert patience.over
    patience.progress()
    assert not patience.over


def test_a_commit_may_take_longer_and_is_no_block(clock):
    patience = Patience(None, planned=2.0, settling=True, last=clock[0])
    clock[0] += 2999
    assert not patience.over
    patience.progress()
    patience.settling = False
    assert patience.bound == 300


def test_a_run_that_is_held_may_wait_for_ever(clock):
    patience = Patience(7.0, planned=1.0, held=True, last=clock[0])
    clock[0] += 1e9
    assert not patience.over


async def missed():
    """What is said of two workers, one of them no member of the cluster."""
    async with connect(ClusterRequest(workers=1, processes=False)) as client:
        there = list(await workers_of(client))
        return await lost_worker(client, [*there, "tcp://127.0.0.1:1"], Patience(None, 1.0))


def test_a_worker_that_is_gone_is_named(monkeypatch):
    monkeypatch.setattr(watching, "WATCH_SECONDS", 0.05)
    assert asyncio.run(missed()) == "tcp://127.0.0.1:1 is gone"


def test_workers_that_do_nothing_for_too_long_are_hung(monkeypatch):
    monkeypatch.setattr(watching, "WATCH_SECONDS", 0.05)

    async def hung():
        async with connect(ClusterRequest(workers=1, processes=False)) as client:
            sleeping = client.submit(time.sleep, 2, pure=False)
            work = asyncio.sleep(60)
            try:
                await while_all_stay(client, "RUN", work, Patience(0.5, planned=0.0))
            finally:
                await sleeping

    with pytest.raises(LostChunk, match="yfccdask resume RUN") as caught:
        asyncio.run(hung())
    assert isinstance(caught.value.__cause__, HungWorkers)
    assert len(caught.value.__cause__.addresses) == 1


def test_work_that_ends_in_time_is_given_back_and_its_errors_are_raised():
    async def watched(work):
        async with connect(ClusterRequest(workers=1, processes=False)) as client:
            return await while_all_stay(client, "RUN", work, Patience(None, planned=0.0))

    async def fails():
        raise ZeroDivisionError

    assert asyncio.run(watched(asyncio.sleep(0, "done"))) == "done"
    with pytest.raises(ZeroDivisionError):
        asyncio.run(watched(fails()))


def block(layer, reconstruction, seconds=2.0):
    terms = {"reconstruction": [reconstruction], "sparsity": [1.0]}
    return {"event": "block", "layer": layer, "images": 12, "seconds": seconds, **terms}


def test_a_tally_counts_blocks_commits_losses_and_warnings():
    tally = Tally()
    tally.add({"event": "start", "visits": [8, 4]})
    tally.add(block(1, 3.0, seconds=0.0))
    assert tally.layers[0].images_per_second is None
    tally.add(block(1, 2.0))
    tally.add({"event": "commit", "number": 1, "tick": 2, "time": 5.0, "seconds": 0.1, "x": 0})
    tally.add({"event": "lost", "text": "a worker"})
    for number in range(12):
        tally.add({"event": "warning", "text": str(number)})
    found = tally.as_dict()
    assert found["layers"][0]["blocks"] == 2
    assert found["layers"][0]["objective"] == 3.0
    assert found["layers"][0]["images_per_second"] == 12
    assert found["commit"] == {"number": 1, "tick": 2, "time": 5.0, "seconds": 0.1}
    assert found["lost"] == 1
    assert found["warnings"] == [str(number) for number in range(2, 12)]
    tally.add({"event": "resume", "visits": [8, 4], "done": [1, 0]})
    assert [layer.blocks for layer in tally.layers] == [1, 0]
