"""The emulated device in a GPU's place; `tests/gpu` runs the same cases on a real one."""

import shutil

import pytest

from tests.device.emulated import DeviceArray, Emulated
from yfccdask.backend.device import library


@pytest.fixture
def device(monkeypatch):
    """What tasks get for device ``gpu``: poisoned memory, guards checked at the end."""
    if shutil.which("g++") is None:
        pytest.skip("expected g++ to compile the kernels for the host: apt-get install g++")
    emulated = Emulated()
    monkeypatch.setitem(library.LIBRARIES, "gpu", emulated)
    DeviceArray.looks = 0
    yield emulated
    emulated.check_guards()
