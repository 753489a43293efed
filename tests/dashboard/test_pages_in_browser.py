"""The pages in headless Chromium, against a run that trains: curves move, every state is said."""

import time
from contextlib import suppress

import pytest

from tests.dashboard.browser import (
    chromium,
    columns,
    errors_of,
    jupyter_server,
    models,
    open_plots,
    until,
)
from tests.dashboard.made_runs import FAILING, begun, watched_cluster
from yfccdask.dashboard.live.documents import PLOTS
from yfccdask.errors import YfccdaskError
from yfccdask.training.control.live import attach

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

TEXTS = "div => div.text"
TITLES = "title => title.text"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with watched_cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def header(browser):
    return " ".join(models(browser, "Div", TEXTS))


def points(browser):
    """Points of all curves of objectives, added up."""
    return sum(map(len, columns(browser, "smoothed")))


def test_every_state_is_said_and_curves_move(cluster, browser, tiny_store, tmp_path):
    client, base = cluster
    live = attach(client)
    open_plots(browser, f"{base}/yfccdask")
    assert "No run was trained" in header(browser)
    assert points(browser) == 0

    run = begun(client, tiny_store, tmp_path / "run")
    until(lambda: "running" in header(browser), what="running")
    assert str(run.path) in header(browser)
    seen = until(lambda: points(browser), what="first points")
    until(lambda: points(browser) > seen + 20, what="more points")
    until(lambda: any(columns(browser, "height")), what="filters")
    assert any(title.startswith("layer 1:") for title in models(browser, "Title", TITLES))
    assert ["layer 2 starts"] in columns(browser, "text")

    live.pause()
    until(lambda: ">paused<" in header(browser), what="paused")
    still = points(browser)
    time.sleep(2.5)
    assert points(browser) == still
    live.resume()
    until(lambda: points(browser) > still, what="points after the pause")

    live.stop()
    until(lambda: ">stopped<" in header(browser), what="stopped")
    assert points(browser) >= still
    assert errors_of(browser) == []


def test_a_failed_run_says_why_and_a_finished_one_that_it_is(
    cluster, browser, tiny_store, tmp_path
):
    client, base = cluster
    open_plots(browser, f"{base}/yfccdask")
    with suppress(YfccdaskError):  # it may fail before it has begun
        begun(client, tiny_store, tmp_path / "failing", FAILING)
    until(lambda: ">failed<" in header(browser), what="failed")
    assert "the descent diverged" in header(browser)

    begun(client, tiny_store, tmp_path / "short", ("layers.0.passes=2",))
    until(lambda: ">finished<" in header(browser), what="finished")
    until(lambda: "8 of 8 blocks" in header(browser), what="all blocks")
    assert errors_of(browser) == []


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_stands_alone(cluster, browser, name):
    open_plots(browser, f"{cluster[1]}/individual-yfccdask-{name}")
    size = "return [document.body.scrollWidth, document.body.scrollHeight]"
    assert min(browser.execute_script(size)) > 100
    assert errors_of(browser) == []


def test_pages_work_behind_jupyter_server_proxy(cluster, browser, tiny_store, tmp_path):
    client, base = cluster
    begun(client, tiny_store, tmp_path / "proxied")
    with jupyter_server(tmp_path) as server:
        proxied = f"{server}/proxy/{base.rpartition(':')[2]}"
        open_plots(browser, f"{proxied}/yfccdask")
        seen = until(lambda: points(browser), what="points through the proxy")
        until(lambda: points(browser) > seen, what="more points through the proxy")
        open_plots(browser, f"{proxied}/individual-yfccdask-objective")
        until(lambda: points(browser), what="points of the plot alone")
        assert errors_of(browser) == []
    attach(client).stop()
