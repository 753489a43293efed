"""JupyterLab in a browser, with Dask's extension: its side panel, and plots as panes."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.dashboard.browser import READY, jupyter_server, until

OPTIONS = ("--expose-app-in-browser", "--ServerApp.terminals_enabled=False")
QUIET = {"notification": {"fetchNews": "false", "checkForUpdates": False}}
LOADED = """
return Boolean(window.jupyterapp && document.querySelector('.jp-LabShell')
    && !document.querySelector('#jupyterlab-splash'));
"""
RUN = """
const done = arguments[arguments.length - 1];
window.jupyterapp.commands.execute(arguments[0], arguments[1]).then(() => done(), done);
"""
FRAME = """
const widget = window.jupyterapp.shell.currentWidget;
return widget && widget.node.querySelector('iframe');
"""
MOVE = """
const shell = window.jupyterapp.shell, moved = shell.currentWidget;
const other = [...shell.widgets('main')].find(each => each.title.label === arguments[1]);
shell.add(moved, 'main', {mode: arguments[0], ref: other.id});
"""
BOX, ITEMS = ".dask-URLInput-wrapper input", ".dask-DashboardListing-item button"
NEW = ".dask-DaskClusterManager jp-button, .dask-DaskClusterManager button"
DASK_TAB = "li[data-id='dask-dashboard-launcher']"


@contextmanager
def jupyter_lab(folder: Path) -> Iterator[str]:
    """A JupyterLab under a base URL, without its news; yields its address."""
    settings = folder / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    for name, values in QUIET.items():
        (settings / f"{name}.jupyterlab-settings").write_text(json.dumps(values))
    with jupyter_server(folder, "jupyterlab", *OPTIONS) as address:
        yield address


def open_lab(browser: webdriver.Chrome, address: str) -> None:
    """Open JupyterLab in a workspace that nobody has changed, Dask's side panel in front."""
    browser.get(f"{address}/lab?reset")
    until(lambda: browser.execute_script(LOADED), what="JupyterLab")
    until(lambda: shown(browser, DASK_TAB), what="Dask's side panel")
    if not shown(browser, BOX):
        browser.find_element(By.CSS_SELECTOR, DASK_TAB).click()
    until(lambda: shown(browser, BOX), what="the box for the address")


def command(browser: webdriver.Chrome, name: str, **options: Any) -> None:
    """Run a command of JupyterLab's."""
    failed = browser.execute_async_script(RUN, name, options)
    assert failed is None, failed


def shown(browser: webdriver.Chrome, selector: str) -> list[Any]:
    """The elements that are seen."""
    found = browser.find_elements(By.CSS_SELECTOR, selector)
    return [each for each in found if each.is_displayed()]


def listed_plots(browser: webdriver.Chrome, dashboard: str) -> list[str]:
    """The plots that the side panel lists for a dashboard's address."""
    (box,) = shown(browser, BOX)
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(dashboard, Keys.ENTER)
    return until(lambda: plot_names(browser), what=f"plots of {dashboard}")


def new_cluster(browser: webdriver.Chrome) -> str:
    """Have the extension start a cluster of its own; its scheduler's address."""
    (button,) = [each for each in shown(browser, NEW) if each.text.strip().upper() == "NEW"]
    button.click()
    until(lambda: shown(browser, ".dask-ClusterListingItem"), what="a new cluster")
    address = browser.current_url.partition("/lab")[0]
    with urllib.request.urlopen(f"{address}/dask/clusters", timeout=30) as answer:
        (found,) = json.load(answer)
    return str(found["scheduler_address"])


def plot_names(browser: webdriver.Chrome) -> list[str]:
    """The plots that the side panel lists now; the extension's style has them in capitals."""
    found = browser.find_elements(By.CSS_SELECTOR, ITEMS)
    return [each.get_attribute("value") for each in found]


def open_pane(browser: webdriver.Chrome, name: str) -> None:
    """Open a plot as a pane, and wait until it is drawn."""
    found = browser.find_elements(By.CSS_SELECTOR, ITEMS)
    (item,) = [each for each in found if each.get_attribute("value") == name]
    item.click()
    with pane(browser):
        until(lambda: browser.execute_script(READY), what=f"{name} drawn")


@contextmanager
def pane(browser: webdriver.Chrome) -> Iterator[str]:
    """Look into the pane in front; yields its address."""
    frame = until(lambda: browser.execute_script(FRAME), what="a pane")
    address = frame.get_attribute("src")
    browser.switch_to.frame(frame)
    try:
        yield address
    finally:
        browser.switch_to.default_content()


def move_pane(browser: webdriver.Chrome, mode: str, beside: str) -> None:
    """Put the pane in front beside another, ``split-right`` or so, as dragging its tab does."""
    browser.execute_script(MOVE, mode, beside)
