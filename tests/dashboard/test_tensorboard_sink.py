"""A run's curves as TensorBoard reads them."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from yfccdask.dashboard import tensorboard_sink
from yfccdask.dashboard.tensorboard_sink import TensorBoardSink
from yfccdask.errors import RunError


def read_back(folder):
    """Every tag's steps and values."""
    found = EventAccumulator(str(folder)).Reload()
    tags = found.Tags()["tensors"]
    return {
        tag: [(e.step, make_ndarray(e.tensor_proto)) for e in found.Tensors(tag)] for tag in tags
    }


def test_a_run_s_objective_and_commits_are_read_back_by_tensorboard(tiny_run, tmp_path):
    with TensorBoardSink(tmp_path) as sink:
        sink.replay(tiny_run)
    found = read_back(tmp_path)
    terms = [f"layer {n}/{term}" for n in (1, 2, 3) for term in ("reconstruction", "sparsity")]
    assert set(found) == {*terms, "commits/seconds"}
    curve = tiny_run.curves(layer=1).reconstruction.values.reshape(-1, 3).mean(axis=1)
    assert [step for step, _ in found["layer 1/reconstruction"]] == list(range(2, 24, 3))
    values = [float(value) for _, value in found["layer 1/reconstruction"]]
    assert values == pytest.approx(curve, rel=1e-6)
    assert [step for step, _ in found["commits/seconds"]] == [
        event["number"] for event in tiny_run.events("commit")
    ]


def test_without_the_package_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(tensorboard_sink, "Writer", None)
    with pytest.raises(RunError, match=r"yfccdask\[tensorboard\]"):
        TensorBoardSink(tmp_path)
