"""Pages and metrics on a scheduler that runs already: routes, menu, JupyterLab's list."""

import json
import urllib.request

import pytest
from distributed import Client

from tests.conftest import threads_cluster
from yfccdask.dashboard.live.documents import PLOTS
from yfccdask.training.control import extensions
from yfccdask.training.control.controller import Controller


def get(cluster, route):
    base = cluster.dashboard_link.removesuffix("/status")
    with urllib.request.urlopen(f"{base}{route}", timeout=30) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def cluster():
    with (
        threads_cluster(1) as cluster,
        Client(cluster.scheduler_address, set_as_default=False) as client,
    ):
        get(cluster, "/metrics")
        client.register_plugin(Controller())
        yield cluster


def test_the_page_is_a_tab_of_every_page_of_dask(cluster):
    assert '<a href="yfccdask">' in get(cluster, "/status")
    assert '<a href="yfccdask">' in get(cluster, "/yfccdask")


def test_every_plot_is_listed_for_jupyterlab_and_answers(cluster):
    listed = json.loads(get(cluster, "/individual-plots.json"))
    ours = {route for route in listed.values() if "yfccdask" in route}
    assert ours == {f"/individual-yfccdask-{name}" for name in PLOTS}
    assert listed["Individual Yfccdask Objective"] == "/individual-yfccdask-objective"
    for route in ours:
        assert "Bokeh" in get(cluster, route)
    assert "/individual-task-stream" in listed.values()


def test_pages_ask_for_nothing_by_an_absolute_path(cluster):
    text = get(cluster, "/yfccdask")
    assert 'src="/' not in text
    assert 'href="/' not in text


def test_metrics_say_that_there_is_no_run_yet(cluster):
    text = get(cluster, "/metrics")
    assert 'dask_yfccdask_state{state="empty"} 1.0' in text
    assert 'dask_yfccdask_state{state="running"} 0.0' in text
    assert text.count("# TYPE dask_yfccdask_state ") == 1


def test_a_second_controller_changes_nothing(cluster):
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        client.register_plugin(Controller())
    assert get(cluster, "/status").count('href="yfccdask"') == 1


def test_a_scheduler_without_dashboard_gets_a_controller_all_the_same():
    with (
        threads_cluster(1, dashboard_address=None) as cluster,
        Client(cluster.scheduler_address, set_as_default=False) as client,
    ):
        client.register_plugin(Controller())
        assert "yfccdask" in cluster.scheduler.plugins


def test_an_extension_that_fails_is_said_and_leaves_the_others_alone(caplog):
    seen = []

    def failing(controller, scheduler):
        raise RuntimeError("no room")

    both = {"first": failing, "second": lambda *given: seen.append(given)}
    extensions.install_all(both, "controller", "scheduler")
    assert seen == [("controller", "scheduler")]
    assert "first" in caplog.text
    assert "no room" in caplog.text


def test_the_pages_are_an_installed_extension():
    assert "dashboard" in extensions.found_extensions()
