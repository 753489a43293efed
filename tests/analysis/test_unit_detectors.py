"""Labels that belong to a unit are detected by it; labels that mean nothing are not."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client

from tests.conftest import threads_cluster
from yfccdask.analysis import detector_tally, unit_detectors
from yfccdask.analysis.detector_tally import Tally
from yfccdask.analysis.labels import read_labels
from yfccdask.analysis.network_pass import activations
from yfccdask.analysis.results import read_result
from yfccdask.analysis.unit_detectors import best_units, detectable, selectivity
from yfccdask.errors import DataError, RunError
from yfccdask.numerics import detection
from yfccdask.numerics.detection import (
    add_to_histograms,
    balanced_accuracy,
    binned_detectors,
    empty_histograms,
    exact_detectors,
    label_counts,
    quantile_edges,
)


@pytest.fixture
def drawn(rng):
    """Responses of which unit 2 knows label 1, and unit 5 label 0 by being low; two odd units."""
    values = rng.normal(size=(7, 400)).astype(np.float32)
    values[3], values[4] = np.round(values[3]), 1.0
    members = rng.random((400, 3)) < [0.5, 0.1, 0.3]
    values[2, members[:, 1]] += 4
    values[5, members[:, 0]] -= 4
    return values, members, (rng.random(400) < 0.5).astype(np.int8)


def fires(detectors, values, unit, label):
    above = values[unit] >= detectors.threshold[unit, label]
    return above == (detectors.side[unit, label] > 0)


def share_right(fired, marked):
    return 0.5 * (fired[marked].mean() + (~fired[~marked]).mean())


def test_thresholds_are_the_best_of_all(drawn):
    values, members, half = drawn
    found = exact_detectors(values, members, half)
    choosing = half == 0
    for unit, label in np.ndindex(7, 3):
        marked = members[choosing, label]
        shares = [
            share_right(values[unit, choosing] >= threshold, marked)
            for threshold in np.unique(values[unit])
        ]
        best = max(max(share, 1 - share) for share in shares)
        assert found.chosen[unit, label] == pytest.approx(best)
    accuracy = balanced_accuracy(found.hits, found.false_alarms, label_counts(members, half)[1])
    assert accuracy[2, 1] > 0.9 < accuracy[5, 0]
    assert (found.side[2, 1], found.side[5, 0]) == (1, -1)
    assert (np.delete(accuracy[:, 2], []) < 0.65).all()


@pytest.mark.parametrize("bins", [None, 64])
def test_counts_of_the_other_half_are_those_of_the_threshold(drawn, bins, monkeypatch):
    values, members, half = drawn
    if bins is None:
        found = exact_detectors(values, members, half)
    else:
        edges, histograms = quantile_edges(values[:, :200], bins), empty_histograms(7, 3, bins)
        for part in (slice(0, 150), slice(150, 400)):
            add_to_histograms(histograms, values[:, part], edges, members[part], half[part])
        monkeypatch.setattr(detection, "BYTES_AT_ONCE", 3 * histograms[:1].nbytes)
        found = binned_detectors(histograms, edges)
        exact = exact_detectors(values, members, half)
        assert (found.chosen <= exact.chosen + 1e-12).all()
        assert (found.chosen > exact.chosen - 0.03).all()
    for unit, label in np.ndindex(7, 3):
        fired, marked, judging = fires(found, values, unit, label), members[:, label], half == 1
        assert found.hits[unit, label] == (fired & marked & judging).sum()
        assert found.false_alarms[unit, label] == (fired & ~marked & judging).sum()


def test_a_tally_is_the_same_however_it_is_cut_and_interrupted(drawn, tmp_path, monkeypatch):
    values, members, half = drawn
    monkeypatch.setattr(detector_tally, "SAMPLE", 100)
    for exact_bytes in (10**6, 0):
        whole, cut = (Tally(7, members, half, exact_bytes) for _ in range(2))
        for start in range(0, 400, 100):
            whole.add(values[:, start : start + 100].T)
        for start in range(0, 200, 100):
            cut.add(values[:, start : start + 100].T)
        cut.save(tmp_path / "half.npz")
        resumed = Tally(7, members, half, exact_bytes)
        resumed.load(tmp_path / "half.npz")
        assert resumed.blocks == 2
        for start in range(200, 400, 100):
            resumed.add(values[:, start : start + 100].T)
        assert resumed.exact == (exact_bytes > 0)
        for one, other in zip(whole.detectors(), resumed.detectors(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_more_units_and_labels_than_fit_are_refused():
    with pytest.raises(RunError, match="take fewer labels"):
        Tally(10**7, np.zeros((100, 50), bool), np.zeros(100, np.int8))


def test_the_best_of_many_units_gains_nothing_by_chance(rng):
    accuracies, rates = [], []
    for _ in range(20):
        values = rng.normal(size=(100, 200)).astype(np.float32)
        members = rng.random((200, 2)) < 0.4
        half = (rng.random(200) < 0.5).astype(np.int8)
        found = exact_detectors(values, members, half)
        best = best_units(found, ["a", "b"], label_counts(members, half), (1, 1, 100))
        assert (best["chosen_accuracy"] > 0.58).all()
        accuracies += best["accuracy"].values.tolist()
        rates += (best["p"].values < 0.05).tolist()
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.02)
    assert np.mean(rates) <= 0.1


@pytest.fixture(scope="module")
def client():
    with threads_cluster(1) as cluster, Client(cluster, set_as_default=False) as client:
        yield client


NOISE = [f"<b>noise</b> {number}" for number in range(10)]


@pytest.fixture(scope="module")
def labelled(tiny_run, tiny_store, tmp_path_factory):
    """A label that the top unit of the largest deviation knows, and shuffled ones; the unit."""
    top = activations(tiny_run, tiny_store).values[:, 0, 0]
    unit = int(top.std(axis=0).argmax())
    strong, rng = top[:, unit] > np.median(top[:, unit]), np.random.default_rng(1)
    ids = np.array(tiny_store.ids(range(tiny_store.images)))
    tables = [pd.DataFrame({"id": ids[strong], "label": "own"})]
    tables += [pd.DataFrame({"id": ids[rng.permutation(strong)], "label": name}) for name in NOISE]
    tables.append(pd.DataFrame({"id": ids, "label": ""}))
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    pd.concat(tables).to_csv(path, index=False)
    return path, unit


@pytest.mark.parametrize("exact_bytes", [1 << 28, pytest.param(0, marks=pytest.mark.slow)])
def test_a_run_s_units_detect_their_own_label_only(
    own_run, tiny_store, labelled, exact_bytes, client
):
    path, unit = labelled
    options = {"least": 5, "exact_bytes": exact_bytes, "client": client}
    found = selectivity(own_run, tiny_store, path, layers=[1, 3], **options)
    assert found["accuracy"].dims == ("label", "weights", "layer")
    own = found.sel(label="own", layer=3, weights="trained")
    assert own["accuracy"] > 0.9
    assert (own["unit"], own["p"] < 1e-3, own["q"] < 1e-2) == (unit, True, True)
    noise = found.sel(label=NOISE)
    assert abs(noise["accuracy"].mean() - 0.5) < 0.05
    assert (noise["q"] <= 0.05).mean() <= 0.05
    assert noise["chosen_accuracy"].mean() > 0.6
    assert own["accuracy"] > found["accuracy"].sel(label="own", layer=3, weights="random")
    assert found.attrs["thresholds"].startswith("exact" if exact_bytes else "at the edges")


def test_what_was_found_is_kept_and_a_killed_pass_goes_on(
    own_run, tiny_store, labelled, monkeypatch, client
):
    what = (own_run, tiny_store, labelled[0])
    found = selectivity(*what, least=5, client=client)
    result = read_result(own_run, "selectivity", own_run.commit(), tiny_store)
    assert result.parameters["layers"] == [3]
    stored = pd.read_parquet(result.path / "labels.parquet")
    assert stored.attrs == found.attrs
    table = stored.set_index(["label", "weights", "layer"])
    wanted = found["accuracy"].to_series()
    assert table["accuracy"].loc[wanted.index].tolist() == wanted.tolist()
    every = xr.open_zarr(result.path / "layer-3.zarr", consolidated=False)
    assert every["accuracy"].dims == ("grid_y", "grid_x", "unit", "label")
    own = found.sel(label="own", layer=3, weights="trained")
    judged = every["accuracy"].sel(label="own").isel(grid_y=0, grid_x=0, unit=int(own["unit"]))
    assert float(judged) == pytest.approx(float(own["accuracy"]))

    real, calls = Tally.add, []

    def killed(self, responses):
        calls.append(len(responses))
        if len(calls) == 4:
            raise KeyboardInterrupt
        real(self, responses)

    monkeypatch.setattr(unit_detectors, "SAVE_SECONDS", 0)
    monkeypatch.setattr(Tally, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        selectivity(*what, least=5, client=client)
    assert read_result(own_run, "selectivity") is not None  # the former one stays
    monkeypatch.setattr(unit_detectors, "SAVE_SECONDS", 60)
    xr.testing.assert_identical(selectivity(*what, least=5, client=client), found)
    assert len(calls) == 4 + 2 * tiny_store.blocks - 3
    with pytest.raises(RunError, match="expected layers from 1 to 3"):
        selectivity(*what, layers=[4])


def test_labels_that_are_too_rare_are_refused(tiny_store):
    ids = tiny_store.ids(range(tiny_store.images))
    labels = read_labels(pd.DataFrame({"id": ids, "label": ["a", *"b" * 49]}), tiny_store)
    half = (np.arange(50) % 2).astype(np.int8)
    with pytest.raises(DataError, match="found none among 2 labels of 50 images"):
        detectable(labels, half, 5, 10)
    with pytest.raises(DataError, match="found none among"):
        detectable(labels, half, 1, 10)
