"""Makes docs/pictures/lab.png: ``PYTHONPATH=. python docs/make_lab_picture.py STORE FOLDER``.

Trains the demo's network, staggered, on a store of 64 x 64 photographs (as `yfccdask demo` makes),
on a scheduler and two workers of its own, opens three plots as panes of JupyterLab through Dask's
extension and jupyter-server-proxy, and takes a picture of them in headless Chromium.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from distributed import Client

from docs.make_dashboard_picture import PATIENCE, PICTURES, SETTINGS
from tests.dashboard.browser import chromium, until
from tests.dashboard.lab import jupyter_lab, listed_plots, move_pane, open_lab, open_pane
from tests.training.processes import running_cluster
from yfccdask import ClusterRequest, attach, load_config, train

PANES = {  # where each goes, beside which
    "Objective": None,
    "Filters": ("split-right", "Objective"),
    "Pipeline": ("split-bottom", "Filters"),
}
SECONDS = 40  # of training to be seen
BLOCKS_OF_TOP = 12


def make(store: str, folder: Path) -> None:
    """Train, open the panes, look, and stop."""
    folder.mkdir(parents=True)
    with (
        running_cluster(folder) as (file, _),
        Client(scheduler_file=str(file), set_as_default=False) as client,
        jupyter_lab(folder) as address,
        chromium(1600, 950) as browser,
    ):
        where = ClusterRequest(scheduler=client.scheduler.address)
        train(
            load_config("demo", [*SETTINGS, "pipeline.after_blocks=15"]),
            store,
            folder / "run-1",
            cluster=where,
            follow=False,
        )
        live = attach(client)
        until(lambda: live.status()["layers"][-1]["blocks"] >= BLOCKS_OF_TOP, PATIENCE)
        open_lab(browser, address)
        port = client.dashboard_link.removesuffix("/status").rpartition(":")[2]
        listed_plots(browser, f"proxy/{port}/status")
        for name, place in PANES.items():
            open_pane(browser, f"Yfccdask {name}")
            if place:
                move_pane(browser, place[0], f"Yfccdask {place[1]}")
        time.sleep(SECONDS)
        browser.save_screenshot(str(PICTURES / "lab.png"))
        live.stop()


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
