"""An optimal input excites its unit more than any image of the store does at equal norm."""

import numpy as np
import pytest
import xarray as xr
from distributed import Client

from tests.conftest import threads_cluster
from yfccdask.analysis import loaded_networks
from yfccdask.analysis.loaded_networks import loaded_network
from yfccdask.analysis.optimal_inputs import optimal, seen_region, stored_optima, unit_of
from yfccdask.analysis.optimal_section import section
from yfccdask.analysis.strongest_pass import strongest_images
from yfccdask.errors import RunError
from yfccdask.numerics.input_ascent import on_sphere, responses_at
from yfccdask.numerics.whole_network import contrast_of, whitened


@pytest.fixture(scope="module")
def client():
    with threads_cluster(1) as cluster, Client(cluster, set_as_default=False) as client:
        yield client


def responses_of_all(run, store, layer, unit, norm):
    """A unit's response to every image of the store, cut out and of unit norm."""
    network = loaded_network(run, run.commit(), layer)
    images = contrast_of(network, store.read(range(store.images)))
    if norm == "whitened":
        images, network = whitened(network, images), network._replace(whitening=None)
    window = np.zeros((1, 20, 20, 1), bool)
    window[(0, *seen_region(run, layer, unit, norm).slices)] = True
    alone = on_sphere(images, np.repeat(window, len(images), axis=0))
    return responses_at(network, [unit] * len(alone), alone)


@pytest.mark.parametrize("norm", ["image", pytest.param("whitened", marks=pytest.mark.slow)])
def test_an_optimum_beats_every_image_of_the_store(own_run, tiny_store, client, norm):
    found = optimal(own_run, units=4, steps=25, norm=norm, client=client)
    assert list(found) == [1, 2, 3]
    for layer, dataset in found.items():
        assert dataset.sizes["choice"] == 4
        for choice in range(4):
            unit = unit_of(dataset, choice)
            others = responses_of_all(own_run, tiny_store, layer, unit, norm)
            assert float(dataset["response"][choice]) > others.max()
            seen = dataset["input"].values[choice][seen_region(own_run, layer, unit, norm).slices]
            assert np.square(seen).mean() == pytest.approx(1, rel=1e-3)


def test_optima_are_compared_with_the_strongest_photographs(own_run, tiny_store, client):
    strongest_images(own_run, tiny_store, k=50, client=client)
    found = optimal(own_run, units=3, steps=20, store=tiny_store, layers=[2], client=client)
    for choice in range(3):
        others = responses_of_all(own_run, tiny_store, 2, unit_of(found[2], choice), "image")
        assert float(found[2]["photo_response"][choice]) == pytest.approx(others.max(), rel=1e-5)
    result, stored = stored_optima(own_run)
    assert result.is_of(own_run.commit(), tiny_store)
    np.testing.assert_array_equal(stored[2]["input"], found[2]["input"])
    assert (result.path / "layer-2.png").is_file()
    part = section(own_run, own_run.commit())
    assert part.note == ""
    assert part.body.count("data:image/png") == 3
    assert "times as strongly to its picture" in part.body
    older = own_run.checkpoints / "00000003"
    older.rename(older.with_name("00000003.damaged"))
    assert "made of commit 3" in section(own_run, own_run.commit()).note


def test_a_network_larger_than_memory_gives_the_same_optima(own_run, client, monkeypatch):
    how = {"layers": [2, 3], "units": 2, "steps": 4, "client": client}
    whole = optimal(own_run, **how)
    monkeypatch.setattr(loaded_networks, "MOST_OF_MEMORY", 1e-9)
    assert loaded_network(own_run, own_run.commit()).layers[0].weights.keep < 100
    streamed = optimal(own_run, **how)
    for layer in (2, 3):
        xr.testing.assert_identical(whole[layer], streamed[layer])


def test_what_cannot_be_is_refused(own_run):
    with pytest.raises(RunError, match="expected layers from 1 to 3"):
        optimal(own_run, layers=[4])
