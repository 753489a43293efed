"""Headless Chromium through chromedriver, for tests that look at pages as a person does."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
JUPYTER_FOLDERS = (
    "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR",
)  # fmt: skip
READY = """
const docs = (window.Bokeh || {documents: []}).documents;
return docs.length > 0 && docs.every(each => each.is_idle);
"""
MODELS = """
return Bokeh.documents.flatMap(each => [...each._all_models.values()])
    .filter(each => each.type == arguments[0])
    .map(each => eval(arguments[1])(each));
"""
COLUMN = """source => {
    const data = source.data, values = data.get ? data.get('NAME') : data['NAME'];
    return values == null ? null : Array.from(values);
}"""


@contextmanager
def chromium(width: int = 1500, height: int = 1200) -> Iterator[webdriver.Chrome]:
    """A browser of its own; whatever a page logs to its console is kept."""
    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    profile = tempfile.mkdtemp(prefix="chromium-")
    for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    browser.set_page_load_timeout(60)
    try:
        yield browser
    finally:
        browser.quit()
        shutil.rmtree(profile, ignore_errors=True)


def open_plots(browser: webdriver.Chrome, url: str) -> None:
    """Open a page of Bokeh plots and wait until they are drawn."""
    browser.get(url)
    until(lambda: browser.execute_script(READY), what=f"{url} drawn")


def models(browser: webdriver.Chrome, kind: str, values: str) -> list:
    """A function's values (JavaScript) for every model of a kind on the page."""
    return browser.execute_script(MODELS, kind, values)


def columns(browser: webdriver.Chrome, name: str) -> list[list]:
    """A column of every source that has it."""
    found = models(browser, "ColumnDataSource", COLUMN.replace("NAME", name))
    return [values for values in found if values is not None]


def until(condition, seconds: float = 120, what: str = "that"):
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: never came to be so"
        time.sleep(0.1)
    return found


def errors_of(browser: webdriver.Chrome) -> list[str]:
    """What went wrong on the page by its own console."""
    return [each["message"] for each in browser.get_log("browser") if each["level"] == "SEVERE"]


def save_picture(browser: webdriver.Chrome, path: Path) -> None:
    """A screenshot of the whole page."""
    height = browser.execute_script("return document.documentElement.scrollHeight")
    width = browser.execute_script("return window.innerWidth")
    browser.set_window_size(width, height + 140)
    time.sleep(1.0)
    browser.save_screenshot(str(path))


@contextmanager
def jupyter_server(folder: Path, module: str = "jupyter_server", *options: str) -> Iterator[str]:
    """A Jupyter server with jupyter-server-proxy under a base URL, as a hub starts one.

    Nobody's own settings are read, and none are left but in ``folder``.
    """
    base, port = "/user/somebody", free_port()
    command = [sys.executable, "-m", module, "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--ServerApp.base_url={base}/", f"--ServerApp.port={port}"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder}", *options]
    own = {name: str(folder / name.lower()) for name in JUPYTER_FOLDERS}
    with (folder / "jupyter.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | own)
    try:
        address = f"http://127.0.0.1:{port}{base}"
        until(lambda: _answers(f"{address}/api"), what=(folder / "jupyter.log").read_text())
        yield address
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False
