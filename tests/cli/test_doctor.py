"""``yfccdask doctor`` as a person types it: lines, JSON, exit codes."""

import json

import pytest
from click.testing import CliRunner
from distributed import Client

from tests.conftest import threads_cluster
from yfccdask.cli.doctor_commands import doctor_command
from yfccdask.training.clusters import connections


def call(*arguments):
    return CliRunner().invoke(doctor_command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def address():
    with threads_cluster(1) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def hasty(monkeypatch):
    """A scheduler that isn't there is given up soon."""
    monkeypatch.setattr(connections, "Client", lambda **o: Client(**o | {"timeout": "0.5s"}))


def test_a_line_per_finding_and_exit_code_0_with_warnings(address, tiny_store, tmp_path):
    result = call("--scheduler", address, "--data", tiny_store.path, "--run", tmp_path / "run")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    names = ("client", "pins", "disk", "data", "answers", "versions", "blas", "threads", "gpus")
    names += ("bindings", "scratch", "shared", "memory", "settings", "network", "controller")
    names += ("dashboard", "store")
    for name in names:
        assert any(line.split()[1] == name for line in lines), name
    assert all(" -> " in line for line in lines if line.startswith("warning"))
    assert any("--preload yfccdask.preload" in line for line in lines)
    assert lines[-1].endswith("failures: 0")


def test_json_is_one_object(address, tmp_path):
    result = call("--scheduler", address, "--run", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.output)
    assert set(facts) == {"checks", "failures", "warnings"}
    assert set(facts["checks"][0]) == {"name", "level", "found", "remedy"}
    levels = [check["level"] for check in facts["checks"]]
    assert (facts["failures"], facts["warnings"]) == (0, levels.count("warning"))


def test_a_scheduler_that_is_not_there_is_a_failure_and_no_traceback(hasty, tmp_path):
    result = call("--scheduler", "tcp://127.0.0.1:1", "--run", tmp_path)
    assert result.exit_code == 1
    assert "failure  cluster     " in result.output
    assert "expected a Dask scheduler at tcp://127.0.0.1:1, found none" in result.output
    assert result.output.startswith("ok       client")
    assert "Traceback" not in result.output


def test_a_folder_that_can_t_be_written_is_a_failure(address, tmp_path):
    (tmp_path / "file").touch()
    result = call("--scheduler", address, "--run", tmp_path / "file" / "run")
    assert result.exit_code == 1
    assert "failure  disk        " in result.output
    assert "is no folder" in result.output
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_settings_need_a_configuration():
    result = call("--set", "layers.0.units=8")
    assert result.exit_code == 2
    assert "expected --config with --set" in result.output


def test_two_schedulers_are_wrong_use():
    assert call("--scheduler", "tcp://a:1", "--scheduler-file", "s.json").exit_code == 2
