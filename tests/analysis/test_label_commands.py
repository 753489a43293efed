"""The commands about words and labels, as a user types them, and the report's sections."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from markupsafe import escape

from tests.analysis.conftest import HOSTILE
from tests.analysis.made_metadata import made_rows, write_metadata
from tests.analysis.test_reporting import Page
from tests.conftest import THREADS
from yfccdask.analysis.network_pass import activations
from yfccdask.analysis.reporting import SECTIONS
from yfccdask.cli import options
from yfccdask.cli.group import main
from yfccdask.data import write_store
from yfccdask.data.runs import open_run


@pytest.fixture
def run_command(monkeypatch):
    """Run a command on this process's threads; returns what it printed."""
    monkeypatch.setattr(options, "ClusterRequest", lambda **asked: THREADS)

    def run(*arguments, code=0):
        result = CliRunner().invoke(main, [str(part) for part in arguments])
        assert result.exit_code == code, result.output
        return result.stdout if code == 0 else result.output

    return run


@pytest.fixture(scope="module")
def named_store(tiny_store, tmp_path_factory):
    """The tiny store's images under numbers at Flickr."""
    ids = [str(10**9 + row) for row in range(tiny_store.images)]
    path = tmp_path_factory.mktemp("named") / "store"
    return write_store(tiny_store.read(range(50)), path, block_size=12, ids=ids)


@pytest.fixture(scope="module")
def files(tiny_run, named_store, tmp_path_factory):
    """Labels, and metadata whose tags, are a unit's strongest photographs."""

    folder = tmp_path_factory.mktemp("files")
    top = activations(tiny_run, named_store).values[:, 0, 0]
    unit = top[:, top.std(axis=0).argmax()]
    rows = made_rows([10**9 + row for row in range(50)], np.random.default_rng(0), words=3)
    for row in unit.argsort()[-12:]:
        rows[row]["tags"].append(HOSTILE)
    ids = [str(row["id"]) for row in rows]
    strong = unit > np.median(unit)
    label = np.where(strong, HOSTILE, "weak")
    pd.DataFrame({"id": ids, "label": label}).to_csv(folder / "labels.csv", index=False)
    return write_metadata(folder / "metadata", rows), folder / "labels.csv"


def test_commands_find_words_and_labels_and_the_report_shows_them(
    run_command, own_run, named_store, files
):
    metadata, labels = files
    what = (own_run.path, named_store.path)
    words = json.loads(run_command("tags", *what, metadata, "-k", 12, "--json"))
    assert words["table"][0]["word"] == HOSTILE.lower()
    assert words["kept"] == len(words["table"])
    assert words["tested"] == words["units"] * words["words"]
    text = run_command("selectivity", *what, "--labels", labels, "--least", 5)
    assert "weak" in text
    assert "50 of 50 ids" in text
    probes = json.loads(
        run_command("probe", *what, "--labels", labels, "--layers", 3, "--no-baselines", "--json")
    )
    assert {row["features"] for row in probes["table"]} == {"layer 3"}
    run = open_run(own_run.path)
    sections = [part for make in SECTIONS if (part := make(run, run.commit()))]
    html = "".join(f"<h2>{escape(each.title)}</h2>{each.body}" for each in sections)
    page = Page(html)
    shown = " ".join(page.text.split())
    for title in ("Neurons with words", "Single units as detectors", "What a classifier can read"):
        assert title in shown
    assert HOSTILE[:40].lower() in shown
    assert "<img src=x" not in html.lower()
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not [each.note for each in sections if each.note]


def test_wrong_use_is_said_in_a_line(run_command, own_run, named_store, files, tmp_path):
    what = (own_run.path, named_store.path)
    text = run_command("selectivity", *what, "--labels", tmp_path / "absent.csv", code=1)
    assert "expected labels at" in text
    text = run_command("probe", *what, "--labels", files[1], "--feature-memory", "much", code=2)
    assert "expected a size such as 2GB" in text
    text = run_command("tags", *what, files[0], "--kinds", "title", code=1)
    assert "expected kinds of words out of tag, device, place, year" in text
    text = run_command("compare", own_run.path, own_run.path, code=1)
    assert "found the same commit" in text


def test_labels_may_be_tags_and_the_commit_an_older_one(run_command, own_run, named_store, files):
    what = (own_run.path, named_store.path, "--labels", files[0], "--least", 1)
    found = json.loads(
        run_command("selectivity", *what, "--sample", 24, "--checkpoint", 1, "--json")
    )
    assert "26 images labelled" in found["labels"]
    assert found["commit"] == 1
    assert {row["layer"] for row in found["table"]} == {1}
