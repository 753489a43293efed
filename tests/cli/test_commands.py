"""The commands as a person types them: output, JSON, exit codes, messages."""

import json

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from tests.training.made_up_speeds import made_up_calibration
from yfccdask.cli.group import COMMANDS, main
from yfccdask.config import load_config
from yfccdask.data import open_store
from yfccdask.data.runs import open_run


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_help_lists_every_command():
    result = call("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert name in result.output
        assert call(name, "--help").exit_code == 0


@pytest.fixture
def speeds(tmp_path):
    """A saved calibration for the paper's network, so that nothing is measured."""
    path = tmp_path / "speeds.json"
    made_up_calibration(load_config("paper"), 200_000_000).save(path)
    return path


LARGE_CLUSTER = ("--workers", 98, "--memory", "64GB", "--images", 960_000)


def test_plan_prints_the_paper_s_table(speeds):
    result = call("plan", "paper", *LARGE_CLUSTER, "--calibration", speeds)
    assert result.exit_code == 0
    texts = ("15,355,871,232", "72 x 72 = 5,184", "62 x 62 = 3,844", "1,161,600")
    readings = ("13,139,312,640", "20,249,837,568", "10,975,838,208", "16,644,046,848")
    for text in (*texts, *readings, "11,199,485,952", "projected peak", "960,000 images"):
        assert text in result.output


def test_a_plan_that_does_not_fit_is_refused_with_exit_code_3(tmp_path):
    path = tmp_path / "speeds.json"
    made_up_calibration(load_config("demo"), 200_000_000).save(path)
    small = ("--workers", 2, "--memory", "250MB", "--calibration", path)
    result = call("plan", "demo", *small)
    assert result.exit_code == 3
    assert "refused: memory: expected at most 237.5 MB" in result.output
    assert "it would fit with 2 workers" in result.output
    facts = call("plan", "demo", *small, "--json")
    assert facts.exit_code == 3
    assert json.loads(facts.output)["refusals"]


def test_a_plan_measures_this_machine_and_saves_what_it_found(tmp_path):
    path = tmp_path / "speeds.json"
    whole = ("--workers", 2, "--memory", "2GB")
    result = call("plan", "tiny", *whole, "--save-calibration", path)
    assert result.exit_code == 0, result.output
    again = call("plan", "tiny", *whole, "--calibration", path)
    assert again.output == result.output


def test_train_refuses_what_the_plan_refuses_unless_forced(tiny_store, tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text("based_on: tiny\ncheckpoints: {keep: 1000000000}\n")
    options = ("--data", tiny_store.path, "--run", tmp_path / "run", "--workers", 1)
    refused = call("train", config, *options)
    assert refused.exit_code == 3
    assert "bytes free for checkpoints" in refused.output
    assert not (tmp_path / "run").exists()
    assert call("train", config, *options, "--force").exit_code == 0


def test_plan_as_json_has_exact_integers(speeds):
    options = (*LARGE_CLUSTER, "--calibration", speeds)
    facts = json.loads(call("plan", "paper", *options, "--json").output)
    assert facts["total"]["weights"] == 15_355_871_232
    assert [layer["weights"] for layer in facts["layers"]] == [
        1_528_823_808,
        9_069_133_824,
        4_757_913_600,
    ]
    assert facts["layers"][0]["flop_per_image"] == 10 * 1_528_823_808


def test_plan_says_how_many_images_stay_unused(tiny_store):
    result = call("plan", "tiny", "--data", tiny_store.path, "--workers", 2)
    assert "50 images in 5 blocks" in result.output
    assert "2 images in no whole mini-batch stay unused" in result.output


def test_config_show_can_be_read_back(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(call("config", "show", "demo", "--set", "seed=4").output)
    assert load_config(path) == load_config("demo", ["seed=4"])
    assert yaml.safe_load(call("config", "show", "demo", "--json").output)["seed"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("plan", "nope"), 2, "expected a preset"),
        (("plan", "demo", "--set", "layers.0.unitz=3"), 2, "did you mean units"),
        (("digest", "nowhere"), 1, "no such folder"),
        (("report", "nowhere"), 1, "no such folder"),
        (("train", "tiny"), 2, "--data"),
        (("nonsense",), 2, "No such command"),
        (("train", "tiny", "--data", "x", "--run", "y", "--workers", "0"), 2, "x>=1"),
        (("train", "tiny", "--data", "nowhere", "--run", "y"), 1, "nowhere"),
        (("report", "x", "--memory", "lots"), 2, "such as 4GB"),
        (("train", "tiny", "--data", "/proc/none", "--run", "/proc/run"), 1, "/proc/none"),
        (
            ("report", "x", "--scheduler", "tcp://127.0.0.1:1", "--workers", "2"),
            2,
            "embedded cluster",
        ),
    ],
)
def test_wrong_use_is_said_in_one_line(arguments, code, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == code
    assert words in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_ingest_train_digest_and_refusals(tmp_path):
    photos, store, run = tmp_path / "photos", tmp_path / "store", tmp_path / "run"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(26):
        pixels = rng.integers(0, 256, size=(24, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    (photos / "notes.jpg").write_text("no picture")
    options = ("--size", 20, "--block-size", 12, "--workers", 1)
    facts = json.loads(call("ingest", photos, store, *options, "--json").output)
    assert (facts["seen"], facts["written"], facts["skipped"]) == (27, 26, 1)
    assert open_store(store).images == 26
    again = call("ingest", photos, store, *options)
    assert "already whole" in again.output
    result = call("train", "tiny", "--data", store, "--run", run, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "2 images in no whole mini-batch" in result.output
    assert "layer 3: objective" in result.output
    digests = json.loads(call("digest", run, "--json").output)
    assert len(digests["arrays"]) == 18
    assert digests["whole"] in call("digest", run).output
    second = call("train", "tiny", "--data", store, "--run", run)
    assert second.exit_code == 1
    assert "found a run" in second.output
    wrong = call("train", "demo", "--data", store, "--run", tmp_path / "other")
    assert wrong.exit_code == 1
    assert "images.size" in wrong.output
    assert not (tmp_path / "other").exists()
    assert open_run(run).commit().layers == 3


def test_train_with_json_prints_events_as_lines(tiny_store, tmp_path):
    result = call(
        "train",
        "tiny",
        "--data",
        tiny_store.path,
        "--run",
        tmp_path / "r",
        "--workers",
        1,
        "--json",
    )
    kinds = [json.loads(line).get("event") for line in result.stdout.splitlines() if line]
    assert kinds[1] == "start"
    assert kinds[-1] == "end"


def test_a_finished_run_is_refused_by_resume(tiny_run):
    result = call("resume", tiny_run.path)
    assert result.exit_code == 1
    assert "has finished" in result.output
