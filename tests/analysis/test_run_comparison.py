"""Two runs side by side: what differs is said, what doesn't compare is refused."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.analysis.test_reporting import LOADING, page_of
from yfccdask.analysis.results import new_result
from yfccdask.analysis.run_comparison import compare, probe_table
from yfccdask.data.runs import open_run
from yfccdask.errors import RunError


def changed(run, path, change):
    """A copy of a run whose configuration says something else."""
    shutil.copytree(run.path, path)
    tree = yaml.safe_load((path / "config.yaml").read_text())
    change(tree)
    (path / "config.yaml").write_text(yaml.safe_dump(tree))
    return open_run(path)


@pytest.fixture
def other_run(tiny_run, tmp_path):
    """A run of two layers, of another seed and rate, with another sparsity above."""

    def change(tree):
        tree["seed"], tree["layers"][0]["rate"], tree["layers"][1]["sparsity"] = 7, 0.002, 0.2
        del tree["layers"][2]

    run = changed(tiny_run, tmp_path / "other", change)
    shutil.rmtree(run.checkpoints / "00000003")
    return run


def kept_probe(run, store, accuracy, **parameters):
    rows = [
        {"features": name, "probe": kind, "accuracy": accuracy, "error": 0.03, "width": 9}
        for name in ("pixels", "layer 1")
        for kind in ("linear", "neighbours")
    ]
    what = {"labels_sha256": "same", "seed": 0, **parameters}
    with new_result(run, "probe", run.commit(), store, what) as draft:
        pd.DataFrame(rows).to_parquet(draft.folder / "probes.parquet")


def test_two_runs_are_put_side_by_side(own_run, other_run, tiny_store):
    kept_probe(own_run, tiny_store, 0.5)
    kept_probe(other_run, tiny_store, 0.6)
    found = compare(own_run, other_run)
    settings = found.settings.set_index("key")
    assert settings.loc["seed"].tolist() == ["0", "7"]
    assert settings.loc["layers.0.rate", "second"] == "0.002"
    assert settings.loc["layers.2.kind"].tolist() == ["dense", ""]
    assert "layers.0.window" not in settings.index
    assert found.layers["layer"].tolist() == [1, 2]
    assert found.layers["obstacle"].tolist() == ["", "sparsity of 0.1 against 0.2"]
    assert (found.layers[["objective_first", "objective_second"]] > 0).all(axis=None)
    np.testing.assert_allclose(found.probes["difference"], 0.1)
    np.testing.assert_allclose(found.probes["error"], 0.03 * 2**0.5)
    assert found.edges["run"].tolist() == ["first", "second"]
    assert json.dumps(found.as_dict())
    page = page_of(found.page)
    text = " ".join(page.text.split())
    for part in ("a <b>run and other", "layers.0.rate", "no: sparsity of 0.1", "+10.0"):
        assert part in text
    loaded = [value for _, name, value in page.attributes if name in LOADING]
    assert len(loaded) == 2
    assert all(value.startswith("data:image/") for value in loaded)
    assert text.count("Layer 1") == 1
    assert "Layer 2" not in text  # no curves where they don't compare
    assert json.loads((own_run.analysis / "compare" / "manifest.json").read_text())["parameters"]


def test_probes_that_don_t_compare_are_left_out_and_it_is_said(own_run, other_run, tiny_store):
    runs = (own_run, other_run)
    commits = (runs[0].commit(), runs[1].commit())
    table, notes = probe_table(runs, commits)
    assert len(table) == 0
    assert f"run `yfccdask probe` for {own_run.path} and for {runs[1].path}" in notes[0]
    kept_probe(own_run, tiny_store, 0.5)
    for parameters in ({"seed": 1}, {"labels_sha256": "other"}):
        kept_probe(runs[1], tiny_store, 0.6, **parameters)
        table, notes = probe_table(runs, commits)
        assert len(table) == 0
        assert "don't compare: of" in notes[0]
    kept_probe(runs[1], tiny_store, 0.6)
    assert len(probe_table(runs, commits)[0]) == 4


def test_nonsense_is_refused(own_run, other_run, tiny_run, tmp_path):
    with pytest.raises(RunError, match="found the same commit"):
        compare(own_run, tiny_run)
    grey = changed(other_run, tmp_path / "grey", lambda tree: tree["images"].update(channels=1))
    with pytest.raises(RunError, match=r"images.channels of 3 .* and 1"):
        compare(own_run, grey)
    shutil.rmtree(grey.checkpoints)
    with pytest.raises(RunError, match="at least one commit"):
        compare(own_run, grey)
    assert not (own_run.analysis / "compare").exists()
