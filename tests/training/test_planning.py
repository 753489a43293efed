"""The plan counts what is really made, refuses what does not fit, and suggests what does."""

import json
from dataclasses import replace

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.made_up_speeds import made_up_calibration
from yfccdask.config import load_config
from yfccdask.data import write_store
from yfccdask.errors import ConfigError, GeometryError, PlanRefused, StoreError
from yfccdask.training.planning import RunPlan, load_calibration, plan, refuse
from yfccdask.training.planning.calibration import calibrate, measured_speeds
from yfccdask.training.planning.readings import alternative_readings
from yfccdask.training.planning.timing import SCHEDULER_SECONDS

STAGGERED = ("pipeline.start=after_blocks", "pipeline.after_blocks=2")


def planned(name="tiny", overrides=(), *, idle=0, **options):
    config = load_config(name, list(overrides))
    return plan(config, calibration=made_up_calibration(config, idle), **options)


def test_without_workers_the_plan_is_the_network_s_table():
    assert not isinstance(plan("paper"), RunPlan)
    assert plan("paper").total("weights") == 15_355_871_232


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("name", ["tiny", "demo"])
def test_every_chunk_has_a_worker_and_bytes_add_up(name, workers):
    found = planned(name, workers=workers)
    for layout, owners in zip(found.layouts, found.owners, strict=True):
        assert sorted(owners) == sorted(layout.indices())
        assert set(owners.values()) <= set(range(workers))
    for layer in found.layers:
        rows = [row for row in found.rows if row.layer == layer.layer]
        assert sum(row.weights for row in rows) == layer.weight_bytes
        assert len(rows) == workers


def test_small_layers_get_a_band_of_whole_rows_per_worker():
    found = planned("demo", workers=2)
    assert [len(layout.columns) for layout in found.layouts] == [1, 1, 1]
    assert [len(layout.rows) for layout in found.layouts] == [2, 2, 1]


def test_long_visits_are_cut_into_two_bands_per_worker():
    alone = planned("paper", workers=1)
    assert [len(layout.rows) for layout in alone.layouts[:2]] == [2, 2]
    both = planned("paper", workers=2)  # 62 rows are not four equal bands
    assert len(both.layouts[0].rows) >= 4
    assert [len(layout.columns) for layout in both.layouts[:2]] == [1, 1]


def test_a_wide_cluster_gets_rectangles_and_a_dense_layer_in_parts():
    found = planned("paper", workers=400, memory="16GB")
    assert not found.refusals
    assert {row.worker for row in found.rows if row.chunks} == set(range(400))
    assert len(found.layouts[0].columns) > 1
    assert len(found.layouts[2].leaves) > 1


def test_staggered_layers_leave_fewer_positions_to_the_workers_of_the_dense_layer():
    found = planned("paper", STAGGERED, workers=40)
    work = [0.0] * 40
    for row in found.rows:
        work[row.worker] += row.weights
    assert max(work) < 1.25 * sum(work) / 40
    dense = set(found.owners[2].values())
    assert len(dense) > 4


def test_the_configuration_s_chunks_are_kept():
    overrides = ["engine.chunk=[2, 3]", "engine.chunk_leaves=2"]
    found = planned("tiny", overrides, workers=2)
    assert found.layouts[0].rows == (2, 2)
    assert found.layouts[0].columns == (3, 1)
    assert max(found.layouts[2].leaves) == 2


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"workers": 0}, GeometryError, "at least 1 worker"),
        ({"workers": 1, "memory": "lots"}, ConfigError, "such as 4GB"),
        ({"workers": 1, "memory": 0}, ConfigError, "at least 1 byte"),
        ({"workers": 1, "images": 3}, ConfigError, "one mini-batch of 4"),
    ],
)
def test_bad_input_is_refused_by_name(options, error, words):
    with pytest.raises(error, match=words):
        planned("tiny", **options)


def test_a_store_with_too_few_images_is_refused(tmp_path):
    images = np.zeros((3, 20, 20, 3), np.uint8)
    write_store(images, tmp_path / "small", block_size=12)
    with pytest.raises(StoreError, match="at least one mini-batch of 4"):
        planned("tiny", data=tmp_path / "small", workers=1)


def test_a_chunk_that_no_memory_holds_is_named():
    found = planned("paper", ["engine.chunk=[72, 72]"], workers=8, memory="4GB")
    assert any("engine.chunk: expected chunks" in text for text in found.refusals)


@pytest.mark.slow  # three plans of the paper's network for 60 workers and more
def test_what_is_suggested_fits():
    found = planned("paper", workers=60, memory="4GB", idle=200_000_000)
    with pytest.raises(PlanRefused, match=r"projected peak(.|\n)*--force"):
        refuse(found)
    sizes = [
        text.split("--memory ")[1].rstrip(")") for text in found.suggestions if "--mem" in text
    ]
    counts = [
        text.split("--workers ")[1].rstrip(")") for text in found.suggestions if "--wor" in text
    ]
    assert sizes
    assert counts
    for options in (
        {"workers": 60, "memory": int(sizes[0])},
        {"workers": int(counts[0]), "memory": "4GB"},
    ):
        assert not planned("paper", idle=200_000_000, **options).refusals


def test_streamed_weights_are_suggested_where_they_alone_fit():
    small = ["batching={data_block: 24, mini_batch: 12}"]
    found = planned("paper", small, workers=2, memory="8GB")
    assert "--set engine.weights=disk" in found.suggestions
    streamed = planned("paper", [*small, "engine.weights=disk"], workers=2, memory="8GB")
    assert not streamed.refusals
    assert streamed.disk.scratch == sum(row.scratch for row in streamed.rows)
    assert streamed.disk.scratch > 4 * streamed.total("state_bytes")


def test_recomputing_is_suggested_where_staging_is_what_does_not_fit():
    found = planned("demo", workers=2, memory=1_000_000_000, images=96_000)
    assert "--set engine.stage_fields=recompute" in found.suggestions
    recomputed = ["engine.stage_fields=recompute"]
    assert not planned("demo", recomputed, workers=2, memory=10**9, images=96_000).refusals


def test_staged_fields_count_every_block_but_those_in_flight():
    few = planned("demo", workers=1, images=960)
    many = planned("demo", workers=1, images=9600)
    shared = planned("demo", workers=2, images=9600)
    for layer, size in enumerate((64 * 64 * 3, 20 * 20 * 6, 16 * 16 * 6), start=1):
        plans = (few, many, shared)
        staged = [sum(r.staged for r in p.rows if r.layer == layer) for p in plans]
        assert staged[:2] == [0, 8 * 960 * size * 4]
        assert staged[1] <= staged[2] <= 2 * staged[1]  # what a worker is sent, it has as well


def test_copies_are_a_whole_layer_where_they_are_rarely_renewed():
    rare = [*STAGGERED, "pipeline.sync_every=3"]
    rows = [row for row in planned("demo", rare, workers=2).rows if row.chunks]
    for row in rows:
        assert row.copies == (row.weights + row.optimiser if row.layer < 3 else 0)
    assert not any(row.copies for row in planned("demo", workers=2).rows)


def test_passes_and_images_make_the_days():
    one = planned("tiny", workers=1, images=12)
    ten = planned("tiny", workers=1, images=120)
    assert ten.days == pytest.approx(10 * one.days)
    assert planned("tiny", workers=1).days is None
    by_hand = sum(r.tasks for r in one.rows) * SCHEDULER_SECONDS
    assert one.scheduler_share > 0
    assert by_hand < one.seconds


def test_staggered_layers_take_less_time_and_more_memory():
    both = ["engine.stage_fields=recompute"]
    after = planned("demo", both, workers=2, images=96_000)
    beside = planned("demo", [*both, *STAGGERED], workers=2, images=96_000)
    assert beside.days < 1.001 * after.days
    assert beside.peak > after.peak


def test_disk_is_counted_from_shapes():
    found = planned("tiny", ["checkpoints.keep=3"], workers=2, images=48)
    assert found.disk.store == 48 * 20 * 20 * 3
    assert found.disk.checkpoints == 4 * found.total("state_bytes")
    assert found.disk.activations == 48 * 6 * 4
    assert found.disk.scratch == 0


def test_a_full_disk_is_refused(tmp_path):
    found = planned("tiny", workers=2)
    full = replace(found, refusals=(f"{tmp_path}: expected 10 bytes free",))
    with pytest.raises(PlanRefused, match="bytes free"):
        refuse(full)
    refuse(found)


def test_a_plan_can_be_written_and_shown():
    found = planned("paper", workers=40, memory="64GB", images=960_000)
    facts = json.loads(json.dumps(found.as_dict()))
    assert facts["total"]["weights"] == 15_355_871_232
    assert facts["run"]["peak"] == found.peak
    assert len(facts["rows"]) == 120
    page = found._repr_html_()
    assert "projected peak" in page
    assert "Coates" in page
    for heads, rows in (found.table(), found.work_table(), found.readings_table()):
        assert {len(row) for row in rows} == {len(heads)}


def test_the_paper_s_other_readings_have_their_weights():
    readings = alternative_readings(load_config("paper"))
    billions = [round(reading.total / 1e9, 2) for reading in readings]
    assert billions == [13.14, 20.25, 10.98, 16.64, 11.20]
    assert readings[-1].total == 11_199_485_952
    assert readings[2].total * 4 > 40e9
    assert not alternative_readings(load_config("demo"))
    other = load_config("paper", ["layers.0.units=768"])
    assert not alternative_readings(other)


def test_a_calibration_is_saved_and_read_again(tmp_path):
    config = load_config("tiny")
    made = made_up_calibration(config, 5)
    made.save(tmp_path / "speeds.json")
    assert load_calibration(tmp_path / "speeds.json") == made
    with pytest.raises(ConfigError, match="another configuration"):
        plan("demo", workers=1, calibration=made)
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(ConfigError, match="make a new one"):
        load_calibration(tmp_path / "broken.json")


def test_this_machine_can_be_measured():
    config = load_config("tiny")
    found = calibrate(config)
    assert found.idle_bytes > 1e7
    assert found.visits.keys() == made_up_calibration(config).visits.keys()
    assert all(seconds > 0 for seconds in found.visits.values())
    assert measured_speeds(config) is measured_speeds(config)
    assert isinstance(plan(config, workers=1, calibration=found), RunPlan)


@settings(max_examples=10)
@given(st.integers(1, 12), st.integers(1, 40))
def test_a_plan_is_refused_exactly_where_its_peak_is_over_the_memory(workers, tenths):
    found = planned("demo", workers=workers, memory=tenths * 10**8, images=960)
    assert found.over_memory == any("memory: expected" in text for text in found.refusals)
    assert found.over_memory == (found.peak > 0.95 * tenths * 10**8)


def test_a_plan_computes_nothing_on_dask():
    def never(*arguments, **options):
        raise AssertionError("the plan computed something")

    with dask.config.set(scheduler=never):
        planned("demo", workers=2, images=960)
