"""GPUs are counted as CUDA would see them, by NVML where it is there."""

import sys
from types import SimpleNamespace

import pytest

from yfccdask.backend import count_devices, devices


class NoDriver(Exception):
    pass


def nvml(number):
    """Bindings of a driver with so many GPUs; None for no driver."""

    def start():
        if number is None:
            raise NoDriver

    return SimpleNamespace(
        __spec__=SimpleNamespace(),
        NVMLError=NoDriver,
        nvmlInit=start,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: number,
    )


@pytest.mark.parametrize(
    ("there", "visible", "seen"),
    [
        (None, None, 0),
        (None, "0,1", 0),
        (4, None, 4),
        (4, "2", 1),
        (4, "3,1", 2),
        (4, "", 0),
        (4, "-1", 0),
        (4, "0,7,1", 1),
        (4, "GPU-1f, GPU-2a", 2),
    ],
)
def test_visible_devices_are_counted(there, visible, seen, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(there))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_devices() == seen


def test_without_nvml_the_driver_s_folder_is_looked_at(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "DRIVER_FOLDER", tmp_path / "none")
    assert count_devices() == 0
    (tmp_path / "0000:01:00.0").mkdir()
    monkeypatch.setattr(devices, "DRIVER_FOLDER", tmp_path)
    assert count_devices() == 1
