"""What is said of GPUs: with made-up NVML, CuPy and RMM, and with what this machine has."""

# ruff: noqa: N802 - the names are those of NVIDIA's and CuPy's functions
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from yfccdask.backend import count_devices, inspection
from yfccdask.backend.inspection import (
    count_cards,
    cupy_facts,
    gpu_facts,
    nvml_facts,
    rmm_facts,
    tried_cupy,
)


class NVMLError(Exception):
    pass


class Nvml:
    """NVIDIA's management library with two GPUs, or with what its ``error`` says."""

    NVMLError = NVMLError

    def __init__(self, error=""):
        self.error, self.open = error, False

    def nvmlInit(self):
        if self.error:
            raise NVMLError(self.error)
        self.open = True

    def nvmlShutdown(self):
        self.open = False

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlSystemGetDriverVersion(self):
        return "580.1"

    def nvmlSystemGetCudaDriverVersion_v2(self):
        return 13000

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetName(self, handle):
        return "a GPU"

    def nvmlDeviceGetUUID(self, handle):
        return f"GPU-{handle}"

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(total=80, used=handle)


class DeviceArray:
    """A CuPy array as far as the trial goes."""

    def __init__(self, values):
        self.values = values

    def reshape(self, *shape):
        return DeviceArray(self.values.reshape(shape))

    def __matmul__(self, other):
        return DeviceArray(self.values @ other.values)

    def get(self):
        return self.values.copy()


class Cupy:
    """CuPy on NumPy, whose kernels multiply by ``factor``."""

    def __init__(self, factor=2, version=13020):
        self.factor = factor
        self.cuda = SimpleNamespace(
            runtime=SimpleNamespace(runtimeGetVersion=lambda: version), get_allocator=lambda: "rmm"
        )

    def arange(self, stop, dtype):
        return DeviceArray(np.arange(stop, dtype=dtype))

    def RawKernel(self, code, name):
        assert f"void {name}(" in code
        return self._launch

    def _launch(self, grid, block, arguments):
        arguments[0].values *= self.factor


@pytest.fixture
def given(monkeypatch):
    """Put modules in place of those that are imported; an exception is raised instead."""

    def give(**modules):
        def load(name):
            if isinstance(modules[name], Exception):
                raise modules[name]
            return modules[name]

        monkeypatch.setattr(inspection, "import_module", load)
        monkeypatch.setattr(inspection, "find_spec", lambda name: name in modules or None)

    return give


def test_the_driver_and_its_gpus_are_named_and_the_library_is_closed(given):
    nvml = Nvml()
    given(pynvml=nvml)
    facts = nvml_facts()
    assert (facts["driver"], facts["cuda"]) == ("580.1", 13000)
    second = {"name": "a GPU", "uuid": "GPU-1", "memory": 80, "used": 1}
    assert (len(facts["gpus"]), facts["gpus"][1]) == (2, second)
    assert not nvml.open


def test_a_driver_that_does_not_answer_is_told_from_bindings_that_are_absent(given):
    given(pynvml=Nvml("Driver/library version mismatch"))
    assert nvml_facts() == {"installed": True, "error": "Driver/library version mismatch"}
    given()
    assert nvml_facts()["installed"] is False


def test_cards_are_counted_on_the_bus(tmp_path):
    kinds = {"0": ("0x10de", "0x030200"), "1": ("0x10de", "0x030000"), "2": ("0x10de", "0x040300")}
    kinds["3"] = ("0x8086", "0x030000")  # another maker's; the third is a card's sound
    for name, (vendor, kind) in kinds.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    assert count_cards(tmp_path) == 2
    assert count_cards(tmp_path / "none") == 0


def test_cupy_is_tried_by_a_product_and_a_kernel(given):
    given(cupy=Cupy())
    assert tried_cupy() == ""
    given(cupy=Cupy(factor=3))
    assert tried_cupy().startswith("a kernel that doubles: expected")
    given(cupy=RuntimeError("no CUDA"))
    assert tried_cupy() == "RuntimeError: no CUDA"


def test_a_product_that_is_wrong_is_found(given, monkeypatch):
    given(cupy=Cupy())
    monkeypatch.setattr(DeviceArray, "__matmul__", lambda self, other: self)
    assert tried_cupy().startswith("a product of 4 x 4 numbers: expected")


def test_a_cupy_that_can_t_be_loaded_says_why(given, monkeypatch):
    monkeypatch.setattr(inspection, "distributions_of_cupy", lambda: ["cupy-cuda13x 14"])
    given(cupy=ImportError("libcublas.so.13"))
    assert cupy_facts(load=True)["error"] == "ImportError: libcublas.so.13"
    assert cupy_facts(load=False) == {
        "distributions": ["cupy-cuda13x 14"],
        "cuda": None,
        "error": None,
    }
    given(cupy=Cupy(version=12090))
    assert cupy_facts(load=True)["cuda"] == 12090


class PoolMemoryResource:
    pass


class LoggingResourceAdaptor:
    upstream_mr = PoolMemoryResource()


class CudaMemoryResource:
    pass


@pytest.mark.parametrize(
    ("resource", "pool"),
    [(PoolMemoryResource, True), (LoggingResourceAdaptor, True), (CudaMemoryResource, False)],
)
def test_a_pool_is_known_by_its_resource_also_behind_a_log(monkeypatch, resource, pool):
    mr = SimpleNamespace(get_current_device_resource=resource)
    monkeypatch.setitem(sys.modules, "rmm", SimpleNamespace(mr=mr))
    monkeypatch.setitem(sys.modules, "cupy", Cupy())
    allocators = SimpleNamespace(rmm_cupy_allocator="rmm")
    monkeypatch.setitem(sys.modules, "rmm.allocators.cupy", allocators)
    facts = rmm_facts()
    assert (facts["pool"], facts["cupy"]) == (pool, True)


def test_nothing_is_tried_where_no_gpu_is_seen(monkeypatch, given):
    monkeypatch.setattr(inspection, "count_devices", lambda: 0)
    given()
    facts = gpu_facts(trained_on=True)
    assert (facts["count"], facts["cupy"]["tried"], facts["cupy"]["cuda"]) == (0, "", None)


def test_a_worker_for_a_gpu_tries_it(monkeypatch, given):
    monkeypatch.setattr(inspection, "count_devices", lambda: 1)
    monkeypatch.setattr(inspection, "distributions_of_cupy", lambda: ["cupy-cuda13x 14"])
    given(cupy=Cupy(factor=3), pynvml=Nvml())
    assert gpu_facts(trained_on=False)["cupy"]["tried"] == ""
    facts = gpu_facts(trained_on=True)
    assert facts["cupy"]["tried"].startswith("a kernel that doubles")
    assert facts["nvml"]["driver"] == "580.1"


@pytest.mark.gpu
def test_a_real_gpu_is_named_and_computes():
    if not count_devices():
        pytest.skip("no GPU here")
    facts = gpu_facts(trained_on=True)
    assert facts["cupy"]["tried"] == ""
    assert facts["cupy"]["cuda"] // 1000 <= facts["nvml"]["cuda"] // 1000
    assert len(facts["nvml"]["gpus"]) >= facts["count"] > 0
