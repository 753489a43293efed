import tarfile

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import RidgeClassifier

from benchmarks.cifar import PARTS, configuration
from benchmarks.cifar_data import ARCHIVE, fetch, images_of
from benchmarks.cifar_probe import fit, no_images, probe, rectified
from benchmarks.cifar_stacked import as_pixels, linear_share
from benchmarks.cifar_tables import tables
from yfccdask.errors import DataError


@pytest.fixture
def labelled():
    """Three labels, of which features tell two apart: (image, feature) and (image,)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    features = rng.normal(size=(300, 6)).astype(np.float32)
    features[:, :2] += np.eye(3)[labels][:, :2] * 3
    return features, labels


@pytest.mark.parametrize("strength", [1e-3, 1.0])
def test_sums_give_scikit_learn_s_ridge_classifier(labelled, strength):
    features, labels = labelled
    sums = no_images(6, 3)
    for start in range(0, 300, 70):
        sums.add(features[start : start + 70], labels[start : start + 70])
    columns = np.array([0, 1, 4, 5])
    ours = fit(sums, strength, columns)
    theirs = RidgeClassifier(alpha=strength * 300).fit(features[:, columns].astype(float), labels)
    np.testing.assert_allclose(ours.weights, theirs.coef_.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.offset, theirs.intercept_, rtol=1e-4, atol=1e-5)


def test_probe_finds_the_layer_that_knows_the_labels(labelled):
    features, labels = labelled
    layers = [features[:, 2:], features[:, :2]]  # noise, then what tells
    known, unknown = ([part[rows] for part in layers] for rows in (slice(200), slice(200, 300)))
    how = {"validation": 50, "names": ["noise", "signal"], "rectify": False}
    scores = probe(known, labels[:200], unknown, labels[200:], **how)
    assert list(scores) == ["noise", "signal", "all"]
    assert scores["noise"].test < 0.5 < 0.75 < scores["signal"].test
    assert [score.features for score in scores.values()] == [4, 2, 6]


def test_rectified_keeps_both_signs_of_every_position():
    responses = np.array([[[-1.0, 2.0]], [[3.0, -4.0]]])
    assert rectified(responses).tolist() == [[0, 2, 1, 0], [3, 0, 0, 4]]


def test_one_row_of_a_sheet_is_one_image(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    Image.fromarray(images.reshape(4, 1024, 3)).save(tmp_path / "sheet.png")
    assert np.array_equal(images_of(tmp_path / "sheet.png"), images)


def test_a_foreign_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / ARCHIVE, "w:gz"):
        pass
    with pytest.raises(DataError, match=r"expected .* with SHA-256 141f"):
        fetch(tmp_path)
    assert not (tmp_path / "package").exists()


def test_every_variant_is_a_network():
    for variants in PARTS.values():
        for variant in variants.values():
            assert len(configuration(variant).layers) == variant.layers


def test_stacked_fields_keep_signs_in_the_middle_or_in_maps_of_their_own():
    field = np.array([[[[0.0, 8.0, -4.0, 99.0]]]], np.float32)
    assert as_pixels(field, "signed", unit=1.0).tolist() == [[[[32768, 65535, 16384, 65535]]]]
    rectified_pixels = as_pixels(field, "rectified", unit=1.0)
    assert rectified_pixels.tolist() == [[[[0, 65535, 0, 65535, 0, 0, 32768, 0]]]]


def test_tables_show_what_was_recorded():
    score = {"test": 50.0, "features": 8}
    probe = {"random": {"layer 1": score}, "trained": {"layer 1": {**score, "test": 60.0}}}
    study = {"as it is": {"probe": probe}, "too fast": {"diverged": "layer 1"}}
    seeds = {"seed 0": {"probe": probe}, "seed 1": {"probe": probe}}
    pixels = {"pixels": {"test": 40.0, "features": 3072}}
    networks, changes = tables({"pixels": pixels, "networks": seeds, "study": study})
    assert "| layer 1 | 8 | 50.0% (50.0 to 50.0) | **60.0% (60.0 to 60.0)** | +10.0 |" in networks
    assert "| as it is | 8 | 50.0% | 60.0% | +0.0 |" in changes
    assert "| too fast | | | diverged | |" in changes


def test_linear_share_tells_a_linear_layer_from_a_rectified_one():
    rng = np.random.default_rng(2)
    lower = rng.normal(size=(2000, 3, 2))
    linear = lower.reshape(2000, 6) @ rng.normal(size=(6, 4))
    for upper, expected in ((linear, 1.0), (np.abs(linear), 0.0)):
        share = linear_share([lower[:1000], upper[:1000]], [lower[1000:], upper[1000:]])
        assert share == pytest.approx(expected, abs=0.05)
