"""The CuPy library: the one module that imports it, and that only once a GPU is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from yfccdask.backend.device import sources
from yfccdask.backend.device.pinned_blocks import Block, PinnedBlocks
from yfccdask.backend.device.products import Operand, Product
from yfccdask.backend.device.streams import CudaStream
from yfccdask.backend.device.uploads import PinnedUploads
from yfccdask.errors import DeviceError

Array = Any
_OPERATION = {"N": 0, "T": 1}
_TYPE = {"float32": 0, "uint16": 14}  # CUDA_R_32F, CUDA_R_16BF
_COMPUTE = {"fp32": 68, "tf32": 77, "bf16": 68}  # CUBLAS_COMPUTE_32F, …_32F_FAST_TF32
_DEFAULT_ALGORITHM = -1
_SHARED_WITHOUT_ASKING = 48 * 1024


class Cuda:
    """The current GPU of this process, through CuPy."""

    on_device = True

    def __init__(self, cupy: Any) -> None:
        self.cupy, self.cublas = cupy, import_module("cupy_backends.cuda.libs.cublas")
        self.modules = {
            file: cupy.RawModule(code=sources.source(file), options=sources.OPTIONS)
            for file in sources.kernel_files()
        }
        self.kernels: dict[str, Any] = {}
        self.uploads = PinnedUploads(cupy)
        self.blocks = PinnedBlocks(self._locked)
        self.streams: dict[str, CudaStream] = {}

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory of no particular value, from CuPy's pool."""
        return self.cupy.empty(shape, dtype)

    def full(self, shape: tuple[int, ...], value: float, dtype: Any) -> Array:
        """An array of one value."""
        return self.cupy.full(shape, value, dtype)

    def copy(self, array: Array) -> Array:
        """A copy, contiguous."""
        return self.cupy.array(array, order="C")

    def upload(self, array: np.ndarray[Any, Any]) -> Array:
        """A host array on the device, through pinned memory; arrays of CuPy's stay as they are."""
        if isinstance(array, self.cupy.ndarray):
            return array
        return self.uploads.upload(array)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Page-locked host memory of no particular value."""
        return self.blocks.take(shape, dtype)

    def _locked(self, size: int) -> Block:
        memory = self.cupy.cuda.PinnedMemory(size)
        return Block(memory.ptr, memory)

    def stream(self, name: str) -> CudaStream:
        """The current stream as ``compute``; any other name is a stream of its own."""
        if name == "compute":
            return CudaStream(self.cupy.cuda.get_current_stream())
        if name not in self.streams:
            self.streams[name] = CudaStream(self.cupy.cuda.Stream(non_blocking=True))
        return self.streams[name]

    def memory(self) -> int:
        """Bytes of the device's memory."""
        return int(self.cupy.cuda.runtime.memGetInfo()[1])

    def launch(
        self,
        kernel: str,
        blocks: tuple[int, ...],
        threads: int,
        arguments: tuple[Any, ...],
        shared: int = 0,
    ) -> None:
        """Run a kernel on the current stream."""
        sources.signatures()[kernel].check(kernel, arguments)
        if not all(blocks):
            return
        function = self._kernel(kernel)
        if shared > max(_SHARED_WITHOUT_ASKING, function.max_dynamic_shared_size_bytes):
            function.max_dynamic_shared_size_bytes = shared
        function(blocks, (threads,), tuple(map(_passed, arguments)), shared_mem=shared)

    def _kernel(self, name: str) -> Any:
        if name not in self.kernels:
            file = sources.signatures()[name].file
            self.kernels[name] = self.modules[file].get_function(name)
        return self.kernels[name]

    def multiply(self, product: Product) -> None:
        """A batch of products on the current stream, with the compute type that was asked for."""
        factors = np.array([product.alpha, product.beta], np.float32)
        alpha, beta = factors.ctypes.data, factors.ctypes.data + factors.itemsize
        self.cublas.gemmStridedBatchedEx(
            self.cupy.cuda.get_cublas_handle(),
            *(_OPERATION[each] for each in product.operation),
            *product.sizes,
            alpha,
            *_matrix(product.a),
            *_matrix(product.b),
            beta,
            *_matrix(product.c),
            product.batch,
            _COMPUTE[product.precision],
            _DEFAULT_ALGORITHM,
        )

    def synchronise(self) -> None:
        """Wait for all work: for benchmarks and tests; no visit does."""
        self.cupy.cuda.get_current_stream().synchronize()


def _passed(value: Any) -> Any:
    """An argument in the type that kernels take it in."""
    if isinstance(value, int):
        return np.int64(value)
    return np.float64(value) if isinstance(value, float) else value


def _matrix(operand: Operand) -> tuple[int, int, int, int]:
    array = operand.array
    return array.data.ptr, _TYPE[array.dtype.name], operand.leading, operand.stride


def open_cuda() -> Cuda:
    """The GPU of this process.

    Raises
    ------
    DeviceError
        If there is no CuPy, no driver or no GPU.
    """
    try:
        cupy = import_module("cupy")
        count = cupy.cuda.runtime.getDeviceCount()
        opened = Cuda(cupy) if count else None
    except ImportError as error:
        raise DeviceError(
            f"expected CuPy and cuBLAS for device gpu, found them not whole ({error}): install "
            "yfccdask[cuda13], or yfccdask[cuda12] for a driver of CUDA 12"
        ) from None
    except Exception as error:  # CuPy's own, of a driver that is absent or too old
        raise DeviceError(
            f"expected an NVIDIA GPU for device gpu, found none ({error}): see `nvidia-smi`, or "
            "train with device cpu"
        ) from None
    if opened is None:
        raise DeviceError("expected an NVIDIA GPU for device gpu, found none: see `nvidia-smi`")
    return opened
