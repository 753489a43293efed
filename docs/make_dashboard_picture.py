"""Makes docs/pictures/dashboard*.png: ``python docs/make_dashboard_picture.py STORE FOLDER``.

Trains the demo's network, staggered, on a store of 64 x 64 photographs (as `yfccdask demo` makes),
on a scheduler and two workers of its own, and takes pictures of the page in headless Chromium while
the run trains, while it is paused, and when it has been stopped.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from distributed import Client

from tests.dashboard.browser import chromium, open_plots, save_picture, until
from tests.training.processes import running_cluster
from yfccdask import ClusterRequest, attach, load_config, train

PICTURES = Path(__file__).with_name("pictures")
SETTINGS = (
    "pipeline.start=after_blocks", "pipeline.after_blocks=40", "pipeline.sync_every=10",
    "layers.0.passes=12", "layers.1.passes=12", "layers.2.passes=12",
    "checkpoints.every_blocks=25", "checkpoints.most_share=null", "engine.stage_fields=recompute",
)  # fmt: skip
BLOCKS_OF_TOP = 30
PATIENCE = 1500


def make(store: str, folder: Path) -> None:
    """Train, look, and stop."""
    folder.mkdir(parents=True)
    with (
        running_cluster(folder) as (file, _),
        Client(scheduler_file=str(file), set_as_default=False) as client,
        chromium(1500, 1200) as browser,
    ):
        base = client.dashboard_link.removesuffix("/status")
        open_plots(browser, f"{base}/yfccdask")
        save_picture(browser, folder / "empty.png")
        where = ClusterRequest(scheduler=client.scheduler.address)
        train(load_config("demo", SETTINGS), store, folder / "run-1", cluster=where, follow=False)
        live = attach(client)
        until(lambda: live.status()["layers"][-1]["blocks"] >= BLOCKS_OF_TOP, PATIENCE)
        save_picture(browser, PICTURES / "dashboard.png")
        live.pause()
        until(lambda: live.status()["state"] == "paused", PATIENCE)
        time.sleep(3)
        save_picture(browser, folder / "paused.png")
        live.stop()
        until(lambda: live.status()["state"] == "idle", PATIENCE)
        time.sleep(3)
        save_picture(browser, folder / "stopped.png")


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
