"""`benchmarks.gpu` with layers of a few weights on the emulated device: every figure is there."""

import numpy as np
import pytest

from benchmarks import gpu
from benchmarks.gpu_cases import HostClock, dense_case, local_case, paper_layers
from benchmarks.gpu_streaming import StaggeredTick, streamed_case
from yfccdask.backend.device import library
from yfccdask.config import load_config
from yfccdask.geometry import Field, dense_layer, local_layer
from yfccdask.training.planning.device_floors import Shape, local_stages, step_floor


@pytest.mark.slow
def test_all_figures_are_made_of_any_layers(device, monkeypatch):
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)  # torch's are for a real GPU
    local = local_layer(Field(8, 8, 2), window=4, stride=2, units=4, tile=(2, 2))
    dense = dense_layer(Field(4, 4, 2), units=5, leaf=10)
    makers = {
        "layer 1": lambda: local_case(device, "layer 1", local, 2, 3, 2),
        "layer 3": lambda: dense_case(device, "layer 3", dense, 2, 3, 2),
    }
    small = load_config("tiny", ["batching.data_block=4", "batching.mini_batch=2"])
    extra = {
        "streamed": lambda: streamed_case(device, local, 2, 3, 2),
        "tick": lambda: StaggeredTick(device, small),
    }
    figures = gpu.run(device, HostClock(), makers, extra, size=1 << 10)
    assert library.LIBRARIES["gpu"] is device
    for layer in figures["layers"].values():
        for each in layer.values():
            assert all(ratio > 0 for ratio in each["stages / floor"].values())
    stages = figures["layers"]["layer 1"]["bf16"]["stages / floor"]
    assert {"gather", "multiply M", "update_rows", "round_to_brain"} <= set(stages)
    stages = figures["layers"]["layer 3"]["fp32"]["stages / floor"]
    assert {"inputs", "multiply s and h", "descend_columns"} <= set(stages)
    assert figures["images per second, fields"]["LCN / floor"] > 0
    assert figures["gradient errors"]["fp32"] < 1e-5
    assert gpu.printed(figures).row_count == 6
    assert all(each > 0 for each in figures["bytes per second of the link"].values())
    for name, key in (("streamed visit", "visit / floor"), ("staggered tick", "tick / floor")):
        assert all(each[key] > 0 for each in figures[name].values())


def test_floors_of_the_paper_s_layer_1_are_those_of_the_plan():
    layer = paper_layers()[0]
    shape = Shape(layer.positions, 192, layer.units, layer.inputs, layer.input.size, 5)
    stages = local_stages(shape, "tf32")
    assert sum(stage.flop for stage in stages.values()) == pytest.approx(2.936e12, rel=1e-3)
    least = stages["update_rows"].bytes + 8 * shape.weights  # and the momentum's read and write
    assert least == pytest.approx(20 * 1.529e9, rel=1e-3)
    assert step_floor(stages, 4.3e12, 3e14) == pytest.approx(0.022, abs=0.006)
    assert np.isinf(step_floor(stages, 4.3e12, 1e-308))
