"""An Encoder is a scikit-learn transformer whose features are the network's activations."""

import pickle

import numpy as np
import pytest

from yfccdask.analysis import loaded_networks, transformer
from yfccdask.analysis.network_pass import activations
from yfccdask.analysis.transformer import Encoder
from yfccdask.errors import DataError, RunError

pytest.importorskip("sklearn", reason="extra: probe")
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


@pytest.fixture(scope="module")
def images(tiny_store):
    return tiny_store.read(range(tiny_store.images))


def test_features_are_the_activations(tiny_run, tiny_store, images):
    encoder = Encoder(tiny_run.path, layers=(1, 3), batch=20).fit(images)
    parts = [activations(tiny_run, tiny_store, layer).values.reshape(50, -1) for layer in (1, 3)]
    features = encoder.transform(images)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, np.concatenate(parts, axis=1), atol=2e-6)
    names = encoder.get_feature_names_out().tolist()
    assert (len(names), names[0], names[-1]) == (134, "layer1_y0_x0_unit0", "layer3_y0_x0_unit5")
    assert encoder.transform(images[:0]).shape == (0, 134)


def test_a_network_larger_than_memory_gives_the_same_features(tiny_run, images, monkeypatch):
    how = {"layers": (1, 2, 3), "batch": 20}
    whole = Encoder(tiny_run, **how).fit_transform(images)
    monkeypatch.setattr(loaded_networks, "MOST_OF_MEMORY", 1e-9)
    encoder = Encoder(tiny_run, **how)
    np.testing.assert_array_equal(encoder.fit_transform(images), whole)
    kept = [
        sum(part.nbytes for part in layer.weights._kept.values())
        for layer in encoder.network_.layers
    ]
    assert kept == [0, 0, 0]


def test_rectified_features_hold_both_signs_apart(tiny_run, images):
    plain = Encoder(tiny_run).fit_transform(images)
    encoder = Encoder(tiny_run, rectify=True)
    both = encoder.fit_transform(images)
    np.testing.assert_array_equal(both[:, :6] - both[:, 6:], plain)
    assert (both >= 0).all()
    assert encoder.get_feature_names_out()[6] == "layer3_y0_x0_unit0_neg"


def test_scikit_learn_s_ways_work(tiny_run, images):
    encoder = clone(Encoder(tiny_run.path, layers=(2,)))
    assert encoder.get_params()["layers"] == (2,)
    model = make_pipeline(encoder, StandardScaler(), LogisticRegression())
    model.fit(images, np.arange(50) % 2)
    assert model.predict(images.reshape(50, -1)).shape == (50,)
    fitted = model.named_steps["encoder"]
    stored = pickle.dumps(fitted)
    assert len(stored) < 2000, "the weights stay with the run"
    np.testing.assert_array_equal(pickle.loads(stored).transform(images), fitted.transform(images))
    assert fitted.set_output(transform="pandas").transform(images).columns[0].startswith("layer2")


def test_what_are_no_images_of_the_run_is_refused(tiny_run, images):
    encoder = Encoder(tiny_run).fit(images)
    with pytest.raises(DataError, match=r"expected images of shape \(n, 20, 20, 3\)"):
        encoder.transform(images[:, :10])
    with pytest.raises(DataError, match="are the images scaled"):
        encoder.transform(images / 255)
    whole = encoder.transform(images.astype(np.int64))
    np.testing.assert_array_equal(whole, encoder.transform(images))
    with pytest.raises(RunError, match="expected a layer from 1 to 3"):
        Encoder(tiny_run, layers=(9,)).fit(images)


def test_without_scikit_learn_the_extra_is_named(tiny_run, monkeypatch):
    monkeypatch.setattr(transformer, "check_is_fitted", None)
    with pytest.raises(RunError, match=r"pip install 'yfccdask\[probe\]'"):
        Encoder(tiny_run)
