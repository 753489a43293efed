"""Components without a browser: every state of a run, and what each is drawn from."""

import numpy as np
import pytest

from tests.training.test_history import block_event, scale_event
from yfccdask.config import load_config
from yfccdask.dashboard.live.dask_server import WorkerReading
from yfccdask.dashboard.live.documents import PLOTS
from yfccdask.dashboard.live.filter_picture import filter_mosaic
from yfccdask.dashboard.live.memory_plot import memory_bars, memory_points
from yfccdask.dashboard.live.pipeline_plot import cells_of, merged
from yfccdask.dashboard.live.readings import Reading
from yfccdask.dashboard.live.task_names import Job
from yfccdask.dashboard.live.worker_rows import ordered_workers, worker_cells
from yfccdask.training.history import History
from yfccdask.training.pipeline.messages import Tick
from yfccdask.training.pipeline.visits import Visit

TICK = Tick(
    5,
    tuple(Visit(layer, 0, 5 - layer, 2, 10, 100) for layer in range(3)),
    frozenset({1}),
    frozenset(),
)
JOBS = (Job("train", 1, tick=5), Job("forward", 2, block=3), Job("commit", 1))
WORKERS = [
    WorkerReading("second", "tcp://b", 5, 10, 0, 0, ()),
    WorkerReading("first", "tcp://a", 6, 10, 7, 8, JOBS),
]
LAYER_FACTS = {"kind": "local", "units": 8, "positions": 4, "flop_per_image": 100}
PLAN = {
    "workers": ["tcp://a", "tcp://b"],
    "peaks": [8, 9],
    "idle": 1,
    "limit": 10,
    "layers": [LAYER_FACTS | {"seconds": [1.0, 2.0], "chunks": [1, n % 2]} for n in range(3)],
}


def status(state="running", layers=3, **facts):
    rows = [
        {"layer": n, "blocks": 1, "of": 4, "objective": 1.0, "images_per_second": None}
        for n in range(1, layers + 1)
    ]
    whole = {"run": "r", "store": "s", "workers": 2, "tick": 6, "layers": rows, "lost": 0}
    return {"state": state, **whole, "commit": None, "commit_share": None, "ended": None, **facts}


def trained_history():
    history = History(load_config("tiny"))
    history.plan = PLAN
    for layer in (1, 2, 3):
        history.add(scale_event(layer, layer))
        history.add(block_event(layer, layer, 0, time=1.0))
        history.add(block_event(layer, layer + 1, 2, time=2.0))
    history.begin_tick(TICK)
    values = np.zeros(2 * 4 * 4 * 3, np.int8).tobytes()
    history.see_filters({"position": [1, 1], "shape": (2, 4, 4, 3), "values": values})
    return history


def readings():
    """Before any run, before the plan, in training, and with how it ended."""
    fresh, trained = History(load_config("tiny")), trained_history()
    held = {"tcp://a": {0: 3, 1: 2}, "tcp://b": {}}
    failed = {"reason": "failed", "error": "Diverged", "text": "the descent diverged"}
    lost = {"event": "lost", "time": 3.0, "text": "a worker"}
    yield Reading({"state": "empty"}, [], {})
    yield Reading(status("starting", tick=None) | {"history": fresh.snapshot()}, WORKERS, {})
    yield Reading(status() | {"history": trained.snapshot()}, WORKERS, held)
    trained.add(lost)
    trained.add({"event": "end", "time": 4.0, **failed})
    ended = status("failed", ended=failed, lost=1)
    yield Reading(ended | {"history": trained.snapshot()}, WORKERS[:1], held)
    yield Reading({"state": "empty"}, [], {})


@pytest.mark.parametrize("name", PLOTS)
def test_a_component_shows_every_state_and_goes_from_one_to_the_next(name):
    component = PLOTS[name]()
    for reading in readings():
        component.update(reading)
        component.update(reading)
    assert component.root is not None


def running():
    return list(readings())[2]


def test_a_layer_that_trains_has_its_block_from_all_layers_below():
    cells = cells_of(running().history["ticks"])
    assert [(cell.row, cell.block) for cell in cells if cell.trains] == [
        ("1 trains", 5),
        ("2 trains", 4),
        ("3 trains", 3),
    ]
    forwards = {cell.row: blocks for cell, blocks in merged(cells) if not cell.trains}
    assert forwards == {"1 forwards": [4, 3], "2 forwards": [3]}
    assert [cell.renewed for cell in cells if cell.row == "2 forwards"] == [True]


def test_workers_are_in_the_plan_s_order_with_what_they_do_and_hold():
    reading = running()
    workers = ordered_workers(reading)
    assert [worker.name for worker in workers] == ["first", "second"]
    columns = ["1 trains", "2 forwards", "2 trains", "images, rest"]
    data = worker_cells(reading, workers, columns)
    cells = list(zip(data["y"], data["x"], data["text"], strict=True))
    assert cells == [
        (0, "1 trains", "tick 5"),
        (0, "2 forwards", "block 3"),
        (0, "2 trains", ""),
        (0, "images, rest", "commit"),
        (1, "2 forwards", ""),
        (1, "2 trains", ""),
    ]


def test_memory_is_stacked_by_layer_and_marked_with_a_gpu_where_there_is_one():
    reading = running()
    workers = ordered_workers(reading)
    bars = memory_bars(reading, workers)
    assert list(zip(bars["left"], bars["right"], bars["what"], strict=True)) == [
        (0, 3, "images and others"),
        (3, 5, "layer 1"),
    ]
    points = memory_points(reading, workers)
    assert points["planned"]["x"] == [8, 9]
    assert points["device"]["x"] == [7]
    assert points["device_limit"]["worker"] == ["first"]


def test_a_mosaic_has_a_picture_for_each_filter_and_nothing_between():
    values = np.array([[[[-127]]], [[[0]]], [[[127]]]], np.int8)
    picture = filter_mosaic(values.tobytes(), (3, 1, 1, 1))
    assert picture[0, 0].tolist() == [1, 1, 1, 255]
    assert picture[0, 2].tolist() == [128, 128, 128, 255]
    assert picture[..., 3].sum() == 3 * 255


def test_plots_of_a_pane_fill_it_also_after_a_run_with_other_layers():
    plot = PLOTS["objective"]()
    plot.fill()
    plot.update(Reading(status() | {"history": trained_history().snapshot()}, WORKERS, {}))
    figures = [each.plot for pair in plot.plots for each in pair]
    assert len(figures) == 6
    assert all(each.sizing_mode == "stretch_both" for each in figures)
    assert all(each.min_height == each.height for each in figures)
    assert all(each.min_height == figures[0].height for each in plot.root.children)
    rows = PLOTS["workers"]()
    rows.fill()
    assert rows.root.sizing_mode == "stretch_width"


def test_a_layer_that_has_not_begun_has_no_axes():
    plot = PLOTS["objective"]()
    history = History(load_config("tiny"))
    history.plan = PLAN
    plot.update(Reading(status() | {"history": history.snapshot()}, WORKERS, {}))
    assert not plot.plots[0][0].plot.xaxis.visible
    plot.update(Reading(status() | {"history": trained_history().snapshot()}, WORKERS, {}))
    assert plot.plots[0][0].plot.xaxis.visible
