"""A pass finds what a plain loop over all images finds, and is used again where it fits."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr

from tests.conftest import THREADS
from tests.training.plain_trainer import patches_of, whitened
from yfccdask.analysis import strongest_images, strongest_pass
from yfccdask.analysis.strongest_pass import stored_strongest_images
from yfccdask.analysis.unit_statistics import (
    alive_units,
    chance_selectivity,
    selectivity,
    telling_units,
)
from yfccdask.data.commit_reading import read_state
from yfccdask.data.commits import layer_path
from yfccdask.data.runs import Run
from yfccdask.errors import RunError, StoreError
from yfccdask.numerics.contrast import normalise_field
from yfccdask.training.inputs import contrast_window

EVERYTHING = dict.fromkeys(["grid_y", "grid_x", "unit", "input"], slice(None))


def plain_codes(run, store):
    """Every layer's responses to every image in float64: [(grid_y, grid_x, unit, image)]."""
    commit, codes = run.commit(), []
    field = whitened(run.config, store.read(range(store.images)), run.whitening())
    for number, layer in enumerate(run.geometry.layers):
        state = read_state(layer_path(commit.path, number), layer, EVERYTHING)
        scale, shape = commit.state["scales"][number], (*layer.grid, layer.units, len(field))
        found = np.empty(shape)
        out = np.empty((len(field), layer.output.height, layer.output.width, layer.maps))
        for i, j in np.ndindex(layer.grid):
            x = scale * patches_of(layer, field, i, j)
            found[i, j] = state.alpha[i, j] * state.weights[i, j].astype(float) @ x.T
            rows = slice(i * layer.tile[0], (i + 1) * layer.tile[0])
            columns = slice(j * layer.tile[1], (j + 1) * layer.tile[1])
            out[:, rows, columns] = found[i, j].T.reshape(-1, *layer.tile, layer.maps)
        codes.append(found)
        window, floor = contrast_window(run.config, number)
        field = out if window is None else normalise_field(out, window, floor)
    return codes


@pytest.fixture(scope="module")
def found(tiny_run, tiny_store, tmp_path_factory):
    path = tmp_path_factory.mktemp("found") / "run"
    shutil.copytree(tiny_run.path, path)
    return strongest_images(path, tiny_store, cluster=THREADS)


def test_a_pass_finds_the_images_that_a_plain_loop_finds(found, tiny_run, tiny_store):
    for number, codes in enumerate(plain_codes(tiny_run, tiny_store), start=1):
        dataset = found[number]
        best = np.sort(codes, axis=-1)[..., ::-1][..., :5]
        np.testing.assert_allclose(dataset["value"], best, rtol=1e-3, atol=1e-5)
        own = np.take_along_axis(codes, dataset["image"].values, axis=-1)
        np.testing.assert_allclose(own, best, rtol=1e-3, atol=1e-5)
        assert all(len(set(row)) == 5 for row in dataset["image"].values.reshape(-1, 5).tolist())
        np.testing.assert_allclose(dataset["mean"], codes.mean(axis=-1), atol=1e-5)
        np.testing.assert_allclose(dataset["deviation"], codes.std(axis=-1), rtol=1e-3)
        assert dataset.attrs["images"] == 50


def test_a_pass_has_the_same_bits_for_every_cut_and_number_of_blocks_in_flight(
    found, own_run, tiny_store
):
    engine = own_run.config.engine.model_copy(
        update={"chunk": (1, 3), "chunk_leaves": 2, "blocks_in_flight": 5}
    )
    config = own_run.config.model_copy(update={"engine": engine})
    other = strongest_images(
        Run(own_run.path, config, own_run.provenance),
        tiny_store,
        blocks=[4, 2, 0, 1, 3],
        cluster=THREADS,
    )
    for number, dataset in found.items():
        xr.testing.assert_identical(dataset, other[number])


def test_rows_are_the_store_s_for_any_choice_of_blocks_and_layers(own_run, tiny_store):
    found = strongest_images(own_run, tiny_store, k=40, layers=[2], blocks=[4, 1], cluster=THREADS)
    assert list(found) == [2]
    assert found[2].sizes["rank"] == 14
    assert set(found[2]["image"].values.ravel()) == {*range(12, 24), 48, 49}


def test_a_stored_pass_is_used_again_where_commit_and_store_are_the_same(
    own_run, tiny_store, hostile_store, monkeypatch
):
    first = strongest_images(own_run, tiny_store, cluster=THREADS)
    runs = []

    def refuse(work):
        runs.append(work.close())
        raise KeyboardInterrupt  # nothing is stored

    monkeypatch.setattr(strongest_pass, "run_blocking", refuse)
    again = strongest_images(own_run, tiny_store, k=3, layers=[3], cluster=THREADS)
    assert not runs
    xr.testing.assert_identical(again[3], first[3].isel(rank=slice(3)))
    for other in ({"k": 6}, {"blocks": [0]}, {"store": hostile_store}):
        with pytest.raises(KeyboardInterrupt):
            strongest_images(own_run, **{"store": tiny_store, **other})
    assert len(runs) == 3
    manifest = own_run.analysis / "strongest" / "manifest.json"
    stored = json.loads(manifest.read_text())
    assert (stored["commit"]["number"], stored["store"]["digest"]) == (3, tiny_store.digest)
    anew = {"number": 3, "sha256": "of a run trained anew"}
    manifest.write_text(json.dumps({**stored, "commit": anew}))
    assert stored_strongest_images(own_run) == {}
    with pytest.raises(KeyboardInterrupt):
        strongest_images(own_run, tiny_store)
    assert len(runs) == 4


def test_a_killed_pass_goes_on_where_it_saved_its_lists(found, own_run, tiny_store, monkeypatch):
    merged, blocks = strongest_pass._merged_with, []

    def merged_until(network, total, request, block):
        blocks.append(block)
        if blocks == [0, 1, 2, 3]:
            raise KeyboardInterrupt
        return merged(network, total, request, block)

    monkeypatch.setattr(strongest_pass, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(strongest_pass, "_merged_with", merged_until)
    with pytest.raises(KeyboardInterrupt):
        strongest_images(own_run, tiny_store, cluster=THREADS)
    assert stored_strongest_images(own_run) == {}
    engine = own_run.config.engine.model_copy(update={"chunk": (3, 2)})
    config = own_run.config.model_copy(update={"engine": engine})
    cut_otherwise = Run(own_run.path, config, own_run.provenance)
    again = strongest_images(cut_otherwise, tiny_store, cluster=THREADS)
    assert blocks == [0, 1, 2, 3, 3, 4]
    for number, dataset in found.items():
        xr.testing.assert_identical(dataset, again[number])


def test_a_new_pass_takes_the_place_of_the_old_one(own_run, tiny_store):
    strongest_images(own_run, tiny_store, k=1, layers=[1], cluster=THREADS)
    strongest_images(own_run, tiny_store, k=2, layers=[3], cluster=THREADS)
    stored = stored_strongest_images(own_run)
    assert list(stored) == [3]
    assert stored[3].sizes["rank"] == 2
    assert [path.name for path in own_run.analysis.iterdir()] == ["strongest"]


def test_what_cannot_be_is_refused(own_run, tiny_store):
    with pytest.raises(RunError, match="expected layers from 1 to 3"):
        strongest_images(own_run, tiny_store, layers=[4])
    with pytest.raises(RunError, match="expected k"):
        strongest_images(own_run, tiny_store, k=0)
    with pytest.raises(StoreError, match="expected a block in"):
        strongest_images(own_run, tiny_store, blocks=[5])
    shutil.rmtree(own_run.checkpoints)
    with pytest.raises(RunError, match="at least one commit"):
        strongest_images(own_run, tiny_store)


def dataset_of(value, deviation, grid=(2, 2)):
    """A layer of 12 units over a grid of positions."""
    units, shape = ("grid_y", "grid_x", "unit"), (*grid, 12 // (grid[0] * grid[1]))
    deviation = xr.DataArray(np.asarray(deviation, float).reshape(shape), dims=units)
    return xr.Dataset(
        {
            "value": ((*units, "rank"), np.asarray(value, float).reshape(*shape, 1)),
            "mean": (units, np.zeros(shape)),
            "deviation": deviation,
            "alive": alive_units(deviation),
        }
    )


def test_a_unit_is_alive_if_it_varies_as_others_do():
    deviation = [1, 1, 0, 1, 0.0099, 0.0101, 1, 1, 1, 1, 1, 1]
    alive = dataset_of(np.ones(12), deviation)["alive"]
    assert alive.values.ravel().tolist() == [1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1]
    dead = dataset_of(np.ones(12), np.zeros(12))
    assert not dead["alive"].any()
    assert telling_units(dead, 3) == []


def test_units_to_show_are_selective_alive_and_spread_over_positions():
    deviation = [1, 1, 0, 1, 2, 1, 1, 1, 1, 1, 1, 1]
    value = [3, 4, 9, 1, 5, 3, 7, 8, 9, 1, 1, 2]
    dataset = dataset_of(value, deviation)
    assert selectivity(dataset).values[0, 0].tolist() == [3, 4, -np.inf]
    assert telling_units(dataset, 4) == [(0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 2)]
    assert telling_units(dataset, 2) == [(0, 0, 1), (1, 1, 2)]
    assert len(telling_units(dataset, 100)) == 11


def test_units_to_show_are_not_the_very_first():
    dataset = dataset_of(np.arange(12)[::-1], np.ones(12), grid=(1, 1))
    assert telling_units(dataset, 1) == [(0, 0, 3)]
    assert telling_units(dataset, 3) == [(0, 0, 1), (0, 0, 3), (0, 0, 5)]


def test_chance_is_what_a_bell_curve_gives(rng):
    values = np.sort(rng.normal(size=(2000, 500)), axis=1)[:, -5:]
    assert chance_selectivity(500, 5) == pytest.approx(values.mean(), abs=0.02)
