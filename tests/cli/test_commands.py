"""The commands as a person types them: output, JSON, exit codes, messages."""

import json

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

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


def test_plan_prints_the_paper_s_table():
    result = call("plan", "paper")
    assert result.exit_code == 0
    for text in ("15,355,871,232", "72 x 72 = 5,184", "62 x 62 = 3,844", "1,161,600"):
        assert text in result.output


def test_plan_as_json_has_exact_integers():
    facts = json.loads(call("plan", "paper", "--json").output)
    assert facts["total"]["weights"] == 15_355_871_232
    assert [layer["weights"] for layer in facts["layers"]] == [
        1_528_823_808,
        9_069_133_824,
        4_757_913_600,
    ]
    assert facts["layers"][0]["flop_per_image"] == 10 * 1_528_823_808


def test_plan_says_how_many_images_stay_unused(tiny_store):
    result = call("plan", "tiny", "--data", tiny_store.path)
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
