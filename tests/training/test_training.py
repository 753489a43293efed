"""Training end to end on Dask: the same bits anywhere, events, commits, refusals."""

import json

import numpy as np
import pytest
import xarray as xr

from tests.conftest import THREADS
from yfccdask.config import load_config
from yfccdask.data import open_store, write_store
from yfccdask.data.digests import digest
from yfccdask.data.runs import open_run
from yfccdask.errors import DamagedCommit, Diverged, PlanRefused, RunError, StoreError
from yfccdask.training import session
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import train

SEVEN = ClusterRequest(workers=7, processes=False)


def test_a_run_records_what_it_did(tiny_run, tiny_store):
    run = open_run(tiny_run.path)
    assert run.config == load_config("tiny")
    assert run.provenance["store"]["digest"] == tiny_store.digest
    assert run.provenance["versions"]["numpy"] == np.__version__
    kinds = [event["event"] for event in run.events()]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"
    assert kinds.count("commit") == 3
    curves = run.curves(1)
    assert curves.sizes["mini_batch"] == 24
    assert np.isfinite(curves.reconstruction).all()
    assert run.commit().layers == 3
    assert run.commit().layer(1).weights.dims == ("grid_y", "grid_x", "unit", "input")
    assert run.whitening().shape == (5, 5, 3, 3)


def test_plain_xarray_opens_a_layer_of_a_commit(tiny_run):
    layer = xr.open_zarr(tiny_run.commit().path / "layer-2.zarr", consolidated=False)
    assert layer.weights.dims == ("grid_y", "grid_x", "unit", "input")
    assert layer.weights.dtype == np.float32
    assert set(layer) == {
        f"{name}{kind}" for name in ("weights", "offset", "alpha") for kind in ("", "_momentum")
    }


def test_every_objective_falls(tiny_run):
    for layer in (1, 2, 3):
        curve = tiny_run.curves(layer)
        whole = (curve.reconstruction + curve.sparsity).values
        assert whole[-3:].mean() < whole[:3].mean()


def test_rows_stay_of_unit_norm(tiny_run):
    for layer in (1, 2, 3):
        weights = tiny_run.commit().layer(layer).weights.values
        np.testing.assert_allclose((weights**2).sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("cluster", "overrides"),
    [
        (ClusterRequest(workers=3, processes=False), []),
        (THREADS, ["engine.chunk=[2, 3]", "engine.chunk_leaves=1"]),
        (THREADS, ["engine.chunk=[1, 1]", "engine.chunk_leaves=2", "engine.blocks_in_flight=1"]),
        (THREADS, ["engine.stage_fields=memory"]),
        (THREADS, ["engine.stage_fields=disk", "engine.chunk=[2, 2]"]),
        (THREADS, ["engine.weights=disk", "engine.chunk=[2, 2]"]),
        (SEVEN, ["engine.weights=disk", "engine.chunk_leaves=2"]),
        (SEVEN, ["engine.chunk_leaves=2", "engine.blocks_in_flight=5"]),
    ],
    ids=[
        "3 workers",
        "other chunks",
        "single positions",
        "fields in memory",
        "fields on disk",
        "weights on disk",
        "leaves on 7 disks",
        "leaves on 7 workers",
    ],
)
def test_the_digest_is_the_same(tiny_run, tiny_store, tmp_path, cluster, overrides):
    other = train(load_config("tiny", overrides), tiny_store, tmp_path / "run", cluster=cluster)
    assert digest(other) == digest(tiny_run)


@pytest.mark.parametrize("workers", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_the_digest_is_the_same_on_processes(tiny_run, tiny_store, tmp_path, workers):
    other = train("tiny", tiny_store, tmp_path / "run", cluster=ClusterRequest(workers=workers))
    assert digest(other) == digest(tiny_run)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_digest_is_the_same_wherever_chunks_lie(
    tiny_run, tiny_store, tmp_path, monkeypatch, seed
):
    rng = np.random.default_rng(seed)

    def scattered(plan, addresses):
        return [{index: str(rng.choice(addresses)) for index in owners} for owners in plan.owners]

    monkeypatch.setattr(session, "at_addresses", scattered)
    config = load_config("tiny", ["engine.chunk=[2, 2]", "engine.chunk_leaves=1"])
    other = train(config, tiny_store, tmp_path / "run", cluster=SEVEN)
    assert digest(other) == digest(tiny_run)


PLATEAU = [
    "layers.0.passes=8",
    "layers.1.passes=3",
    "pipeline={start: plateau, plateau_window: 3, plateau_lag: 4, plateau_improvement: 0.3}",
    "pipeline.sync_every=2",
]


def test_a_plateau_is_seen_at_the_same_block_on_any_cluster(tiny_store, tmp_path):
    few = load_config("tiny", [*PLATEAU, "engine.blocks_in_flight=1"])
    many = load_config("tiny", [*PLATEAU, "engine.blocks_in_flight=4", "engine.chunk=[2, 3]"])
    one = train(few, tiny_store, tmp_path / "one", cluster=THREADS)
    three = ClusterRequest(workers=3, processes=False)
    assert digest(train(many, tiny_store, tmp_path / "three", cluster=three)) == digest(one)
    starts = {event["layer"]: event["tick"] for event in one.events("scale")}
    assert 9 <= starts[2] < 32
    assert starts[2] + 9 <= starts[3] < starts[2] + 12 + 1


def test_another_seed_gives_another_digest(tiny_run, tiny_store, tmp_path):
    other = train(load_config("tiny", ["seed=1"]), tiny_store, tmp_path / "run", cluster=THREADS)
    assert digest(other).whole != digest(tiny_run).whole


def test_a_store_that_does_not_fit_is_refused_before_anything_is_written(tiny_store, tmp_path):
    for override, word in (
        ("images.size=24", "images.size"),
        ("batching.data_block=24", "batching.data_block"),
    ):
        change = [override, "layers.0.lcn=null"]
        with pytest.raises(StoreError, match=word):
            train(load_config("tiny", change), tiny_store, tmp_path / "run", cluster=THREADS)
    assert not (tmp_path / "run").exists()


def test_fewer_images_than_a_mini_batch_are_refused(tmp_path, rng):
    images = rng.integers(0, 256, size=(3, 20, 20, 3), dtype=np.uint8)
    write_store(images, tmp_path / "small", block_size=12)
    with pytest.raises(StoreError, match="at least one mini-batch of 4"):
        train("tiny", open_store(tmp_path / "small"), tmp_path / "run", cluster=THREADS)


def test_a_run_is_never_trained_into_another(tiny_run, tiny_store):
    with pytest.raises(RunError, match="found a run"):
        train("tiny", tiny_store, tiny_run.path, cluster=THREADS)


def test_a_divergence_stops_the_run_and_says_what_to_do(tiny_store, tmp_path):
    config = load_config("tiny", ["layers.0.alpha_rate=1e9"])
    with pytest.raises(Diverged, match=r"layer 1, pass 0, block \d.*layers\.0\.rate"):
        train(config, tiny_store, tmp_path / "run", cluster=THREADS)
    run = open_run(tmp_path / "run")
    diverged, end = run.events()[-2:]
    assert diverged["event"] == "diverged"
    assert (end["reason"], end["error"]) == ("failed", "Diverged")
    with pytest.raises(RunError, match="at least one commit"):
        run.commit()


@pytest.mark.parametrize("rate", ["rate=1e30", "alpha_rate=1e45"])
def test_a_divergence_at_the_last_mini_batch_is_found(tiny_store, tmp_path, rate):
    small = ["batching={data_block: 12, mini_batch: 12}", f"layers.0.{rate}"]
    images = tiny_store.read(range(12))
    store = write_store(images, tmp_path / "one", block_size=12)
    config = load_config("tiny", [*small, "layers.0.passes=1"])
    with pytest.raises(Diverged, match="layer 1, at its last mini-batch"):
        train(config, store, tmp_path / "run", cluster=THREADS)
    assert open_run(tmp_path / "run").events()[-2]["event"] == "diverged"


@pytest.mark.parametrize("chunk", [pytest.param("[1, 1]", marks=pytest.mark.slow), "[2, 3]"])
def test_the_digest_is_the_same_without_lcn_in_float64(tiny_store, tmp_path, chunk):
    plain = ["dtype=float64", *(f"layers.{layer}.lcn=null" for layer in (0, 1))]
    one = train(load_config("tiny", plain), tiny_store, tmp_path / "one", cluster=THREADS)
    cut = load_config("tiny", [*plain, f"engine.chunk={chunk}"])
    assert digest(train(cut, tiny_store, tmp_path / "two", cluster=THREADS)) == digest(one)


def test_fields_that_do_not_fit_the_memory_are_refused_before_anything_is_written(
    tiny_store, tmp_path
):
    config = load_config("tiny", ["engine.stage_fields=memory"])
    cluster = ClusterRequest(workers=1, processes=False, memory="200kB")
    with pytest.raises(PlanRefused, match="memory: expected at most"):
        train(config, tiny_store, tmp_path / "run", cluster=cluster)
    assert not (tmp_path / "run").exists()


def test_blank_images_are_refused_by_name(tmp_path):
    write_store(np.zeros((12, 20, 20, 3), np.uint8), tmp_path / "blank", block_size=12)
    with pytest.raises(StoreError, match="blank"):
        train("tiny", tmp_path / "blank", tmp_path / "run", cluster=THREADS)
    plain = load_config("tiny", ["preprocessing.whitening=null"])
    with pytest.raises(Diverged, match="blank"):
        train(plain, tmp_path / "blank", tmp_path / "plain", cluster=THREADS)


def test_a_damaged_commit_is_named(tiny_store, tmp_path):
    run = train("tiny", tiny_store, tmp_path / "run", cluster=THREADS)
    manifest = run.commit().path / "manifest.json"
    files = json.loads(manifest.read_text())["files"]
    missing = run.commit().path / next(name for name in files if "/weights/c/" in name)
    kept = missing.read_bytes()
    flipped = bytearray(kept)
    flipped[100] ^= 1
    missing.write_bytes(bytes(flipped))
    with pytest.raises(DamagedCommit, match=r"layer 1, weights, chunk \(0, 0, 0, 0\).*checksum"):
        digest(run)
    missing.unlink()
    with pytest.raises(DamagedCommit, match="weights"):
        run.commit()
    missing.write_bytes(kept)
    manifest.write_text(manifest.read_text().replace('"number": 3', '"number": 2'))
    with pytest.raises(DamagedCommit, match="SHA-256"):
        run.commit()


def test_a_torn_last_event_is_left_out(tiny_store, tmp_path):
    run = train("tiny", tiny_store, tmp_path / "run", cluster=THREADS)
    log = run.path / "events.jsonl"
    whole = len(run.events())
    log.write_bytes(log.read_bytes()[:-10])
    assert len(run.events()) == whole - 1


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="no such folder"):
        open_run(tmp_path / "nothing")
    (tmp_path / "config.yaml").write_text("seed: 3\n")
    with pytest.raises(RunError, match="yfccdask-run version 1"):
        open_run(tmp_path)
