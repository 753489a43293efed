"""The analyses as a person types them."""

import json
import shutil

import pytest
from click.testing import CliRunner

from yfccdask.cli.group import main
from yfccdask.data.runs import open_run


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def run(tiny_run, tmp_path):
    shutil.copytree(tiny_run.path, tmp_path / "run")
    return open_run(tmp_path / "run")


def test_wrong_use_is_said_in_a_line(run, tiny_store, tmp_path):
    wrong = call("encode", run.path, tiny_store.path, tmp_path / "out", "--layers", "top")
    assert wrong.exit_code == 2
    assert "expected numbers such as 3 or 1,3, found 'top'" in wrong.output
    absent = call("encode", run.path, tmp_path / "nothing", tmp_path / "out")
    assert absent.exit_code == 1
    assert "error: expected a block store or a folder of images" in absent.output
    other = call("export", run.path, tmp_path / "out", "--checkpoint", 9)
    assert (other.exit_code, "found 9" in other.output) == (1, True)


def test_export_says_what_it_wrote(run, tmp_path):
    result = call("export", run.path, tmp_path / "out", "--torch", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.output)
    assert facts["weights"] == 25_080
    assert sorted(facts["files"]) == ["model.safetensors", "network.json", "network.py"]


@pytest.mark.slow
def test_encode_stimuli_and_optimal_say_what_they_found(run, tiny_store, tmp_path):
    one = ("--workers", 1)
    encoded = call("encode", run.path, tiny_store.path, tmp_path / "out", "--layers", "1,3", *one)
    assert encoded.exit_code == 0, encoded.output
    assert (
        "to write: 26,800 bytes for 50 images (layer 1: 25,600, layer 3: 1,200)" in encoded.output
    )
    assert "images/s" in encoded.output
    shown = call("stimuli", run.path, tiny_store.path, "--sample", 20, "--seed", 3, *one)
    assert shown.exit_code == 0, shown.output
    assert "out of 24 images" in shown.output
    drawn = call("optimal", run.path, "--units", 2, "--steps", 5, "--json", *one)
    assert drawn.exit_code == 0, drawn.output
    assert min(json.loads(drawn.stdout)["median_ratio_to_best_photo"].values()) > 1
