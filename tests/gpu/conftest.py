"""A real GPU in the place of the emulated one: ``pytest -m gpu`` runs the same cases on it."""

from typing import Any

import pytest

from yfccdask.backend.device import Library, library
from yfccdask.errors import DeviceError


class Poisoned:
    """The library of the GPU, whose memory begins as NaN; launches are noted."""

    on_device = True

    def __init__(self, plain: Library) -> None:
        self.plain, self.launches = plain, list[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        made = self.plain.empty(shape, dtype)
        made.view("u1")[...] = 0xFF
        return made

    def launch(self, kernel: str, *given: Any) -> None:
        self.launches.append(kernel)
        self.plain.launch(kernel, *given)


@pytest.fixture(scope="session")
def gpu() -> Library:
    """This machine's GPU; tests that need one are skipped where there is none."""
    try:
        return library.library_for("gpu")
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture
def device(gpu, monkeypatch):
    """What tasks get for device ``gpu``, its memory poisoned."""
    poisoned = Poisoned(gpu)
    monkeypatch.setitem(library.LIBRARIES, "gpu", poisoned)
    return poisoned
