"""What numerics asks of the library that an array belongs to, and which one that is."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from yfccdask.backend.device.cuda import open_cuda
from yfccdask.backend.device.products import Product
from yfccdask.backend.device.streams import Stream

Array = Any


class Library(Protocol):
    """Memory of one kind, and what can be done there without a look at a value.

    Every call returns at once where there is a device: it does the work in the order of the calls.
    """

    @property
    def on_device(self) -> bool:
        """Whether this is a GPU's memory."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory of no particular value."""

    def full(self, shape: tuple[int, ...], value: float, dtype: Any) -> Array:
        """An array of one value."""

    def copy(self, array: Array) -> Array:
        """A copy, contiguous."""

    def upload(self, array: np.ndarray[Any, Any]) -> Array:
        """A host array as one of this library's."""

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Host memory of no particular value that a stream can copy from and to.

        The copies that were under way when it was let go are ordered before those of whoever has it
        next; a host that writes there waits for both streams of copies first.
        """

    def stream(self, name: str) -> Stream:
        """``compute``, where everything else here happens; ``up`` and ``down`` for copies."""

    def memory(self) -> int | None:
        """Bytes of the device's memory; None for the host's, which Dask knows."""

    def launch(
        self,
        kernel: str,
        blocks: tuple[int, ...],
        threads: int,
        arguments: tuple[Any, ...],
        shared: int = 0,
    ) -> None:
        """Run a kernel: ``blocks`` of ``threads``, with bytes of ``shared`` memory each."""

    def multiply(self, product: Product) -> None:
        """Do a batch of matrix products, into the product's C."""


class Host:
    """NumPy. Its visits are compiled by numba, so there is nothing to launch."""

    on_device = False

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory of no particular value."""
        return np.empty(shape, dtype)

    def full(self, shape: tuple[int, ...], value: float, dtype: Any) -> Array:
        """An array of one value."""
        return np.full(shape, value, dtype)

    def copy(self, array: Array) -> Array:
        """A copy, contiguous."""
        return np.array(array)

    def upload(self, array: np.ndarray[Any, Any]) -> Array:
        """The array itself."""
        return array

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Memory as any other."""
        return np.empty(shape, dtype)

    def stream(self, name: str) -> Stream:
        """There are none.

        Raises
        ------
        TypeError
        """
        raise TypeError(f"expected a device for stream {name}, found the host's memory")

    def memory(self) -> None:
        """None: Dask knows a worker's limit."""

    def launch(
        self,
        kernel: str,
        blocks: tuple[int, ...],
        threads: int,
        arguments: tuple[Any, ...],
        shared: int = 0,
    ) -> None:
        """Kernels are for devices.

        Raises
        ------
        TypeError
        """
        raise TypeError(f"expected arrays on a device for kernel {kernel}, found NumPy's")

    def multiply(self, product: Product) -> None:
        """As `launch`.

        Raises
        ------
        TypeError
        """
        raise TypeError(f"expected arrays on a device to multiply, found NumPy's: {product.sizes}")


HOST = Host()
LIBRARIES: dict[str, Library] = {"cpu": HOST}


def library_for(device: str) -> Library:
    """The library of ``engine``'s device ``cpu`` or ``gpu``; a GPU is opened at the first call.

    Raises
    ------
    DeviceError
        If there is no CuPy, no driver or no GPU.
    """
    if device not in LIBRARIES:
        LIBRARIES[device] = open_cuda()
    return LIBRARIES[device]


def library_of(array: Any) -> Library:
    """The library that an array belongs to: NumPy's, or else the GPU's."""
    return HOST if isinstance(array, np.ndarray | np.generic) else library_for("gpu")
