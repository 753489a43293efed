"""Every kernel as a cubin, with no GPU and no driver: it compiles, and nothing spills."""

import pytest

from tests.device.nvrtc import compiled, usage
from yfccdask.backend.device import sources

ARCHITECTURES = [pytest.param("sm_80", marks=pytest.mark.slow), "sm_90"]
THREADS = 256  # the largest block that is launched
REGISTERS = 65_536  # per multiprocessor, on both


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", sources.kernel_files())
def test_kernels_compile_without_spills(file, architecture):
    options = [f"--gpu-architecture={architecture}", "--ptxas-options=-v", *sources.OPTIONS]
    cubin, log = compiled(sources.source(file), options)
    assert cubin.startswith(b"\x7fELF")
    found = usage(log)
    expected = {name for name, each in sources.signatures().items() if each.file == file}
    assert set(found) == expected
    for name, numbers in found.items():
        assert numbers["stack"] == numbers["spill_stores"] == numbers["spill_loads"] == 0, name
        assert numbers["registers"] * THREADS * 4 <= REGISTERS, f"{name}: under 1024 threads"


def test_spills_would_be_seen():
    greedy = """
extern "C" __global__ void greedy(float* a, int n) {
    float kept[300];
    for (int i = 0; i < 300; ++i) kept[i] = a[i * n];
    for (int i = 0; i < n; ++i) a[i] = kept[(i * n) % 300];
}"""
    log = compiled(greedy, ["--gpu-architecture=sm_90", "--ptxas-options=-v"])[1]
    assert usage(log)["greedy"]["stack"] > 0


def test_every_kernel_has_a_signature():
    kernels = sources.signatures()
    assert {each.file for each in kernels.values()} == set(sources.kernel_files())
    assert kernels["gather_half_brain"].types[0] == "Half*"
    assert kernels["add_parts"].types == ("double*", "Index", "double*")
