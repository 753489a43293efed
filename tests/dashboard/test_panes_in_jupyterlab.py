"""The plots as panes of a real JupyterLab with Dask's extension: listed, drawn, and they move."""

import pytest
from distributed import Client

from tests.dashboard.browser import chromium, columns, errors_of, models, until
from tests.dashboard.lab import (
    command,
    jupyter_lab,
    listed_plots,
    new_cluster,
    open_lab,
    open_pane,
    pane,
    plot_names,
)
from tests.dashboard.made_runs import begun, watched_cluster
from yfccdask.dashboard.live.documents import PLOTS
from yfccdask.training.control.live import attach

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
pytest.importorskip("dask_labextension", reason="needs the extra [jupyter]")
OURS = {f"Yfccdask {name.capitalize()}" for name in PLOTS}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, tiny_store):
    folder = tmp_path_factory.mktemp("cluster")
    with watched_cluster(folder) as (client, base):
        begun(client, tiny_store, folder / "run")
        yield base
        attach(client).stop()


@pytest.fixture
def lab(tmp_path):
    with jupyter_lab(tmp_path) as address, chromium() as browser:
        open_lab(browser, address)
        yield browser


def points(browser):
    return sum(map(len, columns(browser, "smoothed")))


def assert_moves(browser):
    """Curves in the pane in front grow."""
    with pane(browser) as address:
        seen = until(lambda: points(browser), what="points")
        until(lambda: points(browser) > seen, what="more points")
    return address


def test_panes_are_listed_and_move_by_address_and_through_the_proxy(cluster, lab):
    assert set(listed_plots(lab, f"{cluster}/status")) >= OURS
    open_pane(lab, "Yfccdask Objective")
    assert assert_moves(lab) == f"{cluster}/individual-yfccdask-objective"

    port = cluster.rpartition(":")[2]
    command(lab, "application:close-all")
    assert set(listed_plots(lab, f"proxy/{port}/status")) >= OURS
    open_pane(lab, "Yfccdask Objective")
    assert f"/user/somebody/proxy/{port}/individual-" in assert_moves(lab)
    assert errors_of(lab) == []


def test_every_pane_is_drawn_and_those_with_room_fill_it(cluster, lab):
    listed_plots(lab, cluster)
    for name in sorted(OURS):
        open_pane(lab, name)
    open_pane(lab, "Yfccdask Filters")
    with pane(lab):
        (height,) = models(lab, "Figure", "plot => plot.inner_height")
        window = lab.execute_script("return window.innerHeight")
    assert height > 0.8 * window
    assert errors_of(lab) == []


def test_a_cluster_that_the_extension_started_lists_them_once_something_trains(
    lab, tiny_store, tmp_path
):
    scheduler = new_cluster(lab)
    until(lambda: plot_names(lab), what="plots of the new cluster")
    assert not OURS & set(plot_names(lab))
    with Client(scheduler, set_as_default=False) as client:
        begun(client, tiny_store, tmp_path / "run")
        until(lambda: set(plot_names(lab)) >= OURS, what="our plots")
        open_pane(lab, "Yfccdask Objective")
        assert "/user/somebody/dask/dashboard/" in assert_moves(lab)
        attach(client).stop()
