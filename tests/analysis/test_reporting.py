"""The report is one file that asks the network for nothing and trusts no text."""

import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from distributed import Client

from tests.analysis.conftest import HOSTILE
from tests.conftest import THREADS, threads_cluster
from yfccdask.analysis import reporting
from yfccdask.analysis.curve_plots import smoothed
from yfccdask.analysis.exporting import export
from yfccdask.analysis.filter_figures import figure_positions
from yfccdask.analysis.optimal_inputs import optimal
from yfccdask.analysis.reporting import report
from yfccdask.analysis.run_facts import duration
from yfccdask.analysis.strongest_pass import strongest_images
from yfccdask.dashboard.summary import elapsed, images_per_second, objective_ends
from yfccdask.errors import RunError

LOADING = ("src", "href", "srcset", "data", "action", "poster", "background")


class Page(HTMLParser):
    """Every tag and attribute of a page, and its text outside of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.inside = [], [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        self.inside = tag

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.text += data

    def handle_endtag(self, tag):
        self.inside = ""


def page_of(path):
    return Page(path.read_text(encoding="utf-8"))


def test_the_report_is_one_file_that_loads_nothing(own_run):
    before = {path.name for path in own_run.path.iterdir()}
    path = report(own_run, cluster=THREADS)
    assert {file.name for file in own_run.path.iterdir()} - before == {"report.html"}
    page = page_of(path)
    loaded = [value for _, name, value in page.attributes if name in LOADING]
    assert loaded
    assert all(value.startswith("data:image/") for value in loaded)
    assert not {"link", "iframe", "object", "embed"} & set(page.tags)
    policy = [value for _, name, value in page.attributes if name == "content"]
    assert any("default-src 'none'" in value for value in policy)
    assert "@import" not in path.read_text()
    assert "url(http" not in path.read_text()


def test_the_report_says_what_the_run_is(own_run, tiny_store):
    page = page_of(report(own_run, cluster=THREADS))
    text = " ".join(page.text.split())
    for part in ("25,080 weights", "50 images", tiny_store.digest, "100 %", "After training"):
        assert part in text
    labels = [value for _, name, value in page.attributes if name == "alt"]
    assert sum(label.startswith("Mosaic") for label in labels) == 5
    assert sum(label == "The unit's filter" for label in labels) == 8
    assert sum(label.startswith("Image ") for label in labels) == (8 + 8 + 6) * 5
    assert [text.count(f"Layer {n}") for n in (1, 2, 3)] == [2, 2, 2]
    assert "patch: 5" in text
    assert "No photographs here" not in text


def test_hostile_texts_are_escaped(own_run, hostile_store):
    path = report(own_run, store=hostile_store, cluster=THREADS)
    html, page = path.read_text(encoding="utf-8"), page_of(path)
    assert "alert(1)</script>" not in html
    assert "<img src=x" not in html
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "b" not in page.tags[: page.tags.index("dl")]
    assert HOSTILE in page.text
    titles = [value for tag, name, value in page.attributes if (tag, name) == ("img", "title")]
    assert any(HOSTILE in title for title in titles)
    assert "not from the store that this run was trained on" in page.text


def test_without_its_store_the_report_has_no_photographs_and_says_so(homeless_run):
    page = page_of(report(homeless_run, cluster=THREADS))
    text = " ".join(page.text.split())
    assert "No photographs here." in text
    assert "/nowhere/at/all" in text
    assert "this was not measured" in text
    assert page.tags.count("img") == 5


def test_what_a_former_pass_measured_is_kept_without_the_store(own_run, homeless_run, tiny_store):
    report(own_run, store=tiny_store, cluster=THREADS)
    text = " ".join(page_of(report(homeless_run)).text.split())
    assert "No photographs here." in text
    assert "(over 50 images)" in text


def test_what_other_analyses_left_is_shown_and_photos_are_left_out_on_request(own_run, tiny_store):
    export(own_run, own_run.path / "out")
    with threads_cluster(1) as cluster, Client(cluster, set_as_default=False) as client:
        optimal(own_run, units=2, steps=2, layers=[3], client=client)
        strongest_images(own_run, tiny_store, k=6, blocks=[3, 1], client=client)
        page = page_of(report(own_run, client=client, photos=False))
    text = " ".join(page.text.split())
    for part in ("What a unit would most like to see", "Taken out of this run", "as safetensors"):
        assert part in text
    assert "They were left out on request." in text
    assert "(over 24 images)" in text, "a former pass over other images serves as well"
    assert page.attributes.count(("section", "id", "optimal")) == 1
    assert not [value for _, _, value in page.attributes if value.startswith("data:image/jpeg")]


def test_a_run_of_fewer_layers_is_reported_as_far_as_it_went(own_run):
    for later in ("00000002", "00000003"):
        shutil.rmtree(own_run.checkpoints / later)
    kept = [e for e in own_run.events() if e["event"] != "end" and e.get("layer", 1) == 1]
    (own_run.path / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in kept))
    text = " ".join(page_of(report(own_run, cluster=THREADS)).text.split())
    assert "Trained so far: 1 of 3 layers. The run is not finished." in text
    assert "Layer 2" not in text


def test_a_run_without_a_commit_has_no_report(own_run):
    shutil.rmtree(own_run.checkpoints)
    with pytest.raises(RunError, match="at least one commit"):
        report(own_run)
    assert not (own_run.path / "report.html").exists()


def test_an_older_report_stays_whole_if_a_new_one_fails(own_run, monkeypatch):
    (own_run.path / "report.html").write_text("older")
    monkeypatch.setattr(reporting, "edge_shares", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report(own_run, cluster=THREADS)
    assert (own_run.path / "report.html").read_text() == "older"


def test_positions_in_the_figure_are_named_once():
    assert list(figure_positions((5, 5)).values()) == [(2, 2), (0, 0), (0, 2), (2, 4)]
    assert figure_positions((1, 1)) == {"Centre": (0, 0)}


def test_rates_and_objectives_come_from_the_blocks():
    blocks = [
        {"seconds": s, "images": 10, "reconstruction": [r, r], "sparsity": [1.0, 1.0]}
        for s, r in zip([2.0, 4.0, 1.0], [3.0, 2.0, 1.0], strict=True)
    ]
    assert images_per_second(blocks) == pytest.approx(30 / 5)
    assert objective_ends(blocks) == (4.0, 2.0)
    assert images_per_second([]) is None
    assert elapsed(np.array([2.0, 4.0, 1.0])).tolist() == [2.0, 4.0, 5.0]


def test_smoothing_keeps_constants_and_length():
    np.testing.assert_allclose(smoothed(np.full(9, 3.0), 4), 3.0)
    assert smoothed(np.arange(3.0), 0).tolist() == [0, 1, 2]


def test_durations_have_two_units():
    assert [duration(s) for s in (1.25, 59.4, 61, 7260, 90_000)] == [
        "1.2 s",
        "59 s",
        "1 min 1 s",
        "2 h 1 min",
        "1 d 1 h",
    ]
