"""A device of the host's own memory, which numerics drives as it drives a GPU.

Its kernels are the CUDA source itself, compiled by g++ against `emulator.hpp`; its matrix products
follow the description that cuBLAS would be given, element by element in flat memory. Its arrays
are not NumPy's: whoever converts one without `get` is refused, and looks at values are counted.
Memory begins as NaN and lies between guards.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tests.device.timelines import Timeline, Uses
from yfccdask.backend.device import Product, sources
from yfccdask.backend.device.pinned_blocks import Block, PinnedBlocks
from yfccdask.backend.device.products import BRAIN, Operand

HERE = Path(__file__).parent
GUARD = 64  # elements before and after every array
FINE_BLOCK = (2**31 - 1, 65_535, 65_535)
ONE_AT_A_TIME = threading.Lock()  # the emulator's fibres are the process's
COUNTING = threading.Lock()
HALF = """
static float widened(Half value) {
    _Float16 half;
    memcpy(&half, &value.bits, 2);
    return half;
}
static void store(Half* at, float value) {
    _Float16 half = value;
    memcpy(&at->bits, &half, 2);
}
"""


class DeviceArray(NDArrayOperatorsMixin):
    """An array on the emulated device, over host memory that nobody else may read."""

    looks = 0  # at values, by all arrays

    def __init__(self, values: np.ndarray, owner: Any = None) -> None:
        self._values = values
        self._owner = values.reshape(-1) if owner is None else owner  # what it lies in, flat

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("expected a device array to stay there, found it converted to NumPy's")

    def get(self) -> np.ndarray:
        """A copy on the host, as CuPy's arrays give one."""
        return self._values.copy()

    def _look(self, kind: type) -> Any:
        with COUNTING:
            DeviceArray.looks += 1
        return kind(self._values)

    def __float__(self) -> float:
        return self._look(float)

    def __int__(self) -> int:
        return self._look(int)

    def __bool__(self) -> bool:
        return self._look(bool)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Any:
        return (DeviceArray(part, self._owner) for part in self._values)

    def __getitem__(self, index: Any) -> DeviceArray:
        return DeviceArray(np.asarray(self._values[index]), self._owner)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._values[index] = own(value)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if "out" in options:
            options["out"] = tuple(map(own, options["out"]))
        return DeviceArray(getattr(ufunc, method)(*map(own, inputs), **options))

    def reshape(self, *shape: Any) -> DeviceArray:
        view = self._values.reshape(*shape)
        if view.size and not np.shares_memory(view, self._values):
            raise ValueError("expected a reshape without a copy")
        return DeviceArray(view, self._owner)

    def view(self, dtype: Any) -> DeviceArray:
        return DeviceArray(self._values.view(dtype), self._owner.view(dtype))

    def astype(self, dtype: Any) -> DeviceArray:
        return DeviceArray(self._values.astype(dtype))

    def all(self) -> DeviceArray:
        return DeviceArray(np.asarray(self._values.all()))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self._values.__array_interface__

    shape = property(lambda self: self._values.shape)
    strides = property(lambda self: self._values.strides)
    dtype = property(lambda self: self._values.dtype)
    flags = property(lambda self: self._values.flags)
    ndim = property(lambda self: self._values.ndim)
    size = property(lambda self: self._values.size)
    nbytes = property(lambda self: self._values.nbytes)


def own(value: Any) -> Any:
    """What an operation on the device may read: its own arrays and plain scalars."""
    if isinstance(value, np.ndarray):
        raise TypeError("expected arrays of the device, found one of the host's")
    return value._values if isinstance(value, DeviceArray) else value


class Emulated:
    """`yfccdask.backend.device.Library` without a device."""

    on_device = True

    def __init__(self) -> None:
        self.launches = list[str]()
        self.guarded: list[np.ndarray] = []
        self.uses, self.blocks = Uses(), PinnedBlocks(_poisoned)
        self.timelines = {name: Timeline(name, self.uses) for name in ("compute", "up", "down")}

    def empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Poisoned memory between guards."""
        dtype, size = np.dtype(dtype), int(np.prod(shape))
        whole = np.full((size + 2 * GUARD) * dtype.itemsize, 0xFF, np.uint8).view(dtype)
        self.guarded.append(whole)
        return DeviceArray(whole[GUARD : GUARD + size].reshape(shape), whole)

    def full(self, shape: tuple[int, ...], value: float, dtype: Any) -> DeviceArray:
        made = self.empty(shape, dtype)
        made._values[...] = value
        return made

    def copy(self, array: DeviceArray) -> DeviceArray:
        self._work_on(array)
        return self._holding(array._values)

    def upload(self, array: Any) -> DeviceArray:
        return array if isinstance(array, DeviceArray) else self._holding(array)

    def _holding(self, values: np.ndarray) -> DeviceArray:
        made = self.empty(values.shape, values.dtype)
        made._values[...] = values
        return made

    def memory(self) -> int:
        return 1 << 30

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        made = self.blocks.take(shape, dtype)
        made.reshape(-1).view(np.uint8)[...] = 0xFF
        return made

    def stream(self, name: str) -> Timeline:
        return self.timelines[name]

    def _work_on(self, *values: Any) -> None:
        for value in values:
            if isinstance(value, DeviceArray):
                self.uses.note(self.timelines["compute"], value, True)

    def launch(
        self,
        kernel: str,
        blocks: tuple[int, ...],
        threads: int,
        arguments: tuple[Any, ...],
        shared: int = 0,
    ) -> None:
        """Run a kernel's source, within the limits of a GPU."""
        sources.signatures()[kernel].check(kernel, arguments)
        self.launches.append(kernel)
        self._work_on(*arguments)
        assert threads % 32 == 0
        assert threads <= 1024
        assert shared <= 100 * 1024  # what every GPU since sm_80 has room for
        assert all(size <= most for size, most in zip(blocks, FINE_BLOCK, strict=False))
        cells = [_cell(value) for value in arguments]
        given = (ctypes.c_void_p * len(cells))(*(ctypes.addressof(cell) for cell in cells))
        grid = (ctypes.c_uint * 3)(*(*blocks, 1, 1)[:3])
        with ONE_AT_A_TIME:
            self._run(kernel, grid, threads, shared, given)

    def _run(self, kernel: str, grid: Any, threads: int, shared: int, given: Any) -> None:
        run = getattr(compiled(sources.signatures()[kernel].file), f"run_{kernel}")
        assert run(grid, threads, ctypes.c_size_t(shared), given) == 0, "threads left a barrier"

    def multiply(self, product: Product) -> None:
        """The products, column by column in flat memory."""
        self.launches.append(f"multiply-{product.operation}")
        self._work_on(*(each.array for each in (product.a, product.b, product.c)))
        m, n, k = product.sizes
        shapes = {"N": lambda rows, columns: (rows, columns), "T": lambda r, c: (c, r)}
        for number in range(product.batch):
            a = _matrix(product.a, number, shapes[product.operation[0]](m, k))
            b = _matrix(product.b, number, shapes[product.operation[1]](k, n))
            c = _matrix(product.c, number, (m, n))
            left = _read(a, product).T if product.operation[0] == "T" else _read(a, product)
            right = _read(b, product).T if product.operation[1] == "T" else _read(b, product)
            kept = product.beta * c if product.beta else 0  # cuBLAS: with beta 0, C may be NaN
            c[...] = np.float32(product.alpha) * (left @ right) + kept

    def check_guards(self) -> None:
        """Whether something was written outside an array."""
        for whole in self.guarded:
            ends = np.concatenate([whole[:GUARD], whole[-GUARD:]]).view(np.uint8)
            assert (ends == 0xFF).all(), "a kernel wrote outside its arrays"


def _poisoned(size: int) -> Block:
    memory = np.full(size, 0xFF, np.uint8)
    return Block(memory.ctypes.data, memory)


def _cell(value: Any) -> Any:
    """One argument of a kernel, as it lies in memory."""
    if value is None:
        return ctypes.c_void_p(None)
    if isinstance(value, int):
        return ctypes.c_longlong(value)
    if isinstance(value, float):
        return ctypes.c_double(value)
    return ctypes.c_void_p(own(value).__array_interface__["data"][0])


def _matrix(operand: Operand, number: int, shape: tuple[int, int]) -> np.ndarray:
    """One matrix of a batch in flat memory, as a view (row, column) of a column-major matrix."""
    values = own(operand.array)
    step, whole = values.dtype.itemsize, operand.array._owner
    first = values.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    offset = first // step + number * operand.stride
    assert offset >= 0
    assert offset + (shape[1] - 1) * operand.leading + shape[0] <= whole.size
    flat = whole[offset:]
    return np.lib.stride_tricks.as_strided(flat, shape, (step, operand.leading * step))


def _read(matrix: np.ndarray, product: Product) -> np.ndarray:
    """A matrix as the tensor cores read it."""
    if matrix.dtype == BRAIN:
        return (matrix.astype(np.uint32) << 16).view(np.float32)
    if product.precision == "tf32":  # 10 bits of fraction, to nearest
        bits = np.ascontiguousarray(matrix).view(np.uint32)
        return ((bits + 0x1000) & np.uint32(0xFFFFE000)).view(np.float32)
    return matrix


@functools.cache
def compiled(file: str) -> ctypes.CDLL:
    """A file's kernels, compiled for the host once per source and machine."""
    kernels = {name: each for name, each in sources.signatures().items() if each.file == file}
    common = (sources.FOLDER / "common.cuh").read_text()
    body = [(HERE / "emulator.hpp").read_text(), common.split("#ifdef")[0], HALF]
    body += [common.split("#endif")[1], (sources.FOLDER / f"{file}.cu").read_text()]
    body += [_wrapper(name, each.types) for name, each in kernels.items()]
    text = "\n".join(body)
    token = hashlib.sha256(text.encode()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"yfccdask-kernels-{token}.so"
    if not library.exists():
        _build(text, library)
    return ctypes.CDLL(str(library))


def _build(text: str, library: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernels.cpp").write_text(text)
        command = ["g++", "-std=c++17", "-O0", "-fPIC", "-shared", "-w", "kernels.cpp", "-o", "out"]
        made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr[:4000]
        shutil.copy(Path(folder) / "out", f"{library}.{os.getpid()}")
        os.replace(f"{library}.{os.getpid()}", library)


def _wrapper(name: str, types: tuple[str, ...]) -> str:
    given = ", ".join(f"*({kind}*)a[{number}]" for number, kind in enumerate(types))
    return (
        f"static void body_{name}(void** a) {{ {name}({given}); }}\n"
        f'extern "C" int run_{name}(unsigned* b, unsigned t, size_t s, void** a) '
        f"{{ return emulator::launch(body_{name}, b, t, s, a); }}"
    )
