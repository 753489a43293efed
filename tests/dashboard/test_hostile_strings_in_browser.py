"""What strangers wrote, through every view, in a browser: none of it runs, all of it is text."""

import json
import time
from urllib.parse import quote_plus

import numpy as np
import pytest

from tests.conftest import THREADS, threads_cluster
from tests.dashboard.browser import chromium, errors_of, open_plots, until
from tests.dashboard.hostile_strings import HOSTILE
from tests.data.metadata.made_rows import made_lines
from yfccdask import report, train, write_store
from yfccdask.analysis.metadata.figures import metadata_figures
from yfccdask.analysis.metadata.page import write_page
from yfccdask.cli.store_commands import check_page
from yfccdask.config import load_config
from yfccdask.dashboard.live.dask_server import WorkerReading, add_pages
from yfccdask.dashboard.live.documents import all_documents
from yfccdask.dashboard.live.readings import Reading
from yfccdask.dashboard.live.task_names import Job
from yfccdask.dashboard.notebook_progress import WidgetDisplay
from yfccdask.data.metadata.conversion import convert_metadata
from yfccdask.data.plain_texts import facts_html
from yfccdask.data.store_checks import StoreCheck
from yfccdask.training.control.html_status import status_html
from yfccdask.training.history import History
from yfccdask.training.planning import plan

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

EVERYWHERE = """
const found = [];
const walk = root => { for (const each of root.querySelectorAll('*')) {
    found.push(each); if (each.shadowRoot) walk(each.shadowRoot); } };
walk(document);
const odd = found.filter(each => each.id == 'planted' || [...each.attributes].some(
    one => one.name.startsWith('on') && one.value.includes('ran=1')));
return [window.ran || 0, odd.length];
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def assert_nothing_ran(browser):
    """After a moment for what loads late: no script ran, nothing was planted, no dialog opened."""
    time.sleep(1.5)
    assert browser.execute_script(EVERYWHERE) == [0, 0]
    assert not [text for text in errors_of(browser) if "planted" in text]


def opened(browser, path):
    browser.get(path.as_uri())
    assert_nothing_ran(browser)
    return browser.execute_script("return document.body.innerText")


def hostile_lines():
    """Rows of the release with hostile names, devices, titles, descriptions, tags and licences."""
    texts = [quote_plus(text).encode() for text in HOSTILE]
    for number, line in enumerate(made_lines(120, 6, dirt=0.0)):
        fields, text = line.split(b"\t"), texts[number % len(texts)]
        fields[4], fields[7], fields[8], fields[9], fields[10] = [text] * 5
        fields[17] = text
        yield b"\t".join(fields)


def test_the_check_of_the_strings_would_see_what_runs(browser, tmp_path):
    page = tmp_path / "unsafe.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><p>{HOSTILE[2]} {HOSTILE[19]}")
    browser.get(page.as_uri())
    until(lambda: browser.execute_script(EVERYWHERE)[0] == 1, what="the script")
    assert browser.execute_script(EVERYWHERE)[1] == 2


def test_the_page_of_the_metadata(browser, tmp_path):
    (tmp_path / "rows").write_bytes(b"\n".join(hostile_lines()))
    done = convert_metadata([tmp_path / "rows"], tmp_path / "rows.parquet")
    figures = metadata_figures(done.parquet)
    for number, name in enumerate(HOSTILE):
        write_page(figures, tmp_path / f"{number}.html", name)
    for number in (0, 2, 24):
        assert HOSTILE[number] in opened(browser, tmp_path / f"{number}.html")


def test_the_page_of_a_store_s_check(browser, tmp_path):
    facts = {"store": HOSTILE[0], "digest": HOSTILE[1], "damage": list(HOSTILE), "deep": True}
    counts = {"images": 1, "blocks": 1, "rows": 1, "written": 1, "skipped": 0}
    found = StoreCheck(**facts, **counts, reasons=dict.fromkeys(HOSTILE, 1))
    (tmp_path / "check.html").write_text(check_page(found), encoding="utf-8")
    assert HOSTILE[2] in opened(browser, tmp_path / "check.html")


def test_the_report(browser, tmp_path):
    rng, count = np.random.default_rng(0), 48
    images = rng.integers(0, 256, (count, 20, 20, 3), dtype=np.uint8)
    texts = [HOSTILE[number % len(HOSTILE)] for number in range(count)]
    ids = [f"{number} {text}" for number, text in enumerate(texts)]
    store = write_store(
        images, tmp_path / "store", block_size=12, ids=ids, credits=texts, licences=texts
    )
    run = train("tiny", store, tmp_path / "run <img src=x onerror=window.ran=1>", cluster=THREADS)
    text = opened(browser, report(run, store=store, cluster=THREADS))
    assert "run <img src=x onerror=window.ran=1>" in text


def test_what_notebooks_show(browser, tmp_path, tiny_run, tiny_store):
    views = [facts_html(text, [(text, text)]) for text in HOSTILE]
    views += [status_html(made_status(text)) for text in HOSTILE]
    views += [progress_html(text) for text in HOSTILE]
    views += [each._repr_html_() for each in (tiny_run, tiny_store, plan("tiny", workers=1))]
    page = tmp_path / "notebook.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{''.join(views)}", encoding="utf-8")
    text = opened(browser, page)
    assert HOSTILE[2] in text
    assert "yfccdask block store" in text


def progress_html(text):
    display = WidgetDisplay()
    display({"event": "warning", "text": text})
    return display.words.value


def made_status(text):
    layer = {"layer": 1, "blocks": 1, "of": 2, "objective": 1.0, "images_per_second": 2.0}
    return {
        "state": text,
        "run": text,
        "store": text,
        "workers": 2,
        "tick": 1,
        "layers": [layer],
        "ended": {"reason": "failed", "text": text},
    }


class MadeReadings:
    """A run, its incidents and its workers, whose every name was chosen by somebody hostile."""

    def __init__(self):
        self.text = HOSTILE[0]

    def current(self):
        history = History(load_config("tiny"))
        for number, text in enumerate(HOSTILE):
            kind = ("warning", "lost", "end")[number % 3]
            history.add({"event": kind, "time": time.time(), "text": text, "reason": text})
        workers = [
            WorkerReading(text, f"tcp://{text}", 10**8, 10**9, 0, 0, (Job("train", 1, 1, 1),))
            for text in HOSTILE
        ]
        run = made_status(self.text) | {"history": history.snapshot(), "commit": None, "lost": 1}
        return Reading(run, workers, {})


def test_the_dashboard(browser):
    readings = MadeReadings()
    with threads_cluster(1) as cluster:

        async def add(dask_scheduler):
            add_pages(dask_scheduler, all_documents(readings), ["yfccdask"])

        cluster.sync(add, cluster.scheduler)
        base = cluster.dashboard_link.removesuffix("/status")
        for text in HOSTILE:
            readings.text = text
            open_plots(browser, f"{base}/individual-yfccdask-state")
            assert browser.execute_script(EVERYWHERE) == [0, 0], text
        for name in ("yfccdask", "individual-yfccdask-workers", "individual-yfccdask-commits"):
            open_plots(browser, f"{base}/{name}")
            assert_nothing_ran(browser)
        shown = browser.execute_script("return JSON.stringify(Bokeh.documents[0].to_json())")
        assert "onerror" in json.dumps(json.loads(shown))
