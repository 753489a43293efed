"""Probes read what is in the features, no more; what was left out is said."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client

from tests.conftest import threads_cluster
from yfccdask.analysis import feature_probes, probing_features, probing_fits
from yfccdask.analysis.feature_probes import exam_of, probe
from yfccdask.analysis.labels import Labels
from yfccdask.analysis.network_pass import activations
from yfccdask.analysis.probing_features import chosen_units, extract_pixels, shrunk
from yfccdask.analysis.probing_fits import PROBES, TEST, TRAIN, VALIDATE, standardise
from yfccdask.analysis.results import read_result
from yfccdask.data import write_store
from yfccdask.errors import DataError

IMAGES = 240


@pytest.fixture(scope="module")
def client():
    with threads_cluster(1) as cluster, Client(cluster, set_as_default=False) as client:
        yield client


@pytest.fixture(scope="module")
def probed_store(tmp_path_factory):
    noise = np.random.default_rng(3).normal(size=(IMAGES, 20, 20, 3))
    smooth = noise + np.roll(noise, 1, axis=1) + np.roll(noise, 1, axis=2)
    images = np.clip(128 + 40 * smooth, 0, 255).astype(np.uint8)
    return write_store(images, tmp_path_factory.mktemp("probed") / "store", block_size=120)


@pytest.fixture(scope="module")
def tables(tiny_run, probed_store):
    """Labels of which the top layer's strongest unit decides, and the same ones shuffled."""
    top = activations(tiny_run, probed_store).values[:, 0, 0]
    unit = top[:, top.std(axis=0).argmax()]
    label = np.where(unit > np.median(unit), "strong", "weak")
    ids = probed_store.ids(range(IMAGES))
    shuffled = np.random.default_rng(0).permutation(label)
    return pd.DataFrame({"id": ids, "label": label}), pd.DataFrame({"id": ids, "label": shuffled})


def test_probes_read_what_the_features_hold(own_run, probed_store, tables, client):
    found = probe(own_run, probed_store, tables[0], client=client)
    assert found["features"].values.tolist() == [
        *("pixels", "layer 1", "layer 2", "layer 3", "layer 1 + 2 + 3"),
        *("random 1", "random 2", "random 3", "random 1 + 2 + 3"),
    ]
    linear = found["accuracy"].sel(probe="linear")
    assert linear.sel(features="layer 3") > 0.9
    assert linear.sel(features="random 3") < linear.sel(features="layer 3") - 0.15
    units = [layer.positions * layer.units for layer in own_run.geometry.layers]
    assert found["width"].values[1:4].tolist() == [2 * n for n in units]
    assert found["width"].values[4] == 2 * sum(units)
    result = read_result(own_run, "probe", own_run.commit(), probed_store)
    stored = pd.read_parquet(result.path / "probes.parquet")
    assert stored.attrs == found.attrs
    assert len(stored) == 18
    assert sorted(path.name for path in result.path.iterdir()) == [
        "manifest.json",
        "probes.parquet",
    ]


def test_shuffled_labels_cannot_be_read(own_run, probed_store, tables, client):
    options = {"layers": [1, 3], "baselines": False, "client": client}
    found = probe(own_run, probed_store, tables[1], **options)
    assert found["features"].values.tolist() == ["layer 1", "layer 3", "layer 1 + 3"]
    assert (found["accuracy"] < found.attrs["chance"] + 0.1).all()


def test_a_killed_probe_goes_on(own_run, probed_store, tables, client, monkeypatch):
    what = {"layers": [3], "client": client}
    whole = probe(own_run, probed_store, tables[0], **what)
    real, calls = probing_features.fetched, []

    def killed(client, array):
        calls.append(array.shape)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(client, array)

    monkeypatch.setattr(probing_features, "fetched", killed)
    with pytest.raises(KeyboardInterrupt):
        probe(own_run, probed_store, tables[0], **what)
    fits, real_fits = [], feature_probes._submitted

    def stopped(*arguments):
        fits.append(arguments[-1])
        if len(fits) == 3:
            raise KeyboardInterrupt
        return real_fits(*arguments)

    monkeypatch.setattr(feature_probes, "_submitted", stopped)
    with pytest.raises(KeyboardInterrupt):
        probe(own_run, probed_store, tables[0], **what)
    xr.testing.assert_identical(probe(own_run, probed_store, tables[0], **what), whole)
    assert len(calls) == 3 + 2  # the random weights' two blocks again
    assert len(fits) == 3 + 6 - 2


def labels_of(names, members, photos=None):
    count = len(members)
    photos = [str(number) for number in range(count)] if photos is None else photos
    images = pd.DataFrame({"row": np.arange(count), "image": photos, "photo": photos})
    return Labels(names, images, np.asarray(members, bool), {"source": "made"})


def test_what_is_left_out_is_said(rng):
    classes = rng.integers(0, 3, 600)
    members = np.eye(4, dtype=bool)[classes]
    members[:20] = True
    members[20:25] = False
    members[25:30] = [0, 0, 0, 1]
    exam = exam_of(labels_of(("a", "b", "c", "rare"), members), 0, 400)
    assert exam.labels.names == ("a", "b", "c")
    assert len(exam.classes) <= 400
    assert exam.said[0].startswith("25 images with several labels")
    assert exam.said[1].startswith("400 of 575 images were drawn")
    assert exam.said[2].startswith("1 classes of too few")
    shares = [(exam.split == part).mean() for part in (TRAIN, VALIDATE, TEST)]
    np.testing.assert_allclose(shares, [0.6, 0.2, 0.2], atol=0.06)
    with pytest.raises(DataError, match="expected at least two classes"):
        exam_of(labels_of(("a", "b"), np.eye(2, dtype=bool)[classes * 0]), 0, 400)


def test_crops_of_a_photograph_are_all_in_one_part(rng):
    photos = [f"photo {number // 5}" for number in range(500)]
    members = np.eye(2, dtype=bool)[rng.integers(0, 2, 500)]
    exam = exam_of(labels_of(("a", "b"), members, photos), 0, 10**6)
    parts = exam.labels.images.assign(split=exam.split).groupby("photo")["split"].nunique()
    assert (parts == 1).all()


@pytest.fixture(scope="module")
def separable():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(900, 60)).astype(np.float32)
    classes, split = rng.integers(0, 4, 900), rng.choice(3, 900, p=[0.6, 0.2, 0.2])
    features[:, :4] += 3 * np.eye(4, dtype=np.float32)[classes]
    return features, classes, split


@pytest.mark.parametrize("kind", PROBES)
def test_a_probe_chooses_without_the_test_images(separable, kind):
    features, classes, split = separable
    features = standardise(features.copy(), split == TRAIN)
    fit = PROBES[kind](features, classes, split)
    assert fit.accuracy > 0.5
    other = np.where(split == TEST, 3 - classes, classes)
    changed = PROBES[kind](features, other, split)
    assert (changed.validation, changed.chosen) == (fit.validation, fit.chosen)
    assert changed.accuracy < 0.25


def test_features_are_standardised_by_the_training_images(separable):
    features, _, split = separable
    features = np.c_[features, np.ones(900, np.float32)]
    out = standardise(features.copy(), split == TRAIN)
    np.testing.assert_allclose(out[split == TRAIN].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(out[split == TRAIN].std(axis=0)[:-1], 1, rtol=1e-4)
    assert not out[:, -1].any()


def test_many_pixels_are_averaged_and_many_units_drawn(probed_store, tmp_path):
    assert extract_pixels(probed_store, np.arange(5), tmp_path / "a.npy", 10**6) == 1
    images = probed_store.read(range(5))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), images.reshape(5, -1))
    assert extract_pixels(probed_store, np.arange(5), tmp_path / "b.npy", 200) == 3
    assert np.load(tmp_path / "b.npy").shape == (5, 6 * 6 * 3)
    assert shrunk(images, 3)[0, 0, 0, 0] == pytest.approx(images[0, :3, :3, 0].mean())
    units = chosen_units(1000, 50, 0)
    assert (len(set(units)), units.max() < 1000) == (50, True)
    assert chosen_units(5, 50, 0).tolist() == [0, 1, 2, 3, 4]


def test_without_scikit_learn_it_is_said_how_to_get_it(own_run, probed_store, tables, monkeypatch):
    monkeypatch.setattr(probing_fits, "LogisticRegression", None)
    with pytest.raises(DataError, match=r"pip install 'yfccdask\[probe\]'"):
        probe(own_run, probed_store, tables[0])
