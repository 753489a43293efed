"""What strangers wrote, through the gallery and a report of all analyses, in a browser."""

import numpy as np
import pytest

from tests.conftest import THREADS
from tests.dashboard.hostile_strings import HOSTILE
from tests.dashboard.test_hostile_strings_in_browser import browser, opened
from yfccdask import encode, export, optimal, report, stimuli, train, write_store

pytestmark = pytest.mark.browser
__all__ = ["browser"]  # the fixture


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A run in a folder, on a store, whose every name and text was chosen by somebody hostile."""
    folder = tmp_path_factory.mktemp("hostile") / "a <img src=x onerror=window.ran=1>"
    texts = list(HOSTILE)
    images = np.random.default_rng(0).integers(0, 256, (len(texts), 20, 20, 3), dtype=np.uint8)
    ids = [f"{number} {text}" for number, text in enumerate(texts)]
    how = {"block_size": 12, "ids": ids, "credits": texts, "licences": texts}
    store = write_store(images, folder / "store", **how)
    return train("tiny", store, folder / "run", cluster=THREADS), store


def test_the_gallery_s_pages(hostile, browser):
    run, store = hostile
    found = stimuli(run, store, k=len(HOSTILE), layers=[1, 3], positions=1, cluster=THREADS)
    opened(browser, found.page)
    for path in found.page.parent.glob("layer-*.html"):
        text = " ".join(opened(browser, path).split())
        for one in HOSTILE:
            assert " ".join(one.split())[:20].strip() in text
    stimuli(run, store, k=30, layers=[3], photos=False, cluster=THREADS)
    opened(browser, found.page.parent / "layer-3-0-0-1.html")


def test_a_report_of_all_that_is_there(hostile, browser):
    run, store = hostile
    encode(run, store, run.path.parent / "features", cluster=THREADS)
    export(run, run.path.parent / "network")
    optimal(run, units=2, steps=3, store=store, cluster=THREADS)
    stimuli(run, store, positions=1, cluster=THREADS)
    text = opened(browser, report(run, cluster=THREADS))
    for part in ("Taken out of this run", "The whole gallery", "What a unit would most like"):
        assert part in text
