"""What the cluster remembers of a run stays bounded, and where chunks lie stays as planned."""

import numpy as np
import pytest
from distributed import Client

from tests.conftest import threads_cluster
from yfccdask.config import load_config, network_geometry
from yfccdask.data import open_store, write_store
from yfccdask.data.digests import digest
from yfccdask.geometry import layer_layout
from yfccdask.training.inputs import Inputs
from yfccdask.training.pipeline import state_machine
from yfccdask.training.start import train
from yfccdask.training.submission import Submission


@pytest.fixture(scope="module")
def cluster():
    with threads_cluster(3) as cluster:
        yield cluster


def followed(cluster, store, run, config):
    """Train, counting the tasks that scheduler and workers know at every block."""
    counts = []

    def count(event):
        if event["event"] == "block" and event["layer"] == 1:
            workers = [len(worker.state.tasks) for worker in cluster.workers.values()]
            counts.append((len(cluster.scheduler.tasks), max(workers)))

    with Client(cluster, set_as_default=False) as client:
        return train(config, store, run, client=client, on_event=count), counts


def test_the_tasks_that_are_remembered_stay_flat(cluster, tiny_store, tmp_path, monkeypatch):
    config = load_config("tiny", ["layers.0.passes=15", "preprocessing.whitening=null"])
    monkeypatch.setattr(state_machine, "SETTLE_EVERY", 4)
    run, counts = followed(cluster, tiny_store, tmp_path / "flat", config)
    early, late = counts[10:30], counts[-20:]
    assert max(tasks for tasks, _ in late) < 1.5 * max(tasks for tasks, _ in early)
    assert max(tasks for _, tasks in late) < 1.5 * max(tasks for _, tasks in early)
    monkeypatch.setattr(state_machine, "SETTLE_EVERY", 1000)
    other, growing = followed(cluster, tiny_store, tmp_path / "growing", config)
    assert growing[-1][0] > 3 * max(tasks for tasks, _ in late)
    assert digest(other) == digest(run)


def test_chunks_stay_with_their_owners(cluster, tiny_store, tmp_path, monkeypatch):
    seen = []

    async def watched(self, tick, original=Submission.rekey):
        await original(self, tick)
        for layer, states in self.network.states.items():
            held = await self.client.who_has(states)
            assert all(len(places) == 1 for places in held.values())
            seen.append({key[1:]: places[0] for key, places in held.items()})
            assert seen[-1] == self.owners[layer]

    monkeypatch.setattr(Submission, "rekey", watched)
    monkeypatch.setattr(state_machine, "SETTLE_EVERY", 2)
    followed(cluster, tiny_store, tmp_path / "run", load_config("tiny"))
    assert len(seen) > 5
    assert len({place for places in seen for place in places.values()}) == 3


def test_tiles_are_preprocessed_where_their_positions_are(tmp_path, rng):
    images = rng.integers(0, 256, size=(4, 120, 120, 3), dtype=np.uint8)
    write_store(images, tmp_path / "store", block_size=4)
    config = load_config("tiny", ["images.size=120", "batching.data_block=4"])
    first = layer_layout(network_geometry(config).layers[0], chunk=(15, 15))
    owners = {index: f"tcp://10.0.0.{n}:1" for n, index in enumerate(first.indices())}
    store = open_store(tmp_path / "store")
    graph = Inputs(config, store, None, "token", first, owners).preprocessed(0).dask
    for start in ("preprocessed", "image"):
        (name,) = (n for n in graph.layers if n.startswith(start) and len(graph.layers[n]) == 4)
        pin = graph.layers[name].annotations["workers"]
        found = {key[2:4]: pin(key)[0] for key in graph.layers[name]}
        assert found == {(i, j): owners[i, j, 0] for i in range(2) for j in range(2)}


def test_the_only_tile_is_made_by_the_workers_in_turns(tiny_store):
    config = load_config("tiny")
    first = layer_layout(network_geometry(config).layers[0], chunk=(1, 4))
    owners = {index: f"tcp://10.0.0.{n}:1" for n, index in enumerate(first.indices())}
    inputs, pins = Inputs(config, tiny_store, None, "token", first, owners), []
    for tick in range(4):
        graph = inputs.field(0, tick, []).dask
        places = [
            layer.annotations["workers"](key) for layer in graph.layers.values() for key in layer
        ]
        assert places == [places[0]] * 3  # moments, stored and preprocessed tile
        pins += places[0]
    assert sorted(pins) == sorted(owners.values())


def test_blocks_are_prepared_once_and_a_tick_ahead_unless_they_are_staged(
    cluster, tiny_store, tmp_path, monkeypatch
):
    built = []

    def noted(self, number, turn=0, original=Inputs.preprocessed):
        built.append((number, turn))
        return original(self, number, turn)

    monkeypatch.setattr(Inputs, "preprocessed", noted)
    config = load_config("tiny", ["engine.stage_fields=memory"])
    config = config.model_copy(update={"layers": config.layers[:1]})
    run, _ = followed(cluster, tiny_store, tmp_path / "ahead", config)
    blocks = [event["block"] for event in run.events("block") if event["pass"] == 0]
    assert len(run.events("block")) == 2 * len(blocks) > 4
    ticks = [0, *range(len(blocks))]  # the first block's deviation is measured before its visit
    assert built == [(blocks[tick], tick) for tick in ticks]
