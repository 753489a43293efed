"""An export holds the commit's numbers, and its PyTorch module computes the same activations."""

import importlib.util
import json

import numpy as np
import pytest

from tests.conftest import THREADS
from yfccdask.analysis import exporting
from yfccdask.analysis.exporting import export
from yfccdask.analysis.network_pass import activations
from yfccdask.analysis.results import read_result
from yfccdask.config import load_config
from yfccdask.data.commit_reading import read_array
from yfccdask.data.commits import layer_path
from yfccdask.data.safetensors_files import Tensor, write_safetensors
from yfccdask.errors import RunError
from yfccdask.training.start import train


def test_safetensors_hold_the_commit_s_tensors(own_run, tmp_path, monkeypatch):
    numpy_files = pytest.importorskip("safetensors.numpy")
    monkeypatch.setattr(exporting, "MOST_VALUES", 100)  # so that every tensor has several parts
    done = export(own_run, tmp_path / "out")
    assert done.files == ("model.safetensors", "network.json")
    found = numpy_files.load_file(done.path / "model.safetensors")
    assert len(found) == 3 * 3 + 1
    for layer in (1, 2, 3):
        path = layer_path(own_run.commit().path, layer - 1)
        for name in ("weights", "offset", "alpha"):
            stored = read_array(path, name, (slice(None),) * found[f"layer{layer}.{name}"].ndim)
            np.testing.assert_array_equal(found[f"layer{layer}.{name}"], stored)
    np.testing.assert_array_equal(found["whitening"], own_run.whitening())
    network = json.loads((done.path / "network.json").read_text())
    assert [layer["units"] for layer in network["layers"]] == [8, 4, 6]
    assert read_result(own_run, "export").parameters["out"] == str(done.path)


def test_an_export_never_takes_another_s_place(own_run, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(RunError, match="expected nothing at"):
        export(own_run, tmp_path / "out")


def test_a_tensor_of_another_size_than_it_says_is_no_file(tmp_path):
    tensor = Tensor((3,), "float32", lambda: iter([np.zeros(2)]))
    with pytest.raises(ValueError, match="expected 12 bytes of values, found 8"):
        write_safetensors(tmp_path / "x.safetensors", {"x": tensor}, {})


@pytest.mark.slow
@pytest.mark.parametrize("rectify", ["none", "both"])
def test_the_pytorch_module_agrees_to_1e_5(tiny_store, tmp_path, rectify):
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    config = load_config("tiny", [f"layers.0.lcn.rectify={rectify}"])
    run = train(config, tiny_store, tmp_path / "run", cluster=THREADS)
    done = export(run, tmp_path / "out", torch=True)
    spec = importlib.util.spec_from_file_location("exported", done.path / "network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert "yfccdask import" not in (done.path / "network.py").read_text()
    images = tiny_store.read(range(50))
    with torch.no_grad():
        found = module.Network.load(done.path)(torch.from_numpy(images))
    for layer in (1, 2, 3):
        expected = activations(run, tiny_store, layer).values
        assert np.abs(found[layer].numpy() - expected).max() < 1e-5
