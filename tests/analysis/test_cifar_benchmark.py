import tarfile

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import RidgeClassifier

from benchmarks.cifar import CONFIG, PARTS, configuration
from benchmarks.cifar_again import closeness, kurtosis, linear_share, overlap, upper_of
from benchmarks.cifar_chains import CHAINS
from benchmarks.cifar_data import ARCHIVE, fetch, images_of
from benchmarks.cifar_probe import fit, no_images, probe, rectified
from benchmarks.cifar_tables import tables
from benchmarks.cifar_upper import Upper, blocks_of, learn, respond, untrained
from yfccdask.config import load_config, parse_config
from yfccdask.errors import DataError
from yfccdask.geometry import Field


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


def test_networks_of_a_pair_have_as_many_weights():
    def weights(name):
        chain, config = CHAINS[name], load_config(CONFIG)
        field, counts = Field(20, 20, 8 if chain.reads == "rectified" else 4), []
        for variant in chain.layers:
            images = np.empty((0, field.height, field.width, field.maps), np.float32)
            layer = upper_of(variant, config, images).geometry
            counts.append(layer.weights)
            maps = layer.maps * (2 if chain.reads == "rectified" else 1)
            field = Field(layer.output.height, layer.output.width, maps)
        return counts

    assert weights("signed") == weights("rectified, half the units in layer 2")
    assert weights("rectified") == weights("signed, twice the units in layer 2")


@pytest.fixture
def upper():
    """A second layer over a small field, in blocks of two mini-batches."""
    layer = {"kind": "local", "window": 4, "units": 4, "tile": [2, 2], "lcn": None}
    tree = {
        "images": {"size": 8, "channels": 2},
        "batching": {"data_block": 40, "mini_batch": 20},
        "preprocessing": {"whitening": None},
        "layers": [{**layer, "stride": 4}, {**layer, "stride": 2, "passes": 12}],
    }
    return Upper(parse_config(tree, "a test"), 1, Field(6, 6, 2))


def test_an_upper_layer_learns_its_field_in_memory(upper):
    field = np.random.default_rng(3).laplace(size=(100, 6, 6, 2)).astype(np.float32)
    learned, before = learn(upper, field), untrained(upper, field)
    assert len(learned.costs) == 12
    assert learned.costs[-1] < learned.costs[0]
    assert learned.scale == before.scale
    found = respond(upper, learned, field)
    expected = field[:, :4, 2:6].reshape(100, 32) @ learned.state.weights[0, 1].T
    expected *= learned.scale * learned.state.alpha[0, 1]
    np.testing.assert_allclose(
        found[:, :2, 2:], expected.reshape(100, 2, 2, 1), rtol=1e-4, atol=1e-6
    )


def test_blocks_hold_every_image_once():
    assert [(one.start, one.stop) for one in blocks_of(100, 40)] == [(0, 40), (40, 80), (80, 100)]


def test_kurtosis_tells_bell_curves_from_sparse_values():
    rng = np.random.default_rng(4)
    assert kurtosis(rng.normal(size=(20000, 5))) == pytest.approx(0, abs=0.2)
    assert kurtosis(rng.laplace(size=(20000, 5))) == pytest.approx(3, abs=1)


def test_overlap_is_whole_for_the_same_space_and_none_for_another():
    axes = np.linalg.qr(np.random.default_rng(5).normal(size=(6, 6)))[0]
    mixed = np.array([[1.0, 2.0], [3.0, -1.0]]) @ axes[:, :2].T
    assert overlap(mixed, axes) == pytest.approx(1)
    assert overlap(axes[:, 2:4].T, axes) == pytest.approx(0)


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


def test_copies_and_dead_units_show():
    rng = np.random.default_rng(6)
    weights = np.eye(4)[[0, 0, 1, 1]]  # two pairs of copies
    found = rng.normal(size=(100, 4)) * [1, 1, 1, 0]
    assert closeness(weights, found) == {"closest": 1.0, "least": 0.0}
    assert closeness(np.eye(4), rng.normal(size=(10000, 4)))["closest"] == 0.0


def test_linear_share_tells_a_linear_layer_from_a_rectified_one():
    rng = np.random.default_rng(2)
    lower = rng.normal(size=(2000, 6))
    linear = lower @ rng.normal(size=(6, 4))
    for upper, expected in ((linear, 1.0), (np.abs(linear), 0.0)):
        share = linear_share([lower[:1000], lower[1000:]], [upper[:1000], upper[1000:]])
        assert share == pytest.approx(expected, abs=0.05)


def test_tables_of_layers_trained_again_and_of_what_they_read():
    score = {"test": 50.0, "features": 8}
    again = {
        "layer 2: as it is": {
            "layer": 2,
            "weights": 1024,
            "linear": 93.2,
            "probe": {"trained": {"layer 2": score}},
        },
        "layer 3: too fast": {"layer": 3, "weights": 2048, "diverged": True},
    }
    tables_ = [{"layer 1": score, "all": {**score, "test": test}} for test in (60.0, 62.0)]
    chains = {
        name: {"weights": [16, 16], "linear": [75, 98], "probe": {"trained": table}}
        for name, table in zip(("rectified", "rectified, seed 1"), tables_, strict=True)
    }
    found, networks = tables({"again": again, "chains": chains})
    assert "| as it is | 1,024 | 8 | 50.0% | 93% |" in found
    assert "| too fast | 2,048 | | diverged | | |" in found
    assert (
        "| rectified | 32 | 75% and 98% | 50.0% (50.0 to 50.0) | 61.0% (60.0 to 62.0) |" in networks
    )
