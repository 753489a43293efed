"""What a GPU streams from its host: no more than doesn't fit, counted on both, and suggested."""

import pytest

from tests.training.made_up_speeds import made_up_calibration
from yfccdask import plan
from yfccdask.config import load_config, network_geometry
from yfccdask.errors import ConfigError
from yfccdask.numerics.device.streaming import SLOTS
from yfccdask.training.planning.device_floors import LINK
from yfccdask.training.planning.records import USED

ON_GPU = "arithmetic.device=gpu"
HOST = "engine.weights=host"
CUT = ["layers.0.units=256", "layers.1.units=128", "engine.chunk=[1, 2]"]


def planned(memory, *overrides, host_memory=None):
    config = load_config("tiny", [ON_GPU, *CUT, *overrides])
    speeds = made_up_calibration(config)
    how = {"workers": 1, "images": 48, "calibration": speeds, "host_memory": host_memory}
    return plan(config, memory=memory, **how)


@pytest.fixture(scope="module")
def resident():
    return planned(None)


def share(resident, part):
    """Memory of which so much of the resident peak may be used."""
    return int(part * resident.peak / USED)


def test_nothing_is_streamed_that_fits(resident):
    found = planned(share(resident, 1.01), HOST)
    assert not any(found.hosted)
    assert found.peak == resident.peak
    assert not any("slots" in head for head in found.work_table()[0])


@pytest.mark.parametrize("part", [0.9, 0.8])
def test_only_what_does_not_fit_is_streamed_and_the_dense_layer_stays(resident, part):
    found = planned(share(resident, part), HOST)
    assert not found.refusals
    assert found.peak <= part * resident.peak
    chunks = [len(layout.rows) * len(layout.columns) for layout in found.layouts]
    counts = list(map(len, found.hosted))
    assert counts[2] == 0
    assert counts[1] == chunks[1] or counts[0] == 0  # layer 2's come first
    one = planned(share(resident, part + 0.02), HOST)
    assert 0 < sum(map(len, one.hosted)) <= sum(counts)
    lying = sum(row.weights + row.optimiser for row in found.rows)
    wholly = sum(row.weights + row.optimiser for row in resident.rows)
    assert lying < wholly
    extra = 2 * max(row.hosted for row in found.rows if row.hosted)
    assert wholly - lying <= sum(row.hosted for row in found.rows) <= wholly - lying + extra
    assert "slots" in found.work_table()[0]
    assert found.host_peak == sum(row.hosted for row in found.rows)
    assert any(row[0] == "on the host" for row in found.totals_table()[1])
    assert any("assumed, not measured" in text for text in found.warnings)


def test_the_device_s_slots_and_the_link_s_time_are_counted(resident):
    found = planned(share(resident, 0.8), HOST)
    row = next(row for row in found.rows if row.layer == 2)
    config = load_config("tiny", [ON_GPU, *CUT])
    layer = network_geometry(config).layers[1]
    # all of a chunk's positions fit the buffers: three slots of a whole chunk
    weights = 2 * 2 * layer.units * layer.inputs * 4
    assert SLOTS * weights < row.slots < 1.2 * SLOTS * weights
    assert LINK == 55e9


def test_what_fits_is_suggested_and_streaming_is_what_changes_no_bit(resident):
    found = planned(share(resident, 0.9))
    assert found.refusals
    assert f"--set {HOST}" in found.suggestions
    assert not any("disk" in text for text in found.suggestions)
    streamed = planned(share(resident, 0.9), HOST)
    assert not streamed.refusals


def test_a_host_that_is_too_small_is_refused_by_name(resident):
    found = planned(share(resident, 0.8), HOST, host_memory="2.2GB")
    assert not found.refusals
    found = planned(share(resident, 0.8), HOST, host_memory="2.1GB")
    (refused,) = found.refusals
    assert refused.startswith("host memory: expected at most 0 B")


def test_half_momentum_takes_half_of_it(resident):
    half = planned(None, "arithmetic.momentum=half")
    for full, other in zip(resident.rows, half.rows, strict=True):
        assert other.weights == full.weights
        assert other.optimiser == full.optimiser - full.weights // 2


def test_weights_on_the_host_of_a_cpu_are_refused():
    with pytest.raises(ConfigError, match="lie in the host's memory anyway"):
        load_config("tiny", [HOST])
    with pytest.raises(ConfigError, match=r"dtype float32 with arithmetic\.momentum half"):
        load_config("tiny", ["arithmetic.momentum=half", "dtype=float64"])
