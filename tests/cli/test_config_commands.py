"""``config dask`` and ``config cluster``: what other processes of a cluster are started with."""

import json
import stat

import yaml
from click.testing import CliRunner

from yfccdask.cli.group import main
from yfccdask.training.dask_settings import SETTINGS_FILE, TRAINING_SETTINGS, flattened


def said(*line):
    result = CliRunner().invoke(main, ["config", *map(str, line)])
    assert result.exit_code == 0, result.output
    return result.output.strip()


def test_dask_s_settings_are_printed_with_their_reasons_and_their_place():
    assert flattened(yaml.safe_load(said("dask"))) == TRAINING_SETTINGS
    assert "# a moved chunk is a moved model" in said("dask")
    assert said("dask", "--path") == str(SETTINGS_FILE)
    assert json.loads(said("dask", "--json"))["settings"] == TRAINING_SETTINGS


def test_a_cluster_s_folder_is_made_once(tmp_path):
    folder = tmp_path / "cluster"
    assert said("cluster", folder) == str(folder / "dask")
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    again = CliRunner().invoke(main, ["config", "cluster", str(folder)])
    assert again.exit_code == 1
    assert "expected no folder" in again.output
