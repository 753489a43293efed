"""The demo: on a folder of one's own, used again, put aside when unfinished; and for real."""

import shutil

import numpy as np
import pytest
from PIL import Image

from yfccdask.analysis.edge_share import edge_shares
from yfccdask.analysis.strongest_pass import stored_strongest_images
from yfccdask.cli import demonstration
from yfccdask.cli.demonstration import demo
from yfccdask.data.digests import digest
from yfccdask.errors import YfccdaskError
from yfccdask.training.clusters import ClusterRequest

SMALL = [
    "images.size=28",
    "batching={data_block: 24, mini_batch: 6}",
    "preprocessing.whitening={patch: 5, samples: 500}",
    "layers.0.units=16",
    "layers.1.units=16",
    "layers.2.units=5",
    *(f"layers.{layer}.passes=1" for layer in range(3)),
    "checkpoints.most_share=null",  # a commit at each layer's end, on a busy machine too
]


@pytest.fixture
def photos(tmp_path, rng):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        pixels = rng.integers(0, 256, size=(60, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def small_demo(photos, tmp_path, **options):
    events = []
    done = demo(
        images=photos,
        run=tmp_path / "run",
        data=tmp_path / "data",
        crops=48,
        overrides=options.get("overrides", SMALL),
        cluster=ClusterRequest(workers=1, processes=False),
        on_event=events.append,
    )
    return done, events


def test_a_demo_ends_with_a_report_and_a_second_one_uses_it_again(photos, tmp_path):
    done, events = small_demo(photos, tmp_path)
    assert done.report.read_text().startswith("<!")
    assert [layer["layer"] for layer in done.layers] == [1, 2, 3]
    assert events[0]["dashboard"].startswith("http://127.0.0.1")
    written = done.report.stat().st_mtime_ns
    again, nothing = small_demo(photos, tmp_path)
    assert not nothing
    assert again.report.stat().st_mtime_ns == written
    assert again.layers == done.layers


def test_a_report_made_during_training_is_replaced(photos, tmp_path, monkeypatch):
    trained = demonstration.train

    def train_with_an_early_report(*arguments, **options):
        run = trained(*arguments, **options)
        (run.path / "report.html").write_text("early")
        return run

    monkeypatch.setattr(demonstration, "train", train_with_an_early_report)
    done, _ = small_demo(photos, tmp_path)
    assert done.report.read_text() != "early"


def test_an_unfinished_run_goes_on_and_another_one_is_refused(photos, tmp_path):
    done, _ = small_demo(photos, tmp_path)
    whole = digest(done.run)
    shutil.rmtree(done.run.checkpoints / "00000003")
    again, events = small_demo(photos, tmp_path)
    assert next(event for event in events if event.get("event") == "resume")["commit"] == 2
    assert digest(again.run).arrays == whole.arrays
    with pytest.raises(YfccdaskError, match="found another"):
        small_demo(photos, tmp_path, overrides=[*SMALL, "seed=3"])


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_demo_learns_edges_from_real_photographs(tmp_path):
    done = demo(run=tmp_path / "run", data=tmp_path / "data")
    shares = edge_shares(done.run)
    assert shares.trained.share > 0.6
    assert shares.initial.share < 0.05
    for layer in done.layers:
        assert layer["objective_last"] < 0.8 * layer["objective_first"]
    for number, layer in stored_strongest_images(done.run).items():
        assert layer["alive"].mean() >= 0.95, f"layer {number}"
        lists = {tuple(sorted(images)) for images in layer["image"].values.reshape(-1, 5)}
        assert len(lists) > 0.9 * layer["alive"].size
