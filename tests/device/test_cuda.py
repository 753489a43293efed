"""The CuPy library's own doings, with stand-ins for CuPy: order of copies, types of arguments."""

import ctypes
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from yfccdask.backend.device import PAST, cuda
from yfccdask.backend.device.uploads import PinnedUploads
from yfccdask.errors import DeviceError


class FakeCuda:
    """Pinned memory, streams and events that write down what happens to them, in order."""

    def __init__(self):
        self.log, self.memory = [], []

    def PinnedMemory(self, size):  # noqa: N802
        self.memory.append(np.zeros(size, np.uint8))
        return self.memory[-1]

    def PinnedMemoryPointer(self, memory, offset):  # noqa: N802
        return memory.data

    def Stream(self, non_blocking):  # noqa: N802
        assert non_blocking
        return FakeStream("copies", self.log)

    def get_current_stream(self):
        return FakeStream("compute", self.log)


class FakeStream:
    def __init__(self, name, log):
        self.name, self.log = name, log

    def record(self):
        return SimpleNamespace(of=self.name, synchronize=lambda: self.log.append("host waits"))

    def wait_event(self, event):
        self.log.append(f"{self.name} waits for {event.of}")


class FakePointer:
    def __init__(self, array, cuda, at=0):
        self.array, self.cuda, self.at = array, cuda, at

    def __add__(self, bytes_on):
        return FakePointer(self.array, self.cuda, self.at + bytes_on)

    def copy_from_host_async(self, address, size, stream=None):
        if stream is None:
            part = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
            self.array.reshape(-1).view(np.uint8)[:size] = part
            return
        (turn,) = [n for n, each in enumerate(self.cuda.memory) if each.ctypes.data == address]
        self.cuda.log.append(f"buffer {turn} on {stream.name}")
        part = self.cuda.memory[turn][:size]
        self.array.reshape(-1).view(np.uint8)[self.at : self.at + size] = part


def test_uploads_fill_one_pinned_buffer_while_the_other_travels(rng):
    fake = FakeCuda()

    def empty(shape, dtype):
        values = np.zeros(shape, dtype)
        return SimpleNamespace(values=values, data=FakePointer(values, fake))

    uploads = PinnedUploads(SimpleNamespace(cuda=fake, empty=empty), portion=1000, small=500)
    small = uploads.upload(np.arange(10, dtype=np.float32))
    np.testing.assert_array_equal(small.values, np.arange(10))
    assert fake.log == []  # nobody waited
    images = rng.integers(0, 255, size=(7, 11, 13, 3)).astype(np.uint8)[:, ::2]
    out = uploads.upload(images)
    np.testing.assert_array_equal(out.values, images)
    buffers = [each for each in fake.log if each.startswith("buffer")]
    assert buffers == [f"buffer {n % 2} on copies" for n in range(-(-images.size // 1000))]
    assert fake.log[0] == "copies waits for compute"
    assert fake.log[-1] == "compute waits for copies"
    assert [each.size for each in fake.memory] == [1000, 1000]


@pytest.fixture
def opened(monkeypatch):
    """The library over a stand-in, and what its kernels were called with."""
    called = []

    class Kernel:
        max_dynamic_shared_size_bytes = 48 * 1024

        def __call__(self, blocks, threads, arguments, shared_mem):
            called.append((blocks, threads, arguments, shared_mem))

    kernel = Kernel()
    module = SimpleNamespace(get_function=lambda name: kernel)
    cupy = SimpleNamespace(RawModule=lambda **_: module)
    monkeypatch.setattr(cuda, "import_module", lambda _: None)
    return cuda.Cuda(cupy), called, kernel


def test_kernels_are_passed_64_bit_numbers(opened):
    library, called, _ = opened
    array = object()
    library.launch("descend_values", (3,), 256, (array, array, array, 5, 0.9, 0.5, 0.1))
    ((blocks, threads, arguments, shared),) = called
    assert (blocks, threads, shared) == ((3,), (256,), 0)
    assert [type(each) for each in arguments] == [object] * 3 + [np.int64] + [np.float64] * 3


def test_more_shared_memory_is_asked_for(opened):
    library, _, kernel = opened
    given = (*(object(),) * 2, 5, 0.1, None, 1)
    library.launch("update_rows", (1,), 256, given, 60_000)
    assert kernel.max_dynamic_shared_size_bytes == 60_000


def test_nothing_is_launched_for_no_blocks(opened):
    library, called, _ = opened
    library.launch("add_parts", (0,), 32, (object(), 1, object()))
    assert called == []


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (ImportError("no module named cupy"), "expected CuPy and cuBLAS for device gpu"),
        (RuntimeError("cudaErrorInsufficientDriver"), "found none .cudaErrorInsuff"),
        (0, "expected an NVIDIA GPU"),
    ],
)
def test_a_gpu_that_is_not_there_is_said_so(monkeypatch, found, message):
    def count():
        if isinstance(found, int):
            return found
        raise found

    runtime = SimpleNamespace(getDeviceCount=count)
    cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setattr(cuda, "import_module", lambda _: cupy)
    with pytest.raises(DeviceError, match=message):
        cuda.open_cuda()


class Queue:
    """A stream of CuPy's that writes down what is asked of it."""

    def __init__(self, name="own", non_blocking=False):
        self.name, self.asked = name, []

    def record(self):
        return SimpleNamespace(of=self.name, synchronize=lambda: self.asked.append("host waits"))

    def wait_event(self, event):
        self.asked.append(f"waits for {event.of}")


class Pointer:
    def __init__(self):
        self.asked = []

    def copy_from_host_async(self, address, size, stream):
        self.asked.append(("up", address, size, stream.name))

    def copy_to_host_async(self, address, size, stream):
        self.asked.append(("down", address, size, stream.name))


@pytest.fixture
def with_streams(monkeypatch):
    """The library over streams and page-locked memory that write down what happens to them."""
    locked, current = [], Queue("current")

    def lock(size):
        locked.append(np.zeros(size, np.uint8))
        return SimpleNamespace(ptr=locked[-1].ctypes.data)

    parts = {
        "Stream": Queue,
        "PinnedMemory": lock,
        "get_current_stream": lambda: current,
    }
    cupy = SimpleNamespace(RawModule=lambda **_: None, cuda=SimpleNamespace(**parts))
    monkeypatch.setattr(cuda, "import_module", lambda _: None)
    return cuda.Cuda(cupy), locked, current


def test_copies_have_streams_of_their_own(with_streams):
    library, _, current = with_streams
    up, compute = library.stream("up"), library.stream("compute")
    assert library.stream("up") is up
    assert library.stream("down") is not up
    assert compute.stream is current
    up.wait(compute.record())
    up.wait(PAST)
    assert up.stream.asked == ["waits for current"]
    host, there = np.zeros(3, np.float32), SimpleNamespace(data=Pointer(), nbytes=12)
    up.copy(host, there)
    library.stream("down").copy(there, host)
    assert there.data.asked == [
        ("up", host.ctypes.data, 12, "own"),
        ("down", host.ctypes.data, 12, "own"),
    ]
    up.record().wait()
    assert pickle.loads(pickle.dumps(up.record())).wait() is None
    assert up.stream.asked[1:] == ["host waits"] * 2


def test_page_locked_memory_is_exactly_as_large_as_it_has_to_be(with_streams):
    library, locked, _ = with_streams
    array = library.pinned((5, 7), np.uint16)
    assert [each.size for each in locked] == [70]
    assert array.ctypes.data == locked[0].ctypes.data
