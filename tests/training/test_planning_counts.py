"""Counted bytes and tasks are those of the graphs and arrays that a run is made of."""

import dask
import numpy as np
import pytest

from tests.training.made_up_speeds import made_up_calibration
from yfccdask.config import load_config
from yfccdask.data.blocks import block
from yfccdask.graph import initial_chunks, train_block
from yfccdask.numerics.local_visits import Objective, Rates
from yfccdask.training.inputs import Inputs, constant_array
from yfccdask.training.planning.chunk_sizes import chunk_bytes, optimiser_bytes, weight_bytes
from yfccdask.training.planning.chunking import Request, best_cut
from yfccdask.training.planning.stages import transfers
from yfccdask.training.planning.traffic import moved_bytes, tasks_of

LAYOUTS = [
    ("tiny", [], 1),
    ("tiny", [], 3),
    ("tiny", ["engine.chunk=[2, 2]", "engine.chunk_leaves=1"], 4),
    ("tiny", ["engine.chunk=[1, 1]", "engine.chunk_leaves=2"], 2),
    ("tiny", ["layers.0.lcn=null", "engine.chunk=[1, 3]"], 3),
    ("tiny", ["layers.0.lcn.rectify=both", "engine.chunk=[1, 3]"], 3),
]


def cut_of(name, overrides, workers):
    config = load_config(name, overrides)
    return best_cut(Request(config, workers, None, None, made_up_calibration(config))).cut


def network_of(cut, store):
    """The run's collections for one block: every layer's states, and the block on its way up."""
    white = constant_array("white", np.random.default_rng(0).normal(size=(5, 5, 3, 3)))
    inputs = Inputs(cut.config, store, white, "test")
    states = [
        initial_chunks(f"l{n}", layout, seed=0, layer=n, alpha=1.0, dtype=cut.config.dtype)
        for n, layout in enumerate(cut.layouts)
    ]
    below = [inputs.forward(n, each, 0.3) for n, each in enumerate(states)]
    fields = [inputs.field(0, 0, below[:n]) for n in cut.layers]
    return states, fields


def trained(cut, states, fields, layer):
    rates = (Rates(0.01, 0.01, 0.001),) * cut.mini_batches
    objective = Objective(0.1, 1e-3, 0.9)
    return train_block("new", states[layer], fields[layer], 0.3, objective, rates, cut.images)


@pytest.mark.parametrize(("name", "overrides", "workers"), LAYOUTS)
def test_tasks_are_those_of_the_graphs(tiny_store, name, overrides, workers):
    cut = cut_of(name, overrides, workers)
    states, fields = network_of(cut, tiny_store)
    given = {key for each in states for key in dict(each.__dask_graph__())}
    for layer in cut.layers:
        new = trained(cut, states, fields, layer)
        graph = dict(new.costs().__dask_graph__())
        made = [key for key in graph if key not in given and key[0] != "white"]
        assert sum(tasks_of(cut, layer)) == len(made)


@pytest.mark.parametrize(("name", "overrides", "workers"), LAYOUTS)
def test_bytes_are_those_of_the_arrays(tiny_store, name, overrides, workers):
    cut = cut_of(name, overrides, workers)
    states, fields = network_of(cut, tiny_store)
    with dask.config.set(scheduler="threads"):
        for layer in cut.layers:
            new = trained(cut, states, fields, layer)
            for index, chunk in zip(cut.layouts[layer].indices(), new.compute(), strict=True):
                weights, rest = chunk.state.weights.nbytes, chunk.costs.nbytes
                rest += sum(part.nbytes for part in chunk.state[1:])
                assert weight_bytes(cut, layer, index) == weights
                assert optimiser_bytes(cut, layer, index) == rest
                assert chunk_bytes(cut, layer, index) == weights + rest


@pytest.mark.parametrize(("name", "overrides", "workers"), LAYOUTS)
def test_fields_are_cut_and_sized_as_they_are_built(tiny_store, name, overrides, workers):
    cut = cut_of(name, overrides, workers)
    _, fields = network_of(cut, tiny_store)
    stored = block(tiny_store, 0)
    for layer, field in enumerate(fields):
        chain = transfers(cut, layer)
        assert sum(chain[0].made) == stored.nbytes
        assert sum(chain[-1].made) == field.nbytes
        assert chain[-1].stage.layout.rows == field.chunks[1]
        assert chain[-1].stage.layout.columns == field.chunks[2]


@pytest.mark.parametrize(("name", "overrides", "workers"), LAYOUTS)
def test_moved_bytes_are_the_pieces_that_a_worker_reads_and_does_not_make(
    tiny_store, name, overrides, workers
):
    cut = cut_of(name, overrides, workers)
    for layer in cut.layers:
        stage, made, received = transfers(cut, layer)[-1]
        readers = {}
        for index, worker in cut.owners[layer].items():
            region = cut.layouts[layer].region(index)
            readers.setdefault(worker, set()).update(
                piece for piece, _ in stage.layout.touching(region)
            )
        for worker, pieces in readers.items():
            away = [piece for piece in pieces if stage.makers[piece] != worker]
            assert received[worker] == sum(map(stage.piece_bytes, away))
        assert sum(made) == sum(map(stage.piece_bytes, stage.makers))
        if workers == 1:
            assert not any(moved_bytes(cut, layer))
